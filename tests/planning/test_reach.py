"""Which stages a setting reaches: told by its note, and held against plans made with and without it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import grid_world
import pytest
from grid_world import Ran, World, of_kind, preset, settings

from harness.planning.graph import Plan
from harness.planning.grid import Axes, expand
from harness.planning.planner import plan_cells
from harness.planning.preset import Preset, load_preset
from harness.planning.reach import Reach, reach_of
from harness.wording import for_command_line

Run = Callable[[Sequence[str]], Ran]


def planned(chosen: Preset, **axes: Any) -> Plan:
    grid = expand(Axes(**{"models": ["tiny"], **axes}), chosen)
    return plan_cells(grid.cells, chosen.recipe, grid_world.inputs(["tiny", "other"]), grid.methods)


def reaches(*assignments: str, base: Preset | None = None, **axes: Any) -> list[Reach]:
    chosen = (base or preset()).changed(settings(*assignments))
    plan = planned(chosen, **axes)
    return [reach_of(key, chosen.recipe, plan) for key in settings(*assignments)]


def sentence(*assignments: str, base: Preset | None = None, **axes: Any) -> str:
    return for_command_line(reaches(*assignments, base=base, **axes)[0].sentence())


def test_a_preset_with_values_for_tasks_keeps_them() -> None:
    """quick: 2 tasks x 3 seeds x 2 sparsities are 12 transfers of one model; epochs of squad are its own."""
    quick = load_preset("quick")
    axes: dict[str, Any] = {"methods": ["prune-ofa"], "sparsities": [0.85, 0.9], "tasks": ["sst2", "squad"]}
    found = sentence("transfer.epochs=1", base=quick, **axes)
    assert found == (
        "--set transfer.epochs=1 reaches 6 of 12 transfer stages (sst2); the other 6 have values of their own: "
        "transfer.tasks.squad.epochs=8."
    )


def test_all_of_them() -> None:
    axes: dict[str, Any] = {"methods": ["prune-ofa"], "sparsities": [0.85], "tasks": ["sst2"], "seeds": [0, 1]}
    assert sentence("transfer.learning_rate=0.5", **axes) == (
        "--set transfer.learning_rate=0.5 reaches all 2 transfer stages."
    )
    one = sentence("student_pruning.steps=7", **axes)
    assert one == "--set student_pruning.steps=7 reaches the 1 student_pruning stage."


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("task_pruning.epochs=7", "changes nothing in this grid: no stage has it."),
        ("task.squad.max_length=200", "changes nothing in this grid: no stage has it."),
        ("transfer.models.other.epochs=7", "changes nothing in this grid: no stage has it."),
        ("transfer.tasks.qqp.epochs=7", "changes nothing in this grid: no stage has it."),
    ],
)
def test_a_setting_of_nothing_in_the_grid_is_told(assignment: str, words: str) -> None:
    assert sentence(assignment, methods=["prune-ofa"], sparsities=[0.85], tasks=["sst2"]).endswith(words)


def test_a_setting_that_others_go_before_everywhere_is_told() -> None:
    found = sentence("transfer.epochs=7", "transfer.tasks.sst2.epochs=5", methods=["prune-ofa"], tasks=["sst2"])
    assert found == (
        "--set transfer.epochs=7 changes nothing in this grid: the 1 transfer stage has a value of its own: "
        "transfer.tasks.sst2.epochs=5."
    )


def test_the_value_that_the_preset_has_changes_nothing() -> None:
    value = preset().recipe.settings["transfer.epochs"].value
    found = sentence(f"transfer.epochs={value}", methods=["prune-ofa"], tasks=["sst2"])
    assert found.endswith("changes nothing in this grid: they have that value.")


@pytest.mark.parametrize(
    "assignment",
    [
        "common.threads=3",
        "common.batch_size=3",
        "common.temperature=3",
        "transfer.epochs=9",
        "dense.models.tiny.epochs=9",
        "dense.models.tiny.tasks.sst2.epochs=9",
        "task.sst2.max_length=9",
        "task.squad.n_best=9",
        "pairs.max_length=9",
        "corpus.shuffle_seed=9",
        "evaluation.batch_size=9",
    ],
)
def test_the_stages_that_it_reaches_are_those_whose_own_parameters_change(assignment: str) -> None:
    """By another road: two plans, compared parameter by parameter."""
    (reach,) = reaches(assignment)
    name = assignment.partition("=")[0].rpartition(".")[2]
    with_it, without = planned(preset(assignment)), planned(preset())

    def values(plan: Plan) -> list[tuple[str, Any]]:
        return [(spec.kind, spec.parameters.get(name)) for spec in plan.stages.values()]

    changed = [
        stage_id
        for stage_id, before, after in zip(with_it.stages, values(without), values(with_it), strict=True)
        if before != after
    ]
    assert changed
    assert sorted(reach.reached) == sorted(changed)
    assert reach.changes


def test_a_value_that_a_method_gives_goes_before() -> None:
    axes: dict[str, Any] = {"methods": ["prune-ofa"], "sparsities": [0.85], "tasks": ["sst2"], "seeds": [0]}
    chosen = preset("transfer.epochs=9")
    plan = planned(chosen, **axes)
    ((stage_id, spec),) = of_kind(plan, "transfer").items()
    plan.stages[stage_id] = type(spec)(kind=spec.kind, parameters={**spec.parameters, "epochs": 2.0})
    found = reach_of("transfer.epochs", chosen.recipe, plan)
    assert (found.reached, len(found.concerned)) == ((), 1)
    assert found.sentence().endswith("the 1 transfer stage has a value of its own, by the method.")


def test_a_dry_run_tells_it_in_words_and_as_data(run_harness: Run, world: World) -> None:
    words = ["--methods", "prune-ofa", "--sparsities", "0.85", "--dry-run", "--set", "transfer.learning_rate=9"]
    words += ["--set", "transfer.tasks.sst2.learning_rate=4"]
    told = run_harness(world.grid(*words))
    assert "note: --set transfer.learning_rate=9 reaches 1 of 2 transfer stages (squad); the other has" in told.err
    assert "of its own: transfer.tasks.sst2.learning_rate=4." in told.err
    assert "note: --set transfer.tasks.sst2.learning_rate=4 reaches the 1 transfer stage." in told.err
    found = json.loads(run_harness(world.grid(*words, "--json")).out)
    kinds = {stage["id"]: stage["kind"] for stage in found["stages"]}
    first, second = found["settings"]
    assert [(kinds[stage], first["of"]) for stage in first["stages"]] == [("transfer", 2)]
    assert first["values_of_their_own"] == {"transfer.tasks.sst2.learning_rate": 4.0}
    assert (second["key"], second["value"], second["changes"]) == ("transfer.tasks.sst2.learning_rate", 4.0, True)


def test_a_run_tells_of_a_setting_that_does_not_do_all_one_expects_and_a_dry_run_of_every(
    run_harness: Run, world: World, fakes: ModuleType
) -> None:
    whole, part = "transfer.tasks.sst2.learning_rate=4", "transfer.learning_rate=9"
    words = [*world.grid("--tasks", "sst2,squad", "--methods", "prune-ofa"), "--set", whole, "--set", part]
    assert [f"--set {each} " in run_harness([*words, "--dry-run"]).err for each in (whole, part)] == [True, True]
    as_json = run_harness([*words, "--dry-run", "--json"])
    assert [f"--set {each} " in as_json.err for each in (whole, part)] == [False, True]
    assert [each["key"] for each in json.loads(as_json.out)["settings"]] == [
        "transfer.tasks.sst2.learning_rate",
        "transfer.learning_rate",
    ]
    assert [f"--set {each} " in run_harness(words).err for each in (whole, part)] == [False, True]
