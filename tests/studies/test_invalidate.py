"""invalidate: archives records with all that depends on them, in an order in which a kill harms nothing."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from grid_world import Ran, World, files_below, gone_process, of_kind, plan, preset, with_descendants

from harness import files
from harness.errors import UsageError
from harness.execution.executors import run_in_process
from harness.files import sync_folder
from harness.planning.graph import Plan
from harness.stages.context import Resources, Sources, StageContext
from harness.store import stage as stage_module
from harness.store.stage import StoredStage
from harness.store.store import Store
from harness.studies.invalidation import invalidate
from harness.studies.lineage import read_lineage
from harness.studies.study import merged, read_study, write_study
from harness.studies.verification import verified_records

Run = Callable[[list[str]], Ran]


class Killed(BaseException):
    """Stands for a kill: nothing in the code catches it."""


def one(planned: Plan, kind: str) -> str:
    (stage_id,) = of_kind(planned, kind)
    return stage_id


def execute(planned: Plan, store: Store) -> list[str]:
    outcome = run_in_process(planned, store, Sources(models={}, data=store.root), Resources(), lambda line: None)  # type: ignore[arg-type]
    assert not outcome.failed
    return outcome.done


def parts_of(store: Store, stage_id: str) -> tuple[bool, bool, bool]:
    return (
        store.stage(stage_id).has_record(),
        store.stage(stage_id).artifact_path.exists(),
        store.stage(stage_id).checkpoints_path.exists(),
    )


# -- the command


def test_without_yes_it_shows_what_depends_on_it_in_every_study_and_changes_nothing(
    run_harness: Run, world: World
) -> None:
    run_harness(world.grid("--tasks", "sst2", "--methods", "dense", "--study", "one"))
    run_harness(world.grid("--tasks", "sst2", "--study", "two"))
    before = files_below(world.store)
    done = run_harness(world.reading("invalidate", "dense", "--study", "one"))
    assert done.code == 0
    head, root, resting, *lines, last = done.out.splitlines()
    assert head == "1 stage to invalidate:"
    assert root.endswith("in one, two")
    # On the teacher rest: task pruning, the transfer with KD, its quantization; and evaluations of these and of itself.
    assert resting == "and the stages that depend on them (7 stages, 7 finished):"
    assert sorted(line.split()[0] for line in lines) == ["evaluation"] * 4 + [
        "quantization",
        "task_pruning",
        "transfer",
    ]
    assert sorted(line.split(" in ")[1] for line in lines) == ["one, two"] + ["two"] * 6
    assert last == "nothing was changed; add --yes to do it."
    assert files_below(world.store) == before


def test_with_yes_the_records_are_archived_and_the_next_grid_makes_new_ones(run_harness: Run, world: World) -> None:
    grid = world.grid("--tasks", "sst2")
    run_harness(grid)
    store = Store(world.store)
    planned = read_study(store, "slice").plan
    pruning = one(planned, "student_pruning")
    involved = with_descendants(planned, [pruning])
    records = {stage_id: store.stage(stage_id).record_path.read_bytes() for stage_id in planned.stages}
    done = run_harness(world.reading("invalidate", pruning, "--yes", "--json"))
    assert done.code == 0
    found = json.loads(done.out)
    assert found["acted"]
    assert [stage["id"] for stage in found["invalidated"]] == [pruning]
    assert {stage["id"] for stage in found["downstream"]} == involved - {pruning}
    assert {stage_id: Path(path).read_bytes() for stage_id, path in found["archived"].items()} == {
        stage_id: records[stage_id] for stage_id in involved
    }
    for stage_id in planned.stages:
        assert parts_of(store, stage_id) == (stage_id not in involved, stage_id not in involved, False)
    again = run_harness(grid)
    assert (again.code, f"{len(involved)} stages done" in again.out) == (0, True)
    assert run_harness(world.reading("tables")).code == 0

    # Once more: the second record is kept beside the first.
    assert run_harness(world.reading("invalidate", pruning, "--yes")).code == 0
    assert {path.name for path in (world.store / "invalidated").glob(f"{pruning}.*")} == {
        f"{pruning}.1.json",
        f"{pruning}.2.json",
    }


def test_unfinished_stages_cannot_be_invalidated(run_harness: Run, world: World, fakes: ModuleType) -> None:
    def fail(context: StageContext) -> None:
        raise RuntimeError("no")

    fakes.ACTIONS["dense"] = fail
    run_harness(world.grid("--tasks", "sst2", "--methods", "dense"))
    done = run_harness(world.reading("invalidate", "model=tiny", "--yes"))
    assert (done.code, done.out) == (2, "")
    assert "of the stages named none is finished (1 failed, 1 blocked)" in done.err


# -- what depends on what


def test_a_record_that_no_study_names_counts_as_well(store: Store, fakes: ModuleType) -> None:
    planned = plan(tasks=["sst2"], methods=["dense"])
    write_study(store, merged(store, "mine", preset(), planned))
    execute(planned, store)
    dense, evaluation = one(planned, "dense"), one(planned, "evaluation")
    small = Plan()
    small.add(planned.stages[dense])
    write_study(store, merged(store, "small", preset(), small))
    store.study_path("mine").unlink()
    lineage = read_lineage(store)
    assert lineage.with_descendants([dense]) == [dense, evaluation]
    assert lineage.studies == {dense: ("small",)}
    store.stage(evaluation).record_path.write_text("{")
    assert read_lineage(store).with_descendants([dense]) == [dense]


# -- leases


def test_it_refuses_while_something_that_rests_on_it_runs_and_lets_go_of_the_rest(
    store: Store, fakes: ModuleType
) -> None:
    planned = plan(tasks=["sst2"], methods=["dense"])
    write_study(store, merged(store, "mine", preset(), planned))
    execute(planned, store)
    dense, evaluation = one(planned, "dense"), one(planned, "evaluation")
    running = store.stage(evaluation).acquire_lease()
    assert running is not None
    before = files_below(store.root / "records")
    with pytest.raises(
        UsageError, match=f"evaluation of dense tiny sst2 .*{evaluation}.* is running: process .* harness cancel"
    ):
        invalidate(store, [dense])
    assert files_below(store.root / "records") == before
    held = store.stage(dense).holder()
    assert held is not None
    assert held.released
    running.release()
    assert set(invalidate(store, [dense])) == {dense, evaluation}


def test_no_worker_can_start_a_stage_involved_from_the_first_step_to_the_last(
    store: Store, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(tasks=["sst2"], methods=["dense"])
    write_study(store, merged(store, "mine", preset(), planned))
    execute(planned, store)
    tried = []

    archive = StoredStage.archive_record

    def watching(stage: StoredStage) -> Path | None:
        tried.extend(store.stage(other).acquire_lease() for other in planned.stages)
        return archive(stage)

    monkeypatch.setattr(StoredStage, "archive_record", watching)
    invalidate(store, [one(planned, "dense")])
    assert tried == [None] * 4
    assert all(store.stage(other).acquire_lease() for other in planned.stages)


# -- a kill in the middle


DEAD = gone_process()


def kill_at(step: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every step on the file system is counted; the one of this number (from 1) does not happen any more."""
    taken: list[str] = []

    def patched(name: str, original: Callable[..., object]) -> Callable[..., object]:
        def count_then_do(*words: object, **named: object) -> object:
            taken.append(name)
            if len(taken) == step:
                raise Killed
            return original(*words, **named)

        return count_then_do

    monkeypatch.setattr(Path, "rename", patched("rename", Path.rename))
    monkeypatch.setattr(shutil, "rmtree", patched("remove", shutil.rmtree))
    for module in (files, stage_module):
        monkeypatch.setattr(module, "sync_folder", patched("sync", sync_folder))
    return taken


