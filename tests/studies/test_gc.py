"""gc: what nobody needs goes, and what a later run starts from never does."""

import json
import os
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import pytest
from grid_world import Ran, World, files_below, of_kind, plan
from stub_slurm import StubSlurm, submitted

from harness.planning.graph import Plan
from harness.stages.context import StageContext
from harness.store.store import Store
from harness.store.submissions import Submission
from harness.studies.garbage import KEEPS, find_garbage, kept_artifacts, remove_garbage
from harness.studies.state import to_run
from harness.studies.study import read_study

Run = Callable[[list[str]], Ran]
ORPHAN = "0" * 32


def fail(context: StageContext) -> None:
    raise RuntimeError("weights exploded")


def artifacts(store: Store) -> set[str]:
    return {path.name for path in (store.root / "artifacts").iterdir()}


def kept_files(world: World) -> Mapping[str, tuple[int, bytes]]:
    """What gc must never touch."""
    found = files_below(world.store)
    return {
        name: stamp for name, stamp in found.items() if name.partition("/")[0] in ("records", "attempts", "studies")
    }


# -- deciding


def test_a_later_run_finds_every_artifact_it_starts_from_whatever_state_the_store_is_in() -> None:
    plans = [
        plan(tasks=["sst2", "squad"]),
        plan(tasks=["sst2"], seeds=(0, 1)),
        plan(tasks=["squad"], methods=["dense"]),
    ]
    named = sorted({stage_id for planned in plans for stage_id in planned.stages})
    draw = random.Random(0)
    freed = 0
    for _ in range(300):
        share = draw.random()
        finished = {stage_id for stage_id in named if draw.random() < share}
        keep = draw.choice(KEEPS)
        kept = kept_artifacts(plans, finished, keep)
        freed += len(finished - kept)
        for planned in plans:
            there = finished & kept
            states = {i: "done" if i in finished else "pending" for i in planned.stages}
            for stage_id in to_run(planned, states):  # as a driver goes through them
                lacking = set(planned.stages[stage_id].parents.values()) - there
                assert not lacking, f"{keep}: {planned.label(stage_id)} lacks {lacking}"
                there.add(stage_id)
    assert freed > 500  # it was not kept by never letting anything go


def test_what_stays_of_a_finished_study() -> None:
    planned = plan(tasks=["sst2"])
    finished = set(planned.stages)
    kinds = {keep: {planned.stages[i].kind for i in kept_artifacts([planned], finished, keep)} for keep in KEEPS}
    assert kinds["records"] == {"evaluation"}  # predictions
    # Scored are the dense, the pruned, the transferred and the quantized models; the rest is on the way there.
    assert kinds["final"] == {"dense", "task_pruning", "transfer", "quantization", "evaluation"}
    assert kept_artifacts([planned], finished, "all") == finished


# -- removing


def test_it_shows_what_it_would_free_and_removes_it_only_with_yes(run_harness: Run, world: World) -> None:
    run_harness(world.grid("--tasks", "sst2"))
    store = Store(world.store)
    planned = read_study(store, "slice").plan
    before = files_below(world.store)
    assert "nothing to free." in run_harness(world.reading("gc")).out
    shown = run_harness(world.reading("gc", "--keep", "final", "--json"))
    assert shown.code == 0
    found = json.loads(shown.out)
    going = of_kind(planned, "corpus", "pairs", "teacher_preparation", "student_pruning")
    size = sum(path.stat().st_size for i in going for path in store.stage(i).artifact_path.rglob("*") if path.is_file())
    assert found["categories"]["artifacts"] == found["categories"]["all"] == {"count": 4, "bytes": size}
    assert (found["acted"], found["removed"]) == (False, [])
    assert "add --yes" in run_harness(world.reading("gc", "--keep", "final")).out
    assert files_below(world.store) == before

    untouched = kept_files(world)
    done = run_harness(world.reading("gc", "--keep", "final", "--yes"))
    assert (done.code, "removed 4 folders." in done.out) == (0, True)
    assert artifacts(store) == set(planned.stages) - set(going)
    assert kept_files(world) == untouched
    assert run_harness(world.reading("tables")).code == 0
    assert run_harness(world.grid("--tasks", "sst2")).code == 0  # nothing to run, nothing missed


def test_the_rest_of_an_unfinished_study_runs_after_gc_kept_records_only(
    run_harness: Run, world: World, fakes: ModuleType
) -> None:
    fakes.ACTIONS["quantization"] = fail
    run_harness(world.grid("--tasks", "sst2"))
    store = Store(world.store)
    planned = read_study(store, "slice").plan
    (quantization,) = of_kind(planned, "quantization").values()
    assert run_harness(world.reading("gc", "--keep", "records", "--yes")).code == 0
    evaluations = {stage_id for stage_id, spec in planned.stages.items() if spec.kind == "evaluation"}
    assert artifacts(store) == {*quantization.parents.values(), *evaluations & store.finished(evaluations)}
    assert store.stage(quantization.stage_id).checkpoints_path.exists()
    fakes.ACTIONS.clear()
    done = run_harness(world.grid("--tasks", "sst2"))
    assert (done.code, "2 stages done, 0 failed" in done.out) == (0, True)


