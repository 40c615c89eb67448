"""One pass of submission, on a stub of SLURM's commands: what is queued, with which dependencies, and what is not."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from grid_world import Ran, World
from stub_cluster import StubCluster

from harness.planning.graph import Plan
from harness.store import squeue
from harness.store.leases import acquire
from harness.store.processes import this_process
from harness.store.store import Store
from harness.store.submissions import Submission
from harness.studies.state import read_states
from harness.studies.study import read_study
from slurm import submission
from slurm.cluster import sbatch

Run = Callable[[Sequence[str]], Ran]
PROFILE = "[default]\ntime = 20\ncpus = 1\n"


@pytest.fixture
def submit(run_harness: Run, world: World, stub: StubCluster) -> Callable[..., Ran]:
    """submit(*words) -> the grid's command with the executor slurm, as a user gives it again and again."""
    profile = world.folder / "p.toml"
    profile.write_text(PROFILE)

    def again(*words: str) -> Ran:
        arguments = world.grid("--profile", str(profile), *words)
        arguments[arguments.index("debug")] = "slurm"
        return run_harness(arguments)

    return again


def plan_of(world: World) -> Plan:
    return read_study(Store(world.store), "slice").plan


def homes(world: World) -> dict[str, list[str]]:
    """Stage id -> the tasks that have it, of all entries of the ledger."""
    found: dict[str, list[str]] = {}
    ledger = Store(world.store).ledger
    for uuid in ledger.uuids():
        for stage_id, task in ledger.read(uuid).stages():
            found.setdefault(stage_id, []).append(task)
    return found


def finish(store: Store, *stage_ids: str) -> None:
    for stage_id in stage_ids:
        store.stage(stage_id).record_path.parent.mkdir(parents=True, exist_ok=True)
        spec = read_study(store, "slice").plan.stages[stage_id]
        store.stage(stage_id).artifact_path.mkdir(parents=True, exist_ok=True)
        parents = {role: store.stage(parent).read_record()["digest"] for role, parent in spec.parents.items()}
        store.stage(stage_id).publish_record({**spec.fingerprint_fields(), "parent_digests": parents})


def end(store: Store, stage_id: str, outcome: str) -> None:
    number = store.stage(stage_id).begin_attempt(this_process())
    store.stage(stage_id).end_attempt(number, {"outcome": outcome, "message": "the reason"})


def test_one_pass_queues_every_stage_once_after_exactly_what_it_starts_from(
    submit: Callable[..., Ran], world: World, stub: StubCluster
) -> None:
    done = submit()
    assert done.code == 0
    plan, at = plan_of(world), homes(world)
    assert at.keys() == plan.stages.keys()
    assert all(len(tasks) == 1 for tasks in at.values())
    job = {f"{task['job']}_{task['index']}": name for name, task in stub.tasks.items()}
    assert {name for tasks in at.values() for name in tasks} == stub.tasks.keys()
    for name, task in stub.tasks.items():
        own = [stage_id for stage_id, (home,) in at.items() if home == name]
        starts_from = {at[p][0] for i in own for p in plan.stages[i].parents.values()} - {name}
        waits_for = {job[each] for each in task["after"]}
        assert starts_from <= waits_for, "each of its parents' tasks"
        array = [i for i, (home,) in at.items() if home.partition("_")[0] == name.partition("_")[0]]
        assert waits_for <= {at[p][0] for i in array for p in plan.stages[i].parents.values()}, "and nothing else"
    calls = len(stub.calls("sbatch"))
    assert calls == len({task["name"] for task in stub.tasks.values()})
    assert f"submitted {len(stub.tasks)} tasks in {calls} arrays (jobs 1 to {calls})." in done.err
    assert "24 stages queued or running on the cluster." in done.out
    assert set(read_states(plan, Store(world.store)).values()) == {"queued"}


def test_the_same_command_again_asks_the_queue_once_and_submits_nothing(
    submit: Callable[..., Ran], stub: StubCluster
) -> None:
    submit()
    before = stub.read()
    done = submit()
    assert done.code == 0
    assert "nothing new to submit." in done.err
    assert stub.tasks == {f"{task['name']}_{task['index']}": task for task in before["tasks"]}
    assert len(stub.calls("sbatch")) == len([1 for name, _ in before["calls"] if name == "sbatch"])


