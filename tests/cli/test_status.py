"""status: cells by state, what runs and what waits and why; one squeue a call, whatever the cluster answers."""

from __future__ import annotations

import json
import os
import pwd
import time
from collections.abc import Callable
from types import ModuleType

import pytest
from grid_world import Ran, World, of_kind, preset
from grid_world import plan as plan_of
from stub_slurm import CLUSTER, StubSlurm, submitted

from harness.cli.commands import status
from harness.planning.graph import Plan
from harness.progress import StageProgress
from harness.store import squeue
from harness.store.leases import acquire
from harness.store.processes import this_process
from harness.store.store import Store
from harness.studies.study import merged, write_study

Run = Callable[[list[str]], Ran]


@pytest.fixture
def store(world: World) -> Store:
    return Store(world.store)


@pytest.fixture
def plan(store: Store) -> Plan:
    """Of five cells, written as the store's one study."""
    planned = plan_of(tasks=["sst2"])
    write_study(store, merged(store, "slice", preset(), planned))
    return planned


def one(planned: Plan, kind: str) -> str:
    (stage_id,) = of_kind(planned, kind)
    return stage_id


def finish(store: Store, planned: Plan, *kinds: str) -> None:
    for stage_id, spec in of_kind(planned, *kinds).items():
        store.stage(stage_id).publish_record(spec.fingerprint_fields())


def runs(store: Store, stage_id: str, task: str, node: str = "n1", **owner: object) -> int:
    """A worker of a task on another machine holds the stage and has begun an attempt."""
    who = {**this_process(), "host": node, "process": 1, "process_started": "another:1", "pid_namespace": 1}
    who = {**who, "allocation": task, "restart": 0, "cluster": CLUSTER, "user": os.getuid(), **owner}
    acquire(store.stage(stage_id).lease_path, who, lambda holder: True)
    return store.stage(stage_id).begin_attempt({**who, "generation": 1})


def fails(store: Store, stage_id: str, outcome: str, message: str, **event: object) -> None:
    number = store.stage(stage_id).begin_attempt({"time": 1.0, **event})
    store.stage(stage_id).log_path(number).write_text(f"{message}\n")
    store.stage(stage_id).end_attempt(number, {"time": 2.0, "outcome": outcome, "message": message})


@pytest.fixture
def busy(store: Store, plan: Plan, stub_slurm: StubSlurm) -> str:
    """Dense runs in a task, its cells' pruning waits for priority, transfers wait for that; returns dense's task."""
    finish(store, plan, "corpus", "pairs", "teacher_preparation")
    dense = submitted(store, [one(plan, "dense")]).task(0)
    pruning = submitted(store, [one(plan, "student_pruning")]).task(0)
    number = runs(store, one(plan, "dense"), dense)
    progress = StageProgress(step=3, steps=10, seconds_left=240.0, loss=0.5)
    store.stage(one(plan, "dense")).progress_path(number).write_text(json.dumps(vars(progress)))
    later = submitted(store, [*of_kind(plan, "transfer"), one(plan, "quantization")]).task(0)
    fails(store, one(plan, "task_pruning"), "out-of-memory", "CUDA out of memory\nTried to allocate 2 GiB")
    stub_slurm.has((dense, "R", "None"), (pruning, "PD", "Priority"), (later, "PD", "Dependency"))
    return dense


def test_what_runs_waits_and_failed_is_told_with_its_reason(
    run_harness: Run, world: World, busy: str, plan: Plan, store: Store, stub_slurm: StubSlurm
) -> None:
    done = run_harness(world.reading("status"))
    assert done.code == 1
    lines = done.out.splitlines()
    dense, pruning, failed = (one(plan, kind) for kind in ("dense", "student_pruning", "task_pruning"))
    assert f"running: dense tiny sst2 seed 0 ({dense}) on n1: step 3 of 10, loss 0.5000, about 4 min left" in lines
    assert f"queued: {plan.label(pruning)} ({pruning}): Priority" in lines
    # A task waits for both; each of its stages is told what itself waits for.
    assert "queued: 2 stages: waits for dense tiny sst2 seed 0 and 1 more" in lines
    (alone,) = (line for line in lines if line.endswith(f"): waits for {plan.label(pruning)}"))
    assert alone.startswith("queued: transfer tiny sst2 0.85 without KD")
    assert f"failed (out-of-memory): {plan.label(failed)} ({failed}): CUDA out of memory" in lines
    assert f"        log: {store.stage(failed).log_path(1)}" in lines
    assert "cells: 1 running, 3 queued, 1 failed" in lines
    assert "Tried to allocate" not in done.out
    assert "queue:" not in done.out
    assert len(stub_slurm.calls("squeue")) == 1


