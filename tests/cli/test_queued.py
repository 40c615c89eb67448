"""cancel, retry, invalidate, gc and logs of stages that a cluster has; and right after one of its nodes crashed."""

from __future__ import annotations

import json
import os
import shlex
import threading
import time
from collections.abc import Callable
from types import ModuleType

import pytest
from grid_world import Ran, World, of_kind, with_descendants
from stub_slurm import CLUSTER, StubSlurm, submitted

from harness.cli.commands import cancel, logs
from harness.planning.graph import Plan
from harness.store import squeue
from harness.store.leases import acquire
from harness.store.processes import this_process
from harness.store.store import Store
from harness.store.submissions import Submission
from harness.studies.activity import read_activity
from harness.studies.idle_tasks import idle_tasks
from harness.studies.state import read_states
from harness.studies.study import read_study

Run = Callable[[list[str]], Ran]


@pytest.fixture
def store(world: World) -> Store:
    return Store(world.store)


@pytest.fixture
def plan(run_harness: Run, world: World, store: Store, fakes: ModuleType) -> Plan:
    """Dense, pruning and what comes before are done; nothing else is."""

    def stop(context: object) -> None:
        raise KeyboardInterrupt

    fakes.ACTIONS.update(dict.fromkeys(("task_pruning", "transfer", "evaluation"), stop))
    for kinds in (
        ("--methods", "dense"),
        ("--methods", "prune-ofa", "--quantization", "none,int8", "--sparsities", "0.85"),
    ):
        assert run_harness(world.grid("--tasks", "sst2", *kinds)).code == 130
    fakes.ACTIONS.clear()
    planned = read_study(store, "slice").plan
    fakes.ACTIONS["evaluation"] = stop
    states = read_states(planned, store)
    assert {planned.stages[i].kind for i, state in states.items() if state == "done"} >= {"dense", "student_pruning"}
    return planned


def one(planned: Plan, kind: str) -> str:
    (stage_id,) = of_kind(planned, kind)
    return stage_id


@pytest.fixture
def queued(plan: Plan, store: Store, stub_slurm: StubSlurm) -> Submission:
    """An array of two: the transfer with its quantization, and an evaluation of dense."""
    (scored,) = (i for i, spec in of_kind(plan, "evaluation").items() if one(plan, "dense") in spec.parents.values())
    submission = submitted(store, [one(plan, "transfer"), one(plan, "quantization")], [scored])
    stub_slurm.has((submission.task(0), "PD", "Priority"), (submission.task(1), "PD", "Priority"))
    stub_slurm.forget_calls()
    return submission


def crashes(store: Store, stage_id: str, task: str) -> int:
    """A worker of a task was at the stage on another machine when that crashed."""
    who = {**this_process(), "host": "n1", "process": 1, "process_started": "another:1", "pid_namespace": 1}
    who = {**who, "allocation": task, "restart": 0, "cluster": CLUSTER, "user": os.getuid()}
    assert acquire(store.stage(stage_id).lease_path, who, lambda holder: True) is not None
    holder = store.stage(stage_id).holder()
    assert holder is not None
    return store.stage(stage_id).begin_attempt({**who, "generation": holder.generation})


# -- cancel


def test_a_task_with_nothing_left_to_start_is_taken_out_of_the_queue(
    run_harness: Run, world: World, plan: Plan, store: Store, queued: Submission, stub_slurm: StubSlurm
) -> None:
    first = run_harness(world.reading("cancel", "quantization"))
    assert (first.code, first.err, stub_slurm.calls("scancel")) == (0, "", [])  # the transfer is still to run
    done = run_harness(world.reading("cancel", "transfer", "--json"))
    (job,) = json.loads(done.out)["scancelled"]
    assert job == stub_slurm.task_id(queued.task(0))
    assert stub_slurm.calls("scancel") == [["--state=PENDING", job]]
    states = read_states(plan, store)
    assert [states[i] for i in queued.tasks[0]] == ["cancelled"] * 2
    assert states[queued.tasks[1][0]] == "queued"


def test_a_task_whose_other_stages_depend_on_a_cancelled_one_is_taken_out_as_well(
    run_harness: Run, world: World, plan: Plan, store: Store, queued: Submission, stub_slurm: StubSlurm
) -> None:
    """The quantization is not cancelled itself, and cannot run without the transfer."""
    scored = [i for i, s in of_kind(plan, "evaluation").items() if one(plan, "quantization") in s.parents.values()]
    after = submitted(store, scored)
    waiting = (queued.task(0), queued.task(1), after.task(0))
    stub_slurm.has(*((task, "PD", "Dependency") for task in waiting))
    done = run_harness(world.reading("cancel", "transfer"))
    assert done.out.splitlines()[-1] == "2 tasks without work left taken out of the cluster's queue."
    (call,) = stub_slurm.calls("scancel")
    assert set(call[1:]) == {stub_slurm.task_id(queued.task(0)), stub_slurm.task_id(after.task(0))}