def test_what_is_done_is_left_out_and_what_is_queued_is_waited_for(
    submit: Callable[..., Ran], world: World, stub: StubCluster
) -> None:
    """The corpus is done, all that was queued but the preparation's task has ended without a record."""
    submit()
    plan, at = plan_of(world), homes(world)
    kinds = {spec.kind: stage_id for stage_id, spec in plan.stages.items()}
    finish(Store(world.store), kinds["corpus"], kinds["pairs"])
    (kept,) = at[kinds["teacher_preparation"]]
    stub.remove(*(name for name in stub.tasks if name != kept))
    job = f"{stub.tasks[kept]['job']}_{stub.tasks[kept]['index']}"
    assert submit().code == 0
    again = {i for i, tasks in homes(world).items() if len(tasks) == 2}
    in_it = {i for i, (task,) in at.items() if task == kept}
    assert again == plan.stages.keys() - {kinds["corpus"], kinds["pairs"]} - in_it
    assert kinds["student_pruning"] in in_it
    new = [task for name, task in stub.tasks.items() if name != kept]
    transfers = {i for i in again if kinds["student_pruning"] in plan.stages[i].parents.values()}
    waiting = [
        task for name, task in stub.tasks.items() if transfers & {i for i, t in homes(world).items() if name in t}
    ]
    assert waiting
    assert all(job in task["after"] for task in waiting)
    assert [task for task in new if task not in waiting and job in task["after"]] == []


def test_failed_stages_are_submitted_again_and_cancelled_ones_with_what_depends_on_them_are_not(
    submit: Callable[..., Ran], world: World, stub: StubCluster
) -> None:
    submit("--tasks", "sst2", "--seeds", "0")
    store, plan = Store(world.store), plan_of(world)
    stub.remove(*stub.tasks)
    kinds = {spec.kind: stage_id for stage_id, spec in plan.stages.items()}
    end(store, kinds["dense"], "code")
    end(store, kinds["student_pruning"], "cancelled")
    done = submit("--tasks", "sst2", "--seeds", "0")
    assert done.code == 0, "all that can run is queued"
    queued = {i for i, tasks in homes(world).items() if stub.tasks.keys() & set(tasks)}
    depends = {i for i in plan.stages if kinds["student_pruning"] in plan.ancestors(i)}
    assert kinds["dense"] in queued
    assert queued == plan.stages.keys() - depends
    assert "1 stage is cancelled and not started" in done.out


