"""Why stages run: what a dry run says, on stages without torch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fake_stages import fail
from grid_world import Ran, World, of_kind, write_weights

from harness.planning.graph import Plan
from harness.planning.kinds import KINDS
from harness.store.processes import this_process
from harness.store.store import Store
from harness.studies.reasons import REASONS
from harness.studies.study import read_study, write_study

Run = Callable[[Sequence[str]], Ran]
DENSE = ["--tasks", "sst2", "--methods", "dense,finetune-pruning", "--sparsities", "0.85"]


def reasons(run_harness: Run, words: list[str]) -> list[tuple[str, str | None, str | None]]:
    """Kind, reason and detail of every stage of a dry run."""
    found = json.loads(run_harness([*words, "--dry-run", "--json"]).out)
    told = Counter(stage["reason"] for stage in found["stages"] if stage["reason"] is not None)
    assert dict(told) == found["counts"]["reasons"]
    assert [reason for reason in REASONS if reason in told] == list(found["counts"]["reasons"])
    return [(stage["kind"], stage["reason"], stage["detail"]) for stage in found["stages"]]


def test_what_was_never_planned_is_new_and_what_is_done_has_no_reason(
    run_harness: Run, world: World, fakes: ModuleType
) -> None:
    words = world.grid(*DENSE, "--seeds", "0")
    assert {(why, detail) for _, why, detail in reasons(run_harness, words)} == {("new", "")}
    run_harness(words)
    assert {(why, detail) for _, why, detail in reasons(run_harness, words)} == {(None, None)}
    done = run_harness([*words, "--dry-run"])
    assert "0 to run" in done.out
    assert "why they run" not in done.out
    more = reasons(run_harness, world.grid(*DENSE, "--seeds", "0,1"))
    assert Counter(why for _, why, _ in more) == {None: 4, "new": 4}  # dense, evaluation, pruning, evaluation


def test_a_failure_and_what_rests_on_it(run_harness: Run, world: World, fakes: ModuleType) -> None:
    words = world.grid(*DENSE, "--seeds", "0")
    fakes.ACTIONS["dense"] = fail
    run_harness(words)
    label = "dense tiny sst2 seed 0"
    pruning = "task_pruning tiny sst2 0.85 seed 0"
    assert reasons(run_harness, words) == [
        ("dense", "failed before", "ValueError: made to fail"),
        ("evaluation", "parent runs again", label),
        ("task_pruning", "parent runs again", label),
        ("evaluation", "parent runs again", pruning),
    ]
    done = run_harness([*words, "--dry-run"])
    assert done.out.splitlines()[-5:] == [
        "why they run: 1 failed before, 3 parent runs again",
        f"  failed before: {label} (ValueError: made to fail)",
        f"  parent runs again: evaluation of {label}",
        f"  parent runs again: {pruning} ({label})",
        f"  parent runs again: evaluation of {pruning}",
    ]
    run_harness(world.reading("retry", "failed"))
    assert reasons(run_harness, words)[0] == ("dense", "retried", "")


def test_what_was_interrupted_killed_or_invalidated(run_harness: Run, world: World, fakes: ModuleType) -> None:
    words = world.grid(*DENSE, "--seeds", "0")

    def stop(context: Any) -> None:
        raise KeyboardInterrupt

    fakes.ACTIONS["task_pruning"] = stop
    assert run_harness(words).code == 130
    kind, why, detail = reasons(run_harness, words)[2]
    assert (kind, why) == ("task_pruning", "interrupted")
    assert detail
    store = Store(world.store)
    (pruning,) = of_kind(read_study(store, "slice").plan, "task_pruning")
    store.stage(pruning).begin_attempt({**this_process()})  # and no end: as after a kill
    assert reasons(run_harness, words)[2] == ("task_pruning", "interrupted", "its worker was killed")
    fakes.ACTIONS.clear()
    run_harness(words)
    run_harness(world.reading("invalidate", "task_pruning", "--yes"))
    assert [why for _, why, _ in reasons(run_harness, words)] == [None, None, "invalidated", "invalidated"]


def test_what_was_cancelled_and_what_waits_for_it(run_harness: Run, world: World, fakes: ModuleType) -> None:
    words = world.grid(*DENSE, "--seeds", "0")
    fakes.ACTIONS["dense"] = fail
    run_harness(words)
    run_harness(world.reading("cancel", "task_pruning"))
    run_harness(world.reading("retry", "dense"))
    assert [(kind, why) for kind, why, _ in reasons(run_harness, words)] == [
        ("dense", "retried"),
        ("evaluation", "parent runs again"),
        ("task_pruning", "cancelled"),
        ("evaluation", "waits for a cancelled stage"),
    ]
    out = run_harness([*words, "--dry-run"]).out
    assert "why they run: 1 retried, 1 parent runs again\n" in out


def test_a_stage_of_the_study_that_waits_its_turn_is_no_new_one(
    run_harness: Run, world: World, fakes: ModuleType
) -> None:
    def stop(context: Any) -> None:
        raise KeyboardInterrupt

    fakes.ACTIONS["dense"] = stop
    words = world.grid("--tasks", "sst2")
    assert run_harness(words).code == 130
    told = {kind: why for kind, why, _ in reasons(run_harness, words)}
    assert (told["dense"], told["task_pruning"]) == ("interrupted", "parent runs again")
    assert (told["corpus"], told["pairs"], told["student_pruning"]) == ("not run yet",) * 3


def test_other_weights_change_what_starts_from_them_and_what_follows(
    run_harness: Run, world: World, fakes: ModuleType
) -> None:
    words = world.grid(*DENSE, "--seeds", "0")
    run_harness(words)
    write_weights(world.folder / "model", "other weights")
    assert reasons(run_harness, words) == [
        ("dense", "changed", "the model (tiny)"),
        ("evaluation", "changed", "its model changed"),
        ("task_pruning", "changed", "the model (tiny)"),
        ("evaluation", "changed", "its model changed"),
    ]


def test_a_raised_version_and_another_parameter_are_named(
    run_harness: Run, world: World, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = world.grid(*DENSE, "--seeds", "0")
    run_harness(words)
    monkeypatch.setitem(KINDS, "task_pruning", replace(KINDS["task_pruning"], version=7))
    told = reasons(run_harness, words)
    assert [why for _, why, _ in told] == [None, None, "changed", "changed"]
    assert told[2][2] == "the code version of task_pruning 7 (was 1)"
    store = Store(world.store)
    study = read_study(store, "slice")
    ids: dict[str, str] = {}
    planned = Plan(methods=study.plan.methods)
    for stage_id, spec in study.plan.stages.items():  # the study as if it had been planned with 77 epochs
        epochs = {"epochs": 77.0} if spec.kind == "task_pruning" else {}
        parents = {role: ids[parent] for role, parent in spec.parents.items()}
        made = planned.add(replace(spec, parameters={**spec.parameters, **epochs}, parents=parents))
        ids[stage_id] = made.stage_id
    planned.paths.update({cell: tuple(ids[i] for i in path) for cell, path in study.plan.paths.items()})
    write_study(store, replace(study, plan=planned))
    told = reasons(run_harness, words)
    assert told[2][2] is not None
    assert told[2][2].startswith("task_pruning.epochs ")
    assert told[2][2].endswith(" (was 77.0), the code version of task_pruning 7 (was 1)")


def test_a_long_list_is_cut_and_fits_a_terminal(run_harness: Run, world: World, fakes: ModuleType) -> None:
    def complain(context: Any) -> None:
        raise ValueError("x" * 300)

    words = world.grid("--tasks", "sst2", "--seeds", "0,1,2,3,4")
    out = run_harness([*words, "--dry-run"]).out.splitlines()
    total = len(json.loads(run_harness([*words, "--dry-run", "--json"]).out)["stages"])
    start = out.index(f"why they run: {total} new")
    assert len(out) - start == 22
    assert out[-1] == f"  and {total - 20} more (harness grid --dry-run --json has all)"
    fakes.ACTIONS["corpus"] = complain
    run_harness(world.grid("--tasks", "sst2"))
    out = run_harness([*world.grid("--tasks", "sst2"), "--dry-run"]).out.splitlines()
    (line,) = [line for line in out if line.startswith("  failed before: corpus (ValueError: xxx")]
    assert len(line) == 100
    assert line.endswith("..")
    ran = run_harness(world.grid("--tasks", "sst2")).out
    assert "why they run: 1 failed before" in ran
    assert "  failed before" not in ran


def test_a_damaged_study_is_told(run_harness: Run, world: World, fakes: ModuleType) -> None:
    words = world.grid(*DENSE, "--seeds", "0")
    run_harness(words)
    path = Path(world.store / "studies" / "slice.json")
    path.write_text(path.read_text().replace('"cells"', '"cels"', 1))
    write_weights(world.folder / "model", "other weights")
    done = run_harness([*words, "--dry-run"])
    assert done.code == 1
    assert "is damaged" in done.err
