"""oBERT's declarations: their stages, the published values, equal terms, and the memory that is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import pytest
from grid_world import Ran, World, inputs, of_kind, plan

from harness.errors import UsageError
from harness.grids.memory import memory_problems
from harness.inputs.shapes import HUB_SHAPES
from harness.planning.grid import Axes, expand
from harness.planning.kinds import FINE_TUNING, get_kind
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset
from methods.obert import ON_TASK, UPSTREAM

BERT_BASE_WEIGHTS = 12 * (4 * 768**2 + 2 * 768 * 3072)
METHODS = ("obert", "obert-upstream")


def parameters(preset: str, kind: Any, model: str = "tiny-narrow", task: str | None = "sst2") -> dict[str, Any]:
    return load_preset(preset, METHODS).recipe.parameters(kind, model=model, task=task)


def test_on_the_task_it_starts_from_the_dense_model_and_distils_from_the_dense_fine_tuned_one() -> None:
    found = plan(methods=["obert"], tasks=["sst2"], sparsities=[0.85, 0.9], quantization=["int8"])
    assert found.counts() == {"dense": 1, "obert:pruning": 2, "quantization": 2, "evaluation": 2}
    (dense,) = of_kind(found, "dense")
    for stage_id, spec in of_kind(found, "obert:pruning").items():
        assert spec.parents == {"teacher": dense}
        assert spec.inputs["model"] == "weights of tiny"
        assert stage_id in {other.parents["model"] for other in of_kind(found, "quantization").values()}
    assert {spec.parameters["sparsity"] for spec in of_kind(found, "obert:pruning").values()} == {0.85, 0.9}


def test_upstream_one_pruning_is_shared_by_all_tasks_and_seeds_and_then_transferred_as_prune_ofas() -> None:
    found = plan(methods=["obert-upstream", "prune-ofa"], tasks=["sst2", "squad"], sparsities=[0.9], seeds=[0, 1])
    ours, theirs = (of_kind(found, kind) for kind in ("obert-upstream:pruning", "student_pruning"))
    (pruned_id, pruned), (other_id, other) = *ours.items(), *theirs.items()
    assert pruned.parents == other.parents
    assert pruned.parents.keys() == {"pairs", "teacher"}
    by_start: dict[str, list[dict[str, Any]]] = {pruned_id: [], other_id: []}
    for spec in of_kind(found, "transfer").values():
        by_start[spec.parents["model"]].append({**spec.parameters, "teacher": spec.parents["teacher"]})
    assert len(by_start[pruned_id]) == 4
    assert by_start[pruned_id] == by_start[other_id]


def test_upstream_another_pruning_seed_is_another_pruned_model() -> None:
    found = plan(methods=["obert-upstream"], tasks=["sst2"], sparsities=[0.9], pruning_seeds=[0, 1])
    assert sorted(spec.parameters["seed"] for spec in of_kind(found, "obert-upstream:pruning").values()) == [0, 1]


def test_the_published_values() -> None:
    """Of the specification, 8.7: 30 epochs of SQuAD, and upstream."""
    squad = parameters("paper", ON_TASK, "bert-base", "squad")
    assert {name: squad[name] for name in ("epochs", "learning_rate", "cycle_end", "num_events")} == {
        "epochs": 30.0,
        "learning_rate": 8e-5,
        "cycle_end": 0.1,
        "num_events": 7,
    }
    assert (30 * squad["first_event"], 30 * squad["last_event"]) == (pytest.approx(2), pytest.approx(26))
    assert (squad["ce_weight"], squad["kd_weight"], squad["temperature"]) == (0, 1, 2)
    upstream = parameters("paper", UPSTREAM, "bert-base", None)
    assert (upstream["learning_rate"], upstream["learning_rate"] * upstream["cycle_end"]) == (5e-4, pytest.approx(5e-6))
    assert (3 * upstream["first_event"], 3 * upstream["last_event"]) == (0, pytest.approx(2.75))
    assert (upstream["num_events"], upstream["ce_weight"], upstream["temperature"]) == (12, 0, 5.5)
    for found, batch in ((squad, 8), (upstream, 16)):
        assert (found["num_gradients"], found["block_size"], found["dampening"]) == (1024, 50, 1e-7)
        assert (found["gradient_batch"], found["first_sparsity"], found["warmup_fraction"]) == (batch, 0.7, 0)


TASKS = ("sst2", "qnli", "qqp", "mnli", "squad")
EQUAL = [*product(["quick", "sweep"], ["tiny-narrow", "tiny-wide"]), ("reduced", "minilm-l6")]


@pytest.mark.parametrize(("preset", "model"), [*EQUAL, *product(["equal"], ["bert-base", "bert-large", "distilbert"])])
@pytest.mark.parametrize("task", TASKS)
def test_on_the_task_it_has_the_terms_of_task_pruning(preset: str, model: str, task: str) -> None:
    ours, theirs = (parameters(preset, kind, model, task) for kind in (ON_TASK, get_kind("task_pruning")))
    shared = (*FINE_TUNING, "ce_weight", "kd_weight", "temperature", "prune_pooler", "max_length")
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}


@pytest.mark.parametrize(("preset", "model"), EQUAL)
def test_upstream_it_has_the_terms_of_student_pruning(preset: str, model: str) -> None:
    ours, theirs = (parameters(preset, kind, model, None) for kind in (UPSTREAM, get_kind("student_pruning")))
    own = {"first_event", "last_event"}
    shared = ours.keys() & theirs.keys() - own
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}
    assert {"steps", "batch_size", "learning_rate", "kd_positions", "ce_weight", "prune_pooler"} <= shared


def test_its_times_of_pruning_are_not_those_of_gradual_pruning() -> None:
    """A preset's common values, and those of task pruning, do not reach them."""
    found = parameters("quick", ON_TASK)
    assert (found["first_event"], found["last_event"]) == (2 / 30, 26 / 30)