def test_json_has_every_cell_with_what_makes_its_state(
    run_harness: Run, world: World, busy: str, plan: Plan, stub_slurm: StubSlurm
) -> None:
    found = json.loads(run_harness(world.reading("status", "--json")).out)
    assert found["cells"] == {"total": 5, "done": 0}
    cells = {(cell["method"], cell["quantization"]): cell for cell in found["cell_states"]}
    dense = cells["dense", "none"]
    assert (dense["state"], dense["stage"], dense["node"], dense["task"]) == ("running", one(plan, "dense"), "n1", busy)
    assert (dense["progress"]["step"], dense["progress"]["steps"]) == (3, 10)
    waits = cells["prune-ofa", "int8"]
    assert (waits["state"], plan.stages[waits["stage"]].kind) == ("queued", "transfer")
    assert waits["reason"] == "waits for dense tiny sst2 seed 0 and 1 more"
    failed = cells["finetune-pruning", "none"]
    assert (failed["state"], failed["class"], failed["message"]) == ("failed", "out-of-memory", "CUDA out of memory")
    (entry,) = found["failed"]
    assert entry["message"] == "CUDA out of memory\nTried to allocate 2 GiB"
    (running,) = found["running"]
    assert (running["id"], running["node"]) == (one(plan, "dense"), "n1")
    assert {stage["state"] for stage in found["stages"]} == {
        "done",
        "running",
        "queued",
        "failed",
        "blocked",
        "pending",
    }
    assert len(stub_slurm.calls("squeue")) == 1
    assert stub_slurm.calls("sacct") == []


