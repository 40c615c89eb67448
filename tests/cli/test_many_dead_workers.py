"""After a crash that took 50 workers on other machines with it: every verb asks squeue a few times, not 50."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest
from grid_world import Ran, World, of_kind, preset
from grid_world import plan as plan_of
from stub_slurm import CLUSTER, StubSlurm, submitted

from harness.cli.commands import logs
from harness.planning.graph import Plan
from harness.store import squeue
from harness.store.leases import acquire
from harness.store.processes import this_process
from harness.store.store import Store
from harness.studies.study import merged, write_study

Run = Callable[[list[str]], Ran]
MOST_CALLS = 3


def runs_elsewhere(store: Store, stage_id: str, task: str) -> int:
    who = {**this_process(), "host": "n1", "process": 1, "process_started": "another:1", "pid_namespace": 1}
    who = {**who, "allocation": task, "restart": 0, "cluster": CLUSTER, "user": os.getuid()}
    assert acquire(store.stage(stage_id).lease_path, who, lambda holder: True) is not None
    return store.stage(stage_id).begin_attempt({**who, "generation": 1})


@pytest.fixture
def plan(world: World, stub_slurm: StubSlurm) -> Plan:
    """Each dense of 50 seeds was at work in a task of its own, and none of these is in the queue any more."""
    store = Store(world.store)
    planned = plan_of(tasks=["sst2"], methods=["dense"], seeds=range(50))
    write_study(store, merged(store, "slice", preset(), planned))
    array = submitted(store, *([stage_id] for stage_id in of_kind(planned, "dense")))
    for stage_id, task in array.stages():
        runs_elsewhere(store, stage_id, task)
    return planned


def finish(store: Store, planned: Plan) -> None:
    """The workers had written their records."""
    for stage_id, spec in of_kind(planned, "dense").items():
        store.stage(stage_id).publish_record(spec.fingerprint_fields())
        store.stage(stage_id).checkpoints_path.mkdir(parents=True)


@pytest.mark.parametrize("words", [("status",), ("cancel", "dense"), ("retry", "dense")])
def test_of_unfinished_stages(
    run_harness: Run, world: World, plan: Plan, stub_slurm: StubSlurm, words: tuple[str, ...]
) -> None:
    if words[0] == "retry":
        for stage_id in of_kind(plan, "dense"):
            Store(world.store).stage(stage_id).end_attempt(1, {"outcome": "code", "message": "no"})
    done = run_harness(world.reading(*words))
    assert done.code in (0, 4), done.err
    if words[0] != "status":
        assert "50 stages" in done.out
    assert 1 <= len(stub_slurm.calls("squeue")) <= MOST_CALLS


@pytest.mark.parametrize("words", [("invalidate", "dense", "--yes"), ("gc", "--keep", "records", "--yes")])
def test_of_finished_stages(
    run_harness: Run, world: World, plan: Plan, stub_slurm: StubSlurm, words: tuple[str, ...]
) -> None:
    store = Store(world.store)
    finish(store, plan)
    done = run_harness(world.reading(*words))
    assert done.code == 0, done.err
    assert not any(store.stage(stage_id).checkpoints_path.exists() for stage_id in of_kind(plan, "dense"))
    assert 1 <= len(stub_slurm.calls("squeue")) <= MOST_CALLS


def test_what_runs_is_followed_with_a_question_now_and_then(
    run_harness: Run, world: World, plan: Plan, stub_slurm: StubSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(squeue, "KEPT_SECONDS", 0.0)
    monkeypatch.setattr(logs, "POLL_SECONDS", 0.01)
    store, (stage_id, *others) = Store(world.store), of_kind(plan, "dense")
    for other in others:
        (store.stage(other).lease_path / "1.released").touch()
    task = next(store.ledger.read_sound(store.ledger.uuids())).task(0)
    stub_slurm.has((task, "R", "None"))

    def run() -> None:
        time.sleep(1.0)
        stub_slurm.has()
        store.stage(stage_id).end_attempt(1, {"outcome": "code", "message": "no"})

    running = threading.Thread(target=run)
    running.start()
    done = run_harness(world.reading("logs", stage_id, "-f"))
    running.join()
    assert done.code == 0
    assert len(stub_slurm.calls("squeue")) < 15  # each asked anew; there were 100 looks at the log