def test_a_kill_at_any_step_leaves_a_store_that_the_next_grid_makes_whole(
    tmp_path: Path, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(tasks=["sst2"], methods=["dense"])
    dense, evaluation = one(planned, "dense"), one(planned, "evaluation")
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # only for speed
    template = Store(tmp_path / "template")
    write_study(template, merged(template, "mine", preset(), planned))
    execute(planned, template)
    for stage_id in (dense, evaluation):  # left by a worker that was killed after its record was in
        template.stage(stage_id).checkpoints_path.mkdir(parents=True)
        (template.stage(stage_id).checkpoints_path / "stale").touch()
    first = {stage_id: template.stage(stage_id).read_record()["digest"] for stage_id in planned.stages}
    resumed: list[list[str]] = []
    for kind in ("dense", "evaluation"):
        fakes.ACTIONS[kind] = lambda context: resumed.append([path.name for path in context.checkpoints.iterdir()])
    step = 0
    ran: list[set[str]] = []
    while True:
        step += 1
        store = Store(tmp_path / str(step))
        shutil.copytree(template.root, store.root)
        with monkeypatch.context() as patches:
            taken = kill_at(step, patches)
            patches.setattr("harness.store.stage.this_process", lambda: DEAD)
            try:
                invalidate(store, [dense])
                break
            except Killed:
                pass
        resumed.clear()
        ran.append(set(execute(planned, store)))
        # Whole again: everything is done, every record was made from the parent that is there.
        records = verified_records(planned, store)
        assert set(records) == set(planned.stages)
        assert all((store.stage(i).artifact_path / "weights" / "model.txt").is_file() for i in planned.stages)
        assert execute(planned, store) == []
        # What ran again did not resume from what was invalidated, and its parents ran before it.
        assert resumed == [[]] * len(ran[-1])
        assert dense not in ran[-1] or evaluation in ran[-1]
        changed = {i for i in planned.stages if records[i]["digest"] != first[i]}
        assert changed == ran[-1]
        # Nothing was lost: the former records are archived.
        archived = {path.name.partition(".")[0] for path in (store.root / "invalidated").glob("*")}
        assert archived == changed
    # Each stage: its lease, checkpoints (rename, sync, remove), record, artifact likewise, and the lease's release.
    stage = ["rename", "sync", "remove", "rename", "sync", "sync", "rename", "sync", "remove"]
    assert taken == ["sync", "sync", *stage, *stage, "sync", "sync"]
    assert [len(stages) for stages in ran] == sorted(len(stages) for stages in ran)
    assert {frozenset(stages) for stages in ran} == {
        frozenset(),
        frozenset({evaluation}),
        frozenset({dense, evaluation}),
    }