def leave(store: Store, kind: str, name: str, *, age_hours: float = 0.0) -> Path:
    """A folder with a file of ten bytes, of this age."""
    path = store.root / kind / name / "file"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"0123456789")
    for each in (path, path.parent):
        os.utime(each, (time.time() - age_hours * 3600,) * 2)
    return path.parent


def test_orphans_and_leavings_go_and_what_is_in_use_or_not_ours_stays(run_harness: Run, world: World) -> None:
    run_harness(world.grid("--tasks", "sst2", "--methods", "dense"))
    store = Store(world.store)
    planned = read_study(store, "slice").plan
    (dense,) = of_kind(planned, "dense")
    (evaluation,) = of_kind(planned, "evaluation")
    store.stage(evaluation).record_path.unlink()  # unfinished again
    held = "1" * 32
    assert store.stage(held).acquire_lease()
    going = [
        leave(store, "artifacts", ORPHAN),
        leave(store, "checkpoints", dense),
        leave(store, "checkpoints", ORPHAN),
        leave(store, "artifacts", f".{dense}.{'a' * 32}", age_hours=1.1),
    ]
    leave(store, "checkpoints", evaluation)
    leave(store, "artifacts", f".{dense}.{'b' * 32}", age_hours=0.9)
    leave(store, "artifacts", f".{held}.{'c' * 32}", age_hours=5)
    leave(store, "artifacts", held)
    leave(store, "checkpoints", held)
    leave(store, "artifacts", "my-notes")
    (store.root / "artifacts" / ("2" * 32)).symlink_to(world.folder)
    before = files_below(world.store)
    found = json.loads(run_harness(world.reading("gc", "--yes", "--json")).out)
    assert sorted(found["removed"]) == sorted(map(str, going))
    assert {name: total["count"] for name, total in found["categories"].items()} == {
        "artifacts of no study": 1,
        "artifacts": 0,
        "checkpoints": 2,
        "temporaries": 1,
        "submissions": 0,
        "all": 4,
    }
    assert found["categories"]["all"]["bytes"] == 40
    after = files_below(world.store)
    lost = {name for name in before if name not in after}
    assert lost == {str(path.relative_to(store.root) / "file") for path in going}
    assert (store.root / "artifacts" / ("2" * 32)).is_symlink()


def test_what_comes_into_use_after_it_was_found_stays(run_harness: Run, world: World) -> None:
    run_harness(world.grid("--tasks", "sst2", "--methods", "dense"))
    store = Store(world.store)
    orphan = leave(store, "artifacts", ORPHAN)
    found = find_garbage(store, "all")
    assert [item.path for item in found] == [orphan]
    lease = store.stage(ORPHAN).acquire_lease()
    assert lease is not None
    assert remove_garbage(store, "all", found) == []
    assert orphan.exists()
    lease.release()
    assert remove_garbage(store, "all", found) == found
    assert not orphan.exists()


def test_a_store_without_a_study_is_not_emptied(run_harness: Run, world: World) -> None:
    run_harness(world.grid("--tasks", "sst2", "--methods", "dense", "--study", "mine"))
    store = Store(world.store)
    store.study_path("mine").unlink()
    before = files_below(world.store)
    done = run_harness(world.reading("gc", "--keep", "records", "--yes"))
    assert (done.code, done.out) == (2, "")
    assert "all of it would be garbage" in done.err
    store.study_path("mine").write_text("{")
    assert run_harness(world.reading("gc", "--keep", "records", "--yes")).code == 1
    assert {name: stamp for name, stamp in files_below(world.store).items() if not name.startswith("studies")} == {
        name: stamp for name, stamp in before.items() if not name.startswith("studies")
    }


# -- what submissions to a cluster left


DAY = 86400.0


def age(store: Store, submission: Submission, days: float) -> list[str]:
    """Give a submission a job, a batch file and a log of this age; the names of its files, the entry last."""
    ledger, task = store.ledger, submission.task(0)
    ledger.note_job(submission.uuid, "7")
    for path in (ledger.batch_path(submission.uuid), ledger.log_path(task)):
        path.write_text("text")
    names = [f"{submission.uuid}.job", f"{submission.uuid}.sh", f"{task}.log", f"{submission.uuid}.json"]
    for name in names:
        os.utime(ledger.folder / name, (time.time() - days * DAY,) * 2)
    return names


def below(store: Store) -> set[str]:
    return {path.name for path in store.ledger.folder.iterdir()}


@pytest.fixture
def dense_done(run_harness: Run, world: World) -> Store:
    """Dense has its record, its evaluation has not."""
    run_harness(world.grid("--tasks", "sst2", "--methods", "dense"))
    store = Store(world.store)
    (evaluation,) = of_kind(read_study(store, "slice").plan, "evaluation")
    store.stage(evaluation).record_path.unlink()
    return store