@pytest.mark.parametrize("silence", ["down", "slow", "none"])
def test_without_an_answer_leases_and_records_are_shown(
    run_harness: Run,
    world: World,
    busy: str,
    plan: Plan,
    stub_slurm: StubSlurm,
    silence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = {
        "down": "queue: unknown (squeue did not answer: slurm_load_jobs error: Unable to contact slurm controller)",
        "slow": "queue: unknown (squeue did not answer within 0.3 s)",
        "none": "queue: unknown (there is no squeue on this machine)",
    }[silence]
    if silence == "down":
        stub_slurm.fail("squeue", "slurm_load_jobs error: Unable to contact slurm controller")
    elif silence == "slow":
        ask = squeue.ask_squeue
        monkeypatch.setattr(squeue, "ask_squeue", lambda users: ask(users, seconds=0.3))
        monkeypatch.setattr(squeue, "KEPT_SECONDS", 0.25)  # an answer that took longer than it is kept, as 15 s do
        stub_slurm.hang("squeue")
        stub_slurm.hang("scontrol")
    else:
        monkeypatch.setenv("PATH", str(world.folder))
    begun = time.monotonic()
    done = run_harness(world.reading("status"))
    assert time.monotonic() - begun < 5
    assert expected in done.out.splitlines()
    assert "running: dense" in done.out
    assert "failed (out-of-memory)" in done.out
    assert "queued" not in done.out
    assert len(stub_slurm.calls("squeue")) == (0 if silence == "none" else 1)
    assert json.loads(run_harness(world.reading("status", "--json")).out)["queue_problem"] == expected[16:-1]


def test_where_nothing_was_submitted_or_all_is_done_nobody_is_asked(
    run_harness: Run, world: World, store: Store, plan: Plan, stub_slurm: StubSlurm
) -> None:
    stub_slurm.fail("squeue", "down")
    assert "queue:" not in run_harness(world.reading("status")).out
    submitted(store, list(plan.stages))
    assert "queue: unknown (squeue did not answer: down)" in run_harness(world.reading("status")).out
    finish(store, plan, *plan.counts())
    done = run_harness(world.reading("status"))
    assert (done.code, "queue:" in done.out) == (0, False)
    assert len(stub_slurm.calls("squeue")) == 1


def test_tasks_of_others_are_asked_for_and_shown_with_their_name(
    run_harness: Run, world: World, store: Store, plan: Plan, stub_slurm: StubSlurm
) -> None:
    other = pwd.getpwnam("nobody").pw_uid
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    theirs = submitted(store, [one(plan, "corpus"), one(plan, "pairs")], [one(plan, "dense")], user=other)
    os.chown(store.ledger.entry_path(theirs.uuid), other, -1)
    runs(store, one(plan, "corpus"), theirs.task(0), user=other)
    stub_slurm.has((theirs.task(0), "R", "None"), (theirs.task(1), "PD", "Resources"))
    done = run_harness(world.reading("status"))
    dense, corpus = one(plan, "dense"), one(plan, "corpus")
    assert f"queued: {plan.label(dense)} ({dense}) of nobody: Resources" in done.out.splitlines()
    assert f"running: {plan.label(corpus)} ({corpus}) on n1 for nobody" in done.out.splitlines()
    (asked,) = stub_slurm.calls("squeue")
    assert f"--user={','.join(map(str, sorted([os.getuid(), other])))}" in asked


def test_a_crashed_node_runs_nothing_any_more(
    run_harness: Run, world: World, busy: str, plan: Plan, stub_slurm: StubSlurm
) -> None:
    """Its task is not in the queue, or was started again since: the lease is nobody's, without a wait."""
    stub_slurm.has()
    found = json.loads(run_harness(world.reading("status", "--json")).out)
    assert found["running"] == found["queued"] == []
    stub_slurm.has((busy, "PD", "BeginTime", 1))
    found = json.loads(run_harness(world.reading("status", "--json")).out)
    assert ([stage["reason"] for stage in found["queued"]], found["running"]) == (["BeginTime"], [])
    assert len(stub_slurm.calls("squeue")) == 2


def test_a_task_that_refused_another_source_is_named_with_the_next_move(
    run_harness: Run, world: World, store: Store, plan: Plan, stub_slurm: StubSlurm
) -> None:
    task = submitted(store, [one(plan, "dense")]).task(0)
    message = "the source changed since it was submitted; give the grid's command again"
    fails(store, one(plan, "dense"), "source-changed", message, allocation=task)
    line = f"failed (not started): dense tiny sst2 seed 0 ({one(plan, 'dense')}): {message}"
    assert line in run_harness(world.reading("status")).out.splitlines()
    assert run_harness(world.reading("logs", "dense")).out.startswith(f"not started: {message}\n")


def test_long_lists_are_cut(run_harness: Run, world: World, store: Store, stub_slurm: StubSlurm) -> None:
    planned = plan_of(tasks=["sst2"], methods=["dense"], seeds=list(range(30)))
    write_study(store, merged(store, "slice", preset(), planned))
    dense = list(of_kind(planned, "dense"))
    tasks = submitted(store, *([stage_id] for stage_id in dense))
    for stage_id in dense[:25]:
        fails(store, stage_id, "code", "no")
    stub_slurm.has(*((tasks.task(index), "PD", "Resources") for index in range(25, 30)))
    lines = run_harness(world.reading("status")).out.splitlines()
    assert sum(line.startswith("failed: ") for line in lines) == 20
    assert "and 5 more failed (--json has all)" in lines
    assert "queued: 5 stages: Resources" in lines
    assert len(json.loads(run_harness(world.reading("status", "--json")).out)["failed"]) == 25


def test_a_cancelled_stage_of_a_task_that_waits_is_cancelled(
    run_harness: Run, world: World, store: Store, plan: Plan, stub_slurm: StubSlurm
) -> None:
    task = submitted(store, [one(plan, "dense"), one(plan, "corpus")]).task(0)
    stub_slurm.has((task, "PD", "Priority"))
    assert run_harness(world.reading("cancel", "dense")).code == 0
    states = {s["kind"]: s["state"] for s in json.loads(run_harness(world.reading("status", "--json")).out)["stages"]}
    assert (states["dense"], states["corpus"]) == ("cancelled", "queued")


# -- --watch


@pytest.mark.parametrize(("on_cluster", "seconds"), [(True, 30.0), (False, 2.0)])
def test_a_cluster_is_watched_every_30_seconds(
    run_harness: Run,
    world: World,
    store: Store,
    plan: Plan,
    stub_slurm: StubSlurm,
    monkeypatch: pytest.MonkeyPatch,
    on_cluster: bool,
    seconds: float,
) -> None:
    dense = one(plan, "dense")
    lease = None
    if on_cluster:
        stub_slurm.has((submitted(store, [dense]).task(0), "PD", "Priority"))
    else:
        lease = store.stage(dense).acquire_lease()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            stub_slurm.has()
            if lease is not None:
                lease.release()

    monkeypatch.setattr(status, "sleep", sleep)
    done = run_harness(world.reading("status", "--watch"))
    assert (done.code, slept) == (4, [seconds, seconds])
    assert len(stub_slurm.calls("squeue")) == (3 if on_cluster else 0)
    assert done.out.count("study slice: 0 of 5 cells done") == 3


def test_a_watch_goes_on_while_squeue_is_silent_and_there_is_one(
    run_harness: Run,
    world: World,
    store: Store,
    plan: Plan,
    stub_slurm: StubSlurm,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    submitted(store, [one(plan, "dense")])
    stub_slurm.fail("squeue", "down")
    monkeypatch.setattr(status, "sleep", lambda seconds: stub_slurm.make())
    assert run_harness(world.reading("status", "--watch")).out.count("study slice") == 2
    monkeypatch.setenv("PATH", str(world.folder))
    assert run_harness(world.reading("status", "--watch")).out.count("study slice") == 1


# -- --hours


def test_hours_stand_by_kind_and_method_beside_the_estimate(
    run_harness: Run, world: World, store: Store, plan: Plan, stub_slurm: StubSlurm, fakes: ModuleType
) -> None:
    """Dense: a try of half an hour that was killed by the limit, then two hours; it has half of a GPU."""
    dense = one(plan, "dense")
    profile = {"gpus": "a100:2", "stages_at_once": 4}
    task = submitted(store, [dense], profile=profile, estimated={"dense": 1.5}).task(0)
    stage = store.stage(dense)
    for begun, ended, outcome in ((0.0, 1800.0, "time-limit"), (3600.0, 10800.0, "done")):
        number = stage.begin_attempt({"time": 1e9 + begun, "allocation": task})
        stage.end_attempt(number, {"time": 1e9 + ended, "outcome": outcome})
    finish(store, plan, "dense")
    threads = plan.stages[dense].parameters["threads"]
    found = json.loads(run_harness(world.reading("status", "--hours", "--json")).out)["hours"]
    expected = {
        "stages": 1,
        "wall_hours": 2.5,
        "cpu_hours": 2.5 * threads,
        "gpu_hours": 1.25,
        "lost_hours": 0.5,
        "estimated_hours": 1.5,
    }
    assert found["kinds"]["dense"] == found["methods"]["shared"] == expected
    assert found["kinds"]["transfer"]["estimated_hours"] is None
    text = run_harness(world.reading("status", "--hours")).out
    (row,) = (line.split() for line in text.splitlines() if line.startswith("dense ") and "2.5" in line)
    assert row == ["dense", "1", "2.5", "1.5", f"{2.5 * threads:.1f}", "1.2", "0.500"]
    assert "hours" not in json.loads(run_harness(world.reading("status", "--json")).out)


def test_the_hours_of_a_running_attempt_go_on_until_now(
    run_harness: Run, world: World, store: Store, plan: Plan, stub_slurm: StubSlurm
) -> None:
    dense = one(plan, "dense")
    lease = store.stage(dense).acquire_lease()
    assert lease is not None
    store.stage(dense).begin_attempt({"time": time.time() - 7200})
    found = json.loads(run_harness(world.reading("status", "--hours", "--json")).out)["hours"]["kinds"]["dense"]
    assert 2.0 <= found["wall_hours"] < 2.1
    assert (found["lost_hours"], found["stages"], found["estimated_hours"]) == (0.0, 0, None)


def test_a_try_that_was_killed_lasted_until_it_last_wrote(
    run_harness: Run, world: World, store: Store, plan: Plan, stub_slurm: StubSlurm
) -> None:
    stage = store.stage(one(plan, "dense"))
    number = stage.begin_attempt({"time": 1e9})
    stage.log_path(number).write_text("step 1")
    for path in (stage.log_path(number), stage.attempt_path(number)):
        os.utime(path, (1e9 + 5400, 1e9 + 5400))
    found = json.loads(run_harness(world.reading("status", "--hours", "--json")).out)["hours"]["kinds"]["dense"]
    assert (found["wall_hours"], found["lost_hours"]) == (1.5, 1.5)


# -- what left the queue without a result


@pytest.fixture
def left(store: Store, plan: Plan, stub_slurm: StubSlurm) -> str:
    """Dense was in a task that is not in the queue any more, its evaluation with it; returns the task."""
    finish(store, plan, "corpus", "pairs", "teacher_preparation")
    older = submitted(store, [one(plan, "dense")], created=time.time() - 60)
    store.ledger.note_job(older.uuid, "99")
    (scored,) = (i for i, s in of_kind(plan, "evaluation").items() if one(plan, "dense") in s.parents.values())
    gone = submitted(store, [one(plan, "dense"), scored])
    store.ledger.note_job(gone.uuid, "100")
    waits = submitted(store, [one(plan, "student_pruning")])
    store.ledger.note_job(waits.uuid, "101")
    stub_slurm.has((waits.task(0), "PD", "Priority"))
    return gone.task(0)


def left_queue(run_harness: Run, world: World) -> list[dict[str, str]]:
    return json.loads(run_harness(world.reading("status", "--json")).out)["left_queue"]


def test_what_left_the_queue_without_a_result_is_named_with_its_last_words(
    run_harness: Run, world: World, left: str, plan: Plan, store: Store, stub_slurm: StubSlurm
) -> None:
    dense, log = one(plan, "dense"), store.ledger.log_path(left)
    assert left_queue(run_harness, world) == [{"id": dense, "task": left, "message": "", "log": str(log)}]
    assert "        log: " + str(log) in run_harness(world.reading("status")).out.splitlines()
    log.write_text("task x: 2 stages\nthis node shows no GPU\nbatch: the task ended with 78" + " and" * 1000 + "\n\n")
    lines = run_harness(world.reading("status")).out.splitlines()
    at = lines.index("left the queue without a result; harness grid queues them again:")
    assert lines[at + 1].startswith(f"    {plan.label(dense)} ({dense}): batch: the task ended with 78 and")
    assert lines[at + 2] == f"        log: {log}"
    assert len(lines[at + 1]) < 250
    assert len(stub_slurm.calls("squeue")) == 3


def test_what_died_within_a_task_that_left_the_queue_is_named(
    run_harness: Run, world: World, left: str, plan: Plan, store: Store
) -> None:
    runs(store, one(plan, "dense"), left)
    assert [stage["task"] for stage in left_queue(run_harness, world)] == [left]


@pytest.mark.parametrize(
    "how",
    ["in the queue", "squeue silent", "done", "retried", "invalidated", "run here", "never taken", "other", "cluster"],
)
def test_other_pending_stages_are_not_said_to_have_left_the_queue(
    run_harness: Run, world: World, left: str, plan: Plan, store: Store, stub_slurm: StubSlurm, how: str
) -> None:
    stage = store.stage(one(plan, "dense"))
    if how == "in the queue":
        everything = [submission.stages() for submission in store.ledger.read_sound(store.ledger.uuids())]
        stub_slurm.has(*((task, "CG", "None") for stages in everything for _, task in stages))
    elif how == "squeue silent":
        stub_slurm.fail("squeue", "down")
    elif how == "done":
        finish(store, plan, "dense", "evaluation")
    elif how == "retried":
        assert run_harness(world.reading("cancel", stage.stage_id)).code == 0
        assert run_harness(world.reading("retry", stage.stage_id)).code == 0
    elif how == "invalidated":
        number = stage.begin_attempt({**this_process(), "allocation": left})
        stage.end_attempt(number, {"outcome": "done"})
    elif how == "run here":
        stage.end_attempt(stage.begin_attempt(this_process()), {"outcome": "interrupted", "message": "stopped"})
    elif how == "never taken":
        submitted(store, [stage.stage_id])
    else:
        again = submitted(store, [stage.stage_id], **{"other": {"user": 12345}, "cluster": {"cluster": "b"}}[how])
        store.ledger.note_job(again.uuid, "102")
    assert left_queue(run_harness, world) == []
    assert "left the queue" not in run_harness(world.reading("status")).out


def test_of_many_that_left_the_queue_the_first_are_named(
    run_harness: Run, world: World, store: Store, stub_slurm: StubSlurm
) -> None:
    planned = plan_of(tasks=["sst2"], methods=["dense"], seeds=range(25))
    write_study(store, merged(store, "slice", preset(), planned))
    gone = submitted(store, *([stage_id] for stage_id in of_kind(planned, "dense")))
    store.ledger.note_job(gone.uuid, "100")
    lines = run_harness(world.reading("status")).out.splitlines()
    assert len([line for line in lines if line.startswith("        log: ")]) == 20
    assert "and 5 more that left the queue (--json has all)" in lines
    assert len(left_queue(run_harness, world)) == 25