def test_what_people_read_of_it(run_harness: Run, world: World, queued: Submission, stub_slurm: StubSlurm) -> None:
    done = run_harness(world.reading("cancel", "queued"))
    assert done.out.splitlines()[0] == "3 stages cancelled; not started until harness retry:"
    assert done.out.splitlines()[-1] == "2 tasks without work left taken out of the cluster's queue."
    assert len(stub_slurm.calls("squeue")) == 1


@pytest.mark.parametrize("words", ["fail", "hang"])
def test_a_scancel_that_fails_is_a_warning_with_the_command(
    run_harness: Run,
    world: World,
    queued: Submission,
    stub_slurm: StubSlurm,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if words == "fail":
        stub_slurm.fail("scancel", "scancel: error: Access/permission denied")
    else:
        stub_slurm.hang("scancel")
        scancel = cancel.scancel_waiting
        monkeypatch.setattr(cancel, "scancel_waiting", lambda jobs: scancel(jobs, seconds=0.2))
    done = run_harness(world.reading("cancel", "queued"))
    assert done.code == 0
    command = f"scancel --state=PENDING {stub_slurm.task_id(queued.task(0))} {stub_slurm.task_id(queued.task(1))}"
    (warning,) = done.err.splitlines()
    assert warning.startswith("warning: scancel failed (")
    assert warning.endswith(command)
    assert ("permission denied" if words == "fail" else "did not answer within 0.2 s") in warning


@pytest.mark.parametrize(("change", "who"), [({"user": 12345}, "user"), ({"cluster": "another"}, "cluster")])
def test_tasks_of_others_and_of_other_clusters_stay(
    run_harness: Run, world: World, plan: Plan, store: Store, stub_slurm: StubSlurm, change: dict[str, object], who: str
) -> None:
    theirs = submitted(store, [one(plan, "transfer")], **change)
    stub_slurm.has((theirs.task(0), "PD", "Priority"))
    assert run_harness(world.reading("cancel", "transfer")).code == 0
    assert stub_slurm.calls("scancel") == []


def test_a_silent_squeue_is_a_warning_and_the_stages_are_cancelled_all_the_same(
    run_harness: Run, world: World, plan: Plan, store: Store, queued: Submission, stub_slurm: StubSlurm
) -> None:
    stub_slurm.fail("squeue", "down")
    done = run_harness(world.reading("cancel", "transfer"))
    assert (done.code, store.stage(one(plan, "transfer")).is_cancelled()) == (0, True)
    assert done.err == (
        "warning: squeue did not answer: down: a task of these stages may wait in the queue; "
        "it will start none of them.\n"
    )


def test_idle_is_a_task_that_waits_with_only_stopped_stages_unfinished(
    plan: Plan, store: Store, stub_slurm: StubSlurm
) -> None:
    many = submitted(store, ["a", "b"], ["c", "d"], ["e"], ["f"], ["g"])
    waiting = [(many.task(index), "PD", "Priority") for index in range(4)]
    stub_slurm.has(*waiting, (many.task(4), "R", "None"))
    # a, b: both cancelled. c cancelled and d done. e: to run. f: done, so that its task has nothing to refuse. g: runs.
    found = idle_tasks([many], squeue.ask_squeue(), stopped={"a", "b", "c", "g"}, finished={"d", "f"})
    assert [job.partition("_")[2] for job in found] == ["0", "1"]


def test_a_task_whose_finished_stage_others_wait_for_stays_since_they_would_leave_the_queue_with_it(
    run_harness: Run, world: World, plan: Plan, store: Store, stub_slurm: StubSlurm
) -> None:
    """It was queued again after dense had its record; with the evaluation cancelled it ends with 0."""
    dense = one(plan, "dense")
    (scored,) = (i for i, spec in of_kind(plan, "evaluation").items() if dense in spec.parents.values())
    again = submitted(store, [dense, scored], needed=(dense,))
    after = submitted(store, [one(plan, "transfer")], after=(again.task(0),))
    stub_slurm.has((again.task(0), "PD", "BeginTime", 1), (after.task(0), "PD", "Dependency"))
    done = run_harness(world.reading("cancel", scored, "--json"))
    assert json.loads(done.out)["cancelled"] == [scored]
    assert stub_slurm.calls("scancel") == []
    assert json.loads(run_harness(world.reading("cancel", "transfer", "--json")).out)["scancelled"] == [
        stub_slurm.task_id(after.task(0))
    ]


# -- retry


def test_a_retried_stage_runs_in_its_task_or_with_the_next_grid(
    run_harness: Run, world: World, plan: Plan, store: Store, queued: Submission, stub_slurm: StubSlurm
) -> None:
    run_harness(world.reading("cancel", "quantization"))
    done = run_harness(world.reading("retry", "quantization"))
    assert done.out.startswith("1 stage will run again in tasks that are queued on the cluster:\n")
    run_harness(world.reading("cancel", "quantization"))
    stub_slurm.has()
    stub_slurm.forget_calls()
    done = run_harness(world.reading("retry", "quantization"))
    assert done.out.startswith("1 stage will run again with the next harness grid:\n")
    assert len(stub_slurm.calls("squeue")) <= 1


def test_a_queued_stage_says_so(run_harness: Run, world: World, queued: Submission, stub_slurm: StubSlurm) -> None:
    done = run_harness(world.reading("retry", "transfer"))
    assert done.out == "nothing to retry: 1 queued (they are queued; their task will start them).\n"


# -- invalidate


def test_what_queued_stages_start_from_is_not_invalidated_and_the_next_move_works(
    run_harness: Run, world: World, plan: Plan, store: Store, queued: Submission, stub_slurm: StubSlurm
) -> None:
    pruning = one(plan, "student_pruning")
    refused = run_harness(world.reading("invalidate", pruning, "--yes"))
    assert refused.code == 2
    assert store.stage(pruning).has_record()
    assert "2 stages, transfer tiny" in refused.err
    commands = refused.err.partition("Take them out with ")[2].partition(";")[0].split(", ")
    for command in commands:
        verb, *words = shlex.split(command)[1:]
        assert (verb, run_harness([verb, *words]).code) == ("cancel", 0)
    assert run_harness(world.reading("invalidate", pruning, "--yes")).code == 0
    assert not store.stage(pruning).has_record()


def test_of_many_queued_stages_the_kinds_are_named(
    run_harness: Run, world: World, plan: Plan, store: Store, stub_slurm: StubSlurm
) -> None:
    rest = [i for i in with_descendants(plan, [one(plan, "dense")]) if i != one(plan, "dense")]
    assert len(rest) > 3
    many = submitted(store, rest)
    stub_slurm.has((many.task(0), "PD", "Priority"))
    refused = run_harness(world.reading("invalidate", "dense", "--yes"))
    assert refused.code == 2
    assert f"harness cancel queued,transfer --store {world.store} --study slice" in refused.err
    assert len(stub_slurm.calls("squeue")) == 1


def test_where_squeue_is_silent_it_says_what_may_come_of_it(
    run_harness: Run, world: World, plan: Plan, queued: Submission, stub_slurm: StubSlurm
) -> None:
    stub_slurm.fail("squeue", "down")
    done = run_harness(world.reading("invalidate", "student_pruning", "--yes"))
    assert (done.code, "1 record moved" in done.out) == (0, True)
    assert done.err.startswith("warning: squeue did not answer: down, so what is queued is not known; a stage that is")


# -- gc


def test_what_queued_stages_start_from_and_their_checkpoints_stay(
    run_harness: Run, world: World, plan: Plan, store: Store, queued: Submission, stub_slurm: StubSlurm
) -> None:
    transfer = store.stage(one(plan, "transfer"))
    transfer.checkpoints_path.mkdir(parents=True, exist_ok=True)
    assert run_harness(world.reading("gc", "--keep", "records", "--yes")).code == 0
    assert transfer.checkpoints_path.is_dir()
    for kind in ("dense", "student_pruning"):
        assert store.stage(one(plan, kind)).has_artifact()
    assert not store.stage(one(plan, "teacher_preparation")).has_artifact()


# -- a node that crashed


@pytest.mark.parametrize("how", ["gone", "restarted"])
def test_right_after_a_crash_every_verb_works(
    run_harness: Run, world: World, plan: Plan, store: Store, queued: Submission, stub_slurm: StubSlurm, how: str
) -> None:
    transfer = one(plan, "transfer")
    task = queued.task(0)
    crashes(store, transfer, task)
    stub_slurm.has((task, "R", "None"))
    assert read_activity(plan, store).running.keys() == {transfer}
    refused = run_harness(world.reading("invalidate", "student_pruning", "--yes"))
    assert (refused.code, f"({transfer}) is running: process 1 on n1" in refused.err) == (2, True)
    stub_slurm.has(*([(task, "PD", "BeginTime", 1)] if how == "restarted" else []))

    status = json.loads(run_harness(world.reading("status", "--json")).out)
    assert status["running"] == []
    state = {stage["id"]: stage["state"] for stage in status["stages"]}[transfer]
    assert state == ("queued" if how == "restarted" else "pending")
    cancelled = run_harness(world.reading("cancel", transfer, "--json"))
    assert json.loads(cancelled.out)["cancelled"] == [transfer]
    run_harness(world.reading("cancel", "quantization"))
    assert run_harness(world.reading("retry", transfer)).code == 0
    assert run_harness(world.reading("cancel", transfer)).code == 0
    # A finished one, whose record the worker wrote before the crash: its lease is not released either.
    dense = one(plan, "dense")
    crashes(store, dense, queued.task(9))
    assert run_harness(world.reading("gc", "--keep", "records", "--yes")).code == 0
    stub_slurm.has()
    assert run_harness(world.reading("invalidate", "dense", "--yes")).code == 0
    assert not store.stage(dense).has_record()
    assert not store.stage(dense).has_artifact()


def test_gc_frees_what_a_crashed_worker_held(
    run_harness: Run,
    world: World,
    plan: Plan,
    store: Store,
    queued: Submission,
    stub_slurm: StubSlurm,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepared = one(plan, "teacher_preparation")
    crashes(store, prepared, queued.task(0))
    stub_slurm.has((queued.task(0), "R", "None"))
    run_harness(world.reading("gc", "--keep", "records", "--yes"))
    assert store.stage(prepared).has_artifact()
    stub_slurm.has((queued.task(0), "PD", "BeginTime", 1))
    monkeypatch.setattr(squeue, "KEPT_SECONDS", 0.0)
    run_harness(world.reading("gc", "--keep", "records", "--yes"))
    assert not store.stage(prepared).has_artifact()


# -- logs


def test_without_an_attempt_the_tasks_own_log_is_shown(
    run_harness: Run, world: World, plan: Plan, store: Store, queued: Submission, stub_slurm: StubSlurm
) -> None:
    transfer, log = one(plan, "transfer"), store.ledger.log_path(queued.task(0))
    head = f"{plan.label(transfer)} ({transfer}) has no attempt yet: "
    for stage_id in (transfer, one(plan, "quantization")):
        for path in store.stage(stage_id).attempts_path.glob("*"):
            path.unlink()
    waits = run_harness(world.reading("logs", transfer))
    assert (waits.code, waits.out) == (0, f"{head}queued, Priority.\n    its task has logged nothing yet ({log})\n")
    log.write_text("".join(f"line {number}\n" for number in range(50)))
    stub_slurm.has()
    ended = run_harness(world.reading("logs", transfer))
    lines = ended.out.splitlines()
    assert lines[0] == f"{head}pending, and its task is not in the queue."
    assert lines[1:] == [f"    the end of its task's log ({log}):", *(f"    line {n}" for n in range(30, 50))]


def test_following_waits_for_the_task_and_goes_on_with_the_next_attempt(
    run_harness: Run,
    world: World,
    plan: Plan,
    store: Store,
    queued: Submission,
    stub_slurm: StubSlurm,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(logs, "ASK_SECONDS", 0.1)
    quantization, task = one(plan, "quantization"), queued.task(0)
    stage = store.stage(quantization)
    stub_slurm.has((task, "PD", "Priority"))

    def run() -> None:
        """Its task starts, comes to its limit, is queued again, starts on another node and comes to the end."""
        for restart in (0, 1):
            time.sleep(0.3)
            stub_slurm.has((task, "R", "None", restart))
            lease = stage.acquire_lease()
            assert lease is not None
            number = stage.begin_attempt({**this_process(), "allocation": task, "generation": lease.generation})
            stage.log_path(number).write_text(f"step {restart}\n")
            time.sleep(0.2)
            if restart == 0:
                stage.end_attempt(number, {"outcome": "time-limit", "message": "stopped after step 1."})
                stub_slurm.has((task, "PD", "BeginTime", 1))
            else:
                stage.publish_record(plan.stages[quantization].fingerprint_fields())
                stage.end_attempt(number, {"outcome": "done"})
                stub_slurm.has()
            lease.release()

    thread = threading.Thread(target=run)
    thread.start()
    done = run_harness(world.reading("logs", quantization, "-f"))
    thread.join()
    label = plan.label(quantization)
    assert done.code == 0
    assert done.out == f"step 0\n== {label} ({quantization}), attempt 2\nstep 1\n"
    assert done.err.splitlines()[0] == f"queued: {label} ({quantization}): Priority"
    assert f"queued: {label} ({quantization}): BeginTime" in done.err.splitlines()