def test_where_squeue_does_not_answer_nothing_is_submitted(
    submit: Callable[..., Ran], stub: StubCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(squeue.ask_squeue, "__defaults__", ((), 0.3))
    stub.set(silent=["squeue"])
    done = submit()
    assert done.code == 3
    assert "squeue did not answer within 0.3 s, so what is queued is not known and nothing was submitted" in done.err
    assert not stub.tasks


def test_a_limit_packs_small_stages_and_then_leaves_some_out(
    submit: Callable[..., Ran], world: World, stub: StubCluster
) -> None:
    submit()
    spread = len(stub.tasks)
    stub.write({**stub.read(), "tasks": [], "calls": []})
    assert submit("--max-jobs", str(spread - 1)).code == 0
    assert len(stub.tasks) < spread
    stub.write({**stub.read(), "tasks": [], "calls": []})
    done = submit("--max-jobs", "3")
    assert done.code == 4
    assert len(stub.tasks) == 3, "an array is cut where it does not fit"
    assert "--max-jobs leaves no room for more tasks" in done.err
    assert "left out; the same command submits them when there is room." in done.out
    assert submit("--max-jobs", "3").code == 4
    assert len(stub.tasks) == 3, "the queue is as full as it may be"
    assert submit("--max-jobs", "1000").code == 0
    assert {i for i, tasks in homes(world).items() if any(t in stub.tasks for t in tasks)} == plan_of(
        world
    ).stages.keys()


def test_a_refusal_is_told_in_sbatchs_words_and_what_was_taken_stays(
    submit: Callable[..., Ran], world: World, stub: StubCluster
) -> None:
    stub.set(refusal="Batch job submission failed: QOSMaxSubmitJobPerUserLimit", refuse_after=2)
    done = submit()
    assert done.code == 4
    assert "QOSMaxSubmitJobPerUserLimit" in done.err
    assert len(stub.calls("sbatch")) == 3, "the next one would be refused as well"
    ledger = Store(world.store).ledger
    assert {task.partition("_")[0] for task in stub.tasks} == set(ledger.uuids()), "a refused entry is withdrawn"


def test_an_array_without_a_noted_job_is_known_by_its_name(
    submit: Callable[..., Ran], world: World, stub: StubCluster
) -> None:
    """Its submitter was killed between sbatch and the note; another entry never came to sbatch."""
    submit()
    ledger = Store(world.store).ledger
    lost = ledger.uuids()[0]
    job = ledger.job(lost)
    ledger.job_path(lost).unlink()
    never = Submission(**{**vars(ledger.read(lost)), "uuid": "f" * 32})
    ledger.write(never)
    calls = len(stub.calls("sbatch"))
    assert submit().code == 0
    assert len(stub.calls("sbatch")) == calls
    assert ledger.job(lost) == job
    assert not ledger.job("f" * 32)


def test_the_ledger_says_what_a_task_needs_to_know(submit: Callable[..., Ran], world: World, stub: StubCluster) -> None:
    submit()
    ledger = Store(world.store).ledger
    for uuid in ledger.uuids():
        entry = ledger.read(uuid)
        assert (entry.study, entry.cluster, entry.profile["time_minutes"]) == ("slice", "stub", 20)
        assert "[default]" in entry.profile["place"]
        assert set(entry.needed) <= {i for task in entry.tasks for i in task}
        text = ledger.batch_path(uuid).read_text()
        assert f"#SBATCH --array=0-{len(entry.tasks) - 1}" in text
        assert f"-m slurm.job {Store(world.store).root.absolute()} {uuid}" in text


def test_a_dry_run_submits_nothing_and_writes_nothing(
    submit: Callable[..., Ran], world: World, stub: StubCluster
) -> None:
    done = submit("--dry-run")
    assert done.code == 0
    assert "tasks in" in done.out
    assert "#SBATCH --job-name=" in done.out
    assert "sbatch --test-only accepts it" in done.out
    found = json.loads(submit("--dry-run", "--json").out)["submission"]
    in_tasks = [i for array in found["arrays"] for task in array["tasks"] for i in task]
    assert len(in_tasks) == len(set(in_tasks)) == 24
    assert not stub.tasks
    assert not world.store.exists()


def test_two_submitters_take_turns(submit: Callable[..., Ran], world: World, stub: StubCluster, tmp_path: Path) -> None:
    """The second waits for the first's lease, and then finds everything queued."""
    folder = Store(world.store).submission_lease_path
    lease = acquire(folder, {"host": "elsewhere"}, lambda holder: False)
    assert lease is not None
    timer = threading.Timer(0.5, lease.release)
    begun = time.monotonic()
    timer.start()
    done = submit()
    assert time.monotonic() - begun > 0.4
    assert "waiting for another submission to this store" in done.err
    assert done.code == 0


@pytest.mark.parametrize("does_it", [False, True])
def test_where_sbatch_does_not_answer_the_queue_says_whether_it_took_the_array(
    submit: Callable[..., Ran], world: World, stub: StubCluster, monkeypatch: pytest.MonkeyPatch, does_it: bool
) -> None:
    monkeypatch.setattr(sbatch, "__defaults__", (2.0,))
    stub.set(**{"late" if does_it else "silent": ["sbatch"]})
    done = submit("--tasks", "sst2", "--seeds", "0")
    ledger = Store(world.store).ledger
    if does_it:
        assert done.code == 0
        assert {ledger.job(task.partition("_")[0]) for task in stub.tasks} == {t["job"] for t in stub.tasks.values()}
    else:
        assert done.code == 4
        assert "sbatch did not answer in time" in done.err
        assert not stub.tasks
        stub.set(silent=[])
        monkeypatch.setattr(sbatch, "__defaults__", (60.0,))
        assert submit("--tasks", "sst2", "--seeds", "0").code == 0
        assert {i for i, t in homes(world).items() if stub.tasks.keys() & set(t)} == plan_of(world).stages.keys()


def test_a_run_on_this_machine_does_not_begin_what_is_queued_on_the_cluster(
    submit: Callable[..., Ran], run_harness: Run, world: World, stub: StubCluster
) -> None:
    submit()
    done = run_harness(world.grid())
    assert done.code == 2
    assert "24 stages of study 'slice' wait in the queue of the cluster" in done.err
    assert "Use --executor slurm, or take them out first: harness cancel queued" in done.err
    stub.remove(*stub.tasks)
    assert run_harness(world.grid()).code == 0, "they have left it"


@pytest.mark.parametrize(
    "says",
    [
        {"banner": "Welcome to cluster 7"},
        {"fails_after_taking": "Batch job submission failed: Zero Bytes were transmitted or received"},
        {"fails_after_taking": "Batch job submission failed: Socket timed out on send/recv operation"},
        {"fails_after_taking": "Unable to contact slurm controller (connect failure)"},
    ],
)
def test_an_array_that_sbatch_took_is_kept_whatever_it_printed(
    submit: Callable[..., Ran], world: World, stub: StubCluster, says: dict[str, str]
) -> None:
    stub.set(**says)
    assert submit().code == 0
    assert {i for i, tasks in homes(world).items() if len(tasks) == 1} == plan_of(world).stages.keys()
    ledger = Store(world.store).ledger
    assert {ledger.job(task.partition("_")[0]) for task in stub.tasks} == {t["job"] for t in stub.tasks.values()}


def test_a_profile_that_sbatch_refuses_keeps_no_other_from_being_queued(
    submit: Callable[..., Ran], world: World, stub: StubCluster
) -> None:
    (world.folder / "p.toml").write_text(PROFILE + '[kind.transfer]\npartition = "lonng"\n')
    stub.set(refused_partition="lonng")
    done = submit()
    assert done.code == 1
    assert "sbatch refuses the tasks of [kind.transfer] of" in done.err
    assert "Invalid partition name specified" in done.err
    queued = {i for i, tasks in homes(world).items() if stub.tasks.keys() & set(tasks)}
    plan = plan_of(world)
    transfers = {i for i, spec in plan.stages.items() if spec.kind == "transfer"}
    assert queued == {i for i in plan.stages if not transfers & {*plan.ancestors(i)}}


def test_what_is_added_to_a_queued_task_is_told_to_it(
    submit: Callable[..., Ran], world: World, stub: StubCluster
) -> None:
    """At first nothing starts from the dense model; then transfers do, whose teacher it is."""
    submit("--methods", "dense", "--tasks", "sst2", "--seeds", "0")
    plan = plan_of(world)
    (dense,) = (i for i, spec in plan.stages.items() if spec.kind == "dense")
    ledger = Store(world.store).ledger
    (uuid,) = ledger.uuids()
    entry = ledger.read(uuid)
    assert ledger.needed(entry, entry.task(0)) == set()
    submit("--methods", "dense,prune-ofa", "--sparsities", "0.85", "--tasks", "sst2", "--seeds", "0")
    assert ledger.needed(entry, entry.task(0)) == {dense}
    waiting = [task for task in stub.tasks.values() if f"{ledger.job(uuid)}_0" in task["after"]]
    assert waiting


def test_tasks_that_are_about_to_end_are_waited_for(
    submit: Callable[..., Ran], stub: StubCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after scancel: what waits for them would be cancelled with them."""
    monkeypatch.setattr(submission, "POLL_SECONDS", 0.05)
    submit()
    ending = next(iter(stub.tasks))
    stub.change(ending, state="CG")
    timer = threading.Timer(3.0, stub.remove, [ending])  # by then a busy machine has come to asking
    timer.start()
    done = submit()
    timer.join()
    assert "waiting for 1 task to end" in done.err
    assert "submitted 1 task" in done.err


def test_a_stage_that_another_process_runs_is_not_queued_nor_what_depends_on_it(
    submit: Callable[..., Ran], world: World, stub: StubCluster
) -> None:
    submit("--methods", "dense", "--tasks", "sst2", "--seeds", "0")
    stub.remove(*stub.tasks)
    plan, store = plan_of(world), Store(world.store)
    (dense,) = (i for i, spec in plan.stages.items() if spec.kind == "dense")
    other = {**this_process(), "host": "another", "process_started": "boot:1", "pid_namespace": 7}
    lease = acquire(store.stage(dense).lease_path, other, lambda holder: False)
    assert lease is not None
    done = submit("--methods", "dense", "--tasks", "sst2", "--seeds", "0")
    assert done.code == 4
    assert not stub.tasks
    assert "1 stage in other processes; what depends on them is queued after that." in done.err
    long_ago = time.time() - 3600
    os.utime(store.stage(dense).lease_path / "1", (long_ago, long_ago))
    assert submit("--methods", "dense", "--tasks", "sst2", "--seeds", "0").code == 0
    assert len(stub.tasks) == 1, "its holder gives no sign of life: the task takes it over"


def attempt_in(store: Store, stage_id: str, task: str, outcome: str) -> None:
    number = store.stage(stage_id).begin_attempt({**this_process(), "allocation": task, "restart": 0})
    store.stage(stage_id).end_attempt(number, {"outcome": outcome, "message": "the reason"})


@pytest.mark.parametrize("outcomes", [["code"], ["killed"] * 3])
def test_a_stage_that_failed_in_a_task_that_runs_on_is_submitted_again_with_what_starts_from_it_there(
    submit: Callable[..., Ran], world: World, stub: StubCluster, outcomes: list[str]
) -> None:
    """The task does not go back to it: neither is held by it any more."""
    submit("--tasks", "sst2", "--seeds", "0")
    plan, store, at = plan_of(world), Store(world.store), homes(world)
    kinds = {spec.kind: stage_id for stage_id, spec in plan.stages.items()}
    failed = kinds["teacher_preparation"]
    (task,) = at[failed]
    after = {i for i, (home,) in at.items() if home == task and failed in plan.ancestors(i)} - {failed}
    assert after, "the pruning is in its task"
    stub.change(task, state="R")
    for number, outcome in enumerate(outcomes, 1):
        attempt_in(store, failed, task, outcome)
        state = read_states(plan, store)[failed]
        assert state == ("failed" if number == len(outcomes) else "queued")
    assert submit("--tasks", "sst2", "--seeds", "0").code == 0
    assert {i for i, tasks in homes(world).items() if len(tasks) == 2} == {failed, *after}


def test_the_estimate_is_for_what_the_profiles_of_training_ask(
    submit: Callable[..., Ran], world: World, stub: StubCluster
) -> None:
    profile = world.folder / "p.toml"
    profile.write_text(PROFILE + "[work.data]\ngpus = 8\n")
    assert "hours without a GPU" in submit("--dry-run").out
    profile.write_text(PROFILE + "[work.training]\ngpus = 1\n")
    assert "GPU-hours" in submit("--dry-run").out


def test_ranks_of_a_profile_take_wall_time_from_what_is_estimated(
    submit: Callable[..., Ran], world: World, stub: StubCluster
) -> None:
    """Six ranks, a sixth of the time; the ranks of `--resource` count for work whose profile asks for none."""

    def hours() -> dict[str, float]:
        """By class of work, of all that was submitted just now."""
        store, plan = Store(world.store), plan_of(world)
        found: dict[str, float] = defaultdict(float)
        for entry in map(store.ledger.read, store.ledger.uuids()):
            for stage_id, _ in entry.stages():
                kind = plan.stages[stage_id].kind
                found[plan.work_of_kind(kind)] += entry.estimated[kind]
        shutil.rmtree(world.store)
        return found

    assert submit().code == 0
    alone = hours()
    (world.folder / "p.toml").write_text(PROFILE + "[work.training]\nnodes = 2\ntasks = 3\n")
    assert submit("--resource", "ranks=2").code == 0
    together = hours()
    times = {"data": 1, "pretraining": 2, "training": 6, "conversion": 1, "scoring": 1}
    assert alone == {work: pytest.approx(times[work] * spent) for work, spent in together.items()}