@pytest.mark.parametrize("keep", KEEPS)
def test_of_submissions_goes_what_is_old_done_and_not_queued(
    run_harness: Run, world: World, dense_done: Store, stub_slurm: StubSlurm, keep: str
) -> None:
    store, planned = dense_done, read_study(dense_done, "slice").plan
    (dense,), (evaluation,) = of_kind(planned, "dense"), of_kind(planned, "evaluation")
    done, foreign = submitted(store, [dense]), submitted(store, [ORPHAN])
    *going, entry = age(store, done, 1.1)
    going += age(store, foreign, 1.1)
    staying = [
        entry,
        *age(store, submitted(store, [dense]), 0.9),
        *age(store, submitted(store, [dense, evaluation]), 9),
    ]
    queued = submitted(store, [dense])
    staying += age(store, queued, 9)
    stub_slurm.has((queued.task(0), "PD", "Priority"))
    staying += age(store, submitted(store, [dense], cluster="another"), 9)
    staying += age(store, submitted(store, [dense], user=12345), 9)
    (store.ledger.folder / "notes.json").write_text("mine")
    staying.append("notes.json")
    found = json.loads(run_harness(world.reading("gc", "--keep", keep, "--json")).out)
    assert {Path(each["path"]).name for each in found["files"]} == (set() if keep == "all" else set(going))
    assert below(store) == {*going, *staying}
    calls = len(stub_slurm.calls("squeue"))
    hours = run_harness(world.reading("status", "--hours")).out
    gone = run_harness(world.reading("gc", "--keep", keep, "--yes"))
    if keep == "all":
        assert (calls, below(store)) == (0, {*going, *staying})
        return
    assert calls == 1
    assert found["categories"]["submissions"]["count"] == len(going)
    assert f"and {len(going)} files of old submissions." in gone.out
    assert below(store) == {*staying}
    assert run_harness(world.reading("status", "--hours")).out == hours
    assert "nothing to free." in run_harness(world.reading("gc", "--keep", keep)).out


def test_where_squeue_is_silent_submissions_stay(
    run_harness: Run, world: World, dense_done: Store, stub_slurm: StubSlurm
) -> None:
    (dense,) = of_kind(read_study(dense_done, "slice").plan, "dense")
    files = age(dense_done, submitted(dense_done, [dense]), 9)
    stub_slurm.fail("squeue", "down")
    assert run_harness(world.reading("gc", "--keep", "records", "--yes")).code == 0
    assert below(dense_done) == {*files}


# -- a grid that needs what is gone


@pytest.fixture
def freed(run_harness: Run, world: World) -> Plan:
    """Fine-tuned models of one method, of which only records are left."""
    assert run_harness(world.grid("--tasks", "sst2", "--methods", "prune-ofa", "--sparsities", "0.85")).code == 0
    assert run_harness(world.reading("gc", "--keep", "records", "--yes")).code == 0
    return read_study(Store(world.store), "slice").plan


def test_a_grid_that_starts_from_what_is_gone_is_refused_before_anything_starts(
    run_harness: Run, world: World, fakes: ModuleType, freed: Plan
) -> None:
    fakes.CALLS.clear()
    before = files_below(world.store)
    grid = world.grid("--tasks", "sst2", "--methods", "prune-ofa-no-kd,finetune-pruning", "--sparsities", "0.85")
    done = run_harness(grid)
    assert done.code == 2
    assert (fakes.CALLS, files_below(world.store)) == ([], before)
    (pruning,), (corpus,), (dense,) = (of_kind(freed, kind) for kind in ("student_pruning", "corpus", "dense"))
    # A transfer starts from the sparse model, whose making needs all up to the corpus; task pruning from the teacher.
    lines = [line.removeprefix("  - ") for line in done.err.splitlines()[1:]]
    assert len(lines) == 2
    (sparse,) = [line for line in lines if f"({pruning}) is gone" in line]
    (teacher,) = [line for line in lines if f"({dense}) is gone" in line]
    assert sparse.endswith(f"or redo it and all that depends on it: harness invalidate {corpus} --store {world.store}")
    assert teacher.endswith(f"harness invalidate {dense} --store {world.store}")
    assert "1 stage to run starts from it. Bring the folder back" in teacher
    dry = run_harness([*grid, "--dry-run"])
    assert (dry.code, dry.err.count("warning: the artifact of ")) == (0, 2)

    for stage_id in (corpus, dense):
        assert run_harness(world.reading("invalidate", stage_id, "--yes")).code == 0
    assert run_harness(grid).code == 0


def test_what_is_gone_and_not_needed_is_no_error(run_harness: Run, world: World, freed: Plan) -> None:
    done = run_harness(world.grid("--tasks", "sst2", "--methods", "prune-ofa", "--sparsities", "0.85"))
    assert (done.code, "0 to run" in done.out) == (0, True)
    # Another task's dense model starts from nothing that is gone.
    assert run_harness(world.grid("--tasks", "squad", "--methods", "dense")).code == 0