# -- memory


def test_bert_base_needs_17_gb() -> None:
    """84,934,656 weights in blocks of 50, 4 bytes each: 16,986,931,200; with the pooler 589,824 weights more."""
    shape = HUB_SHAPES["bert-base"]
    assert ON_TASK.memory is not None
    values = {"block_size": 50, "prune_pooler": False}
    assert ON_TASK.memory(shape, values) == 4 * BERT_BASE_WEIGHTS * 50 == 16_986_931_200
    assert ON_TASK.memory(shape, {**values, "prune_pooler": True}) == 4 * (BERT_BASE_WEIGHTS + 768**2) * 50
    assert UPSTREAM.memory is ON_TASK.memory
    found = planned_for_bert_base()
    shapes = {"bert-base": shape}
    needed = 4 * (BERT_BASE_WEIGHTS + 768**2) * 50
    assert memory_problems(found, found.stages, shapes, lambda: needed) == []
    problems = memory_problems(found, found.stages, shapes, lambda: needed - 1)
    assert len(problems) == 2  # sparsities
    assert "obert:pruning bert-base squad 0.9 seed 0 needs 17.1 GB of memory at once" in problems[1]


def planned_for_bert_base() -> Any:
    chosen = load_preset("paper", ["obert"])
    axes = Axes(models=["bert-base"], methods=["obert"], tasks=["squad"], sparsities=[0.85, 0.9], seeds=[0])
    grid = expand(axes, chosen)
    return plan_cells(grid.cells, chosen.recipe, inputs(["bert-base"]), grid.methods)


def test_a_grid_that_does_not_fit_says_so_in_a_dry_run_and_does_not_start(
    run_harness: Callable[[Sequence[str]], Ran], world: World
) -> None:
    """Blocks of 10^12 entries: no machine has that."""
    words = ["--methods", "obert", "--tasks", "sst2", "--sparsities", "0.85"]
    words += ["--set", "obert:pruning.block_size=1000000000000"]
    dry = run_harness(world.grid(*words, "--dry-run"))
    assert (dry.code, "GB of memory at once" in dry.err) == (0, True)
    done = run_harness(world.grid(*words))
    assert (done.code, "GB of memory at once" in done.err) == (2, True)


# -- refused before anything runs


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("first_event=0.9",), "a first event that is not after the last"),
        (("first_event=0.5", "last_event=0.5"), "two events or more at different times"),
        (("gradient_batch=64",), "a gradient_batch within a batch"),
        (("ce_weight=0.0", "kd_weight=0.0"), "one of them above 0"),
    ],
)
def test_values_that_contradict_each_other(settings: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(*(f"obert:pruning.{each}" for each in settings), methods=["obert"], tasks=["sst2"])
    assert words in str(caught.value)
