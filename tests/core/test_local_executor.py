"""The local executor on stages without torch: worker processes, the scheduler's port, the driver and its neighbours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from core_world import HERE, ROOT, World, environment, of_kind, plan

from harness.bundles import next_bundles
from harness.cancellation import cancel_stage
from harness.data.places import FolderPlace
from harness.driver import Driver, View
from harness.errors import Interrupted
from harness.executors import stop_on_signals
from harness.leases import SilenceWatch, acquire
from harness.local import LocalScheduler
from harness.outcome import Outcome
from harness.plan import Plan
from harness.processes import process_start
from harness.store import Store
from harness.study import read_study
from harness.worker import Resources, Sources

FAKE = [sys.executable, "-P", str(HERE / "fake_stages.py")]
ELSEWHERE = {"host": "elsewhere", "process": 1, "process_started": "boot:1"}
Make = Callable[..., LocalScheduler]


@pytest.fixture
def planned() -> Plan:
    """sst2, seed 0: corpus, pairs, preparation, pruning, dense, task pruning, 2 transfers, int8, 5 evaluations."""
    return plan(tasks=["sst2"])


@pytest.fixture
def make(store: Store, tmp_path: Path, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Schedulers whose workers run fake stages; none outlives the test."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{HERE}")
    made: list[LocalScheduler] = []

    def build(*told: str, workers: int = 2, devices: tuple[str, ...] = ()) -> LocalScheduler:
        sources = Sources(models={}, data=FolderPlace(tmp_path))
        made.append(LocalScheduler(store, sources, Resources(), workers, devices, fakes.worker_command(*told)))
        return made[-1]

    yield build
    for scheduler in made:
        scheduler.close(kill=True)


def drive(planned: Plan, store: Store, scheduler: LocalScheduler, said: list[str] | None = None) -> Outcome:
    lines: list[str] = [] if said is None else said
    outcome = Driver(planned, store, scheduler, scheduler.wait, lines.append).run(lambda: False, scheduler.stop)
    scheduler.close()
    return outcome


def until(happened: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "the moment did not come"
        time.sleep(0.02)


def outcomes(store: Store, stage_id: str) -> list[str | None]:
    return [attempt.outcome for attempt in store.attempts(stage_id)]


def test_every_stage_runs_once_in_worker_processes(planned: Plan, store: Store, make: Make) -> None:
    said: list[str] = []
    outcome = drive(planned, store, make(), said)
    assert set(outcome.done) == planned.stages.keys()
    assert (outcome.failed, outcome.blocked, outcome.elsewhere) == ({}, [], [])
    assert all(outcomes(store, stage_id) == ["done"] for stage_id in planned.stages)
    processes = {store.attempts(stage_id)[0].process for stage_id in planned.stages}
    assert os.getpid() not in processes
    assert len(processes) <= 2, "a worker process serves many stages"
    assert sum(line.startswith("[") and "done:" in line for line in said) == len(planned.stages)


def test_a_second_run_starts_no_worker(planned: Plan, store: Store, make: Make) -> None:
    drive(planned, store, make())
    scheduler = make()
    assert drive(planned, store, scheduler).done == []
    assert scheduler.snapshot() == {}


def test_independent_stages_run_side_by_side(planned: Plan, store: Store, make: Make) -> None:
    """The dense model and the corpus need nothing of each other: both are under way at one moment."""
    seen: list[View] = []
    scheduler = make("dense=brief", "corpus=brief")
    Driver(planned, store, scheduler, scheduler.wait, lambda line: None, seen.append).run(lambda: False, scheduler.stop)
    together = [{stage.spec.kind for stage in view.running} for view in seen]
    assert {"dense", "corpus"} in together
    shares = [(view.done, view.total) for view in seen]
    assert shares == sorted(shares)


def test_a_failure_blocks_what_rests_on_it_and_nothing_else(planned: Plan, store: Store, make: Make) -> None:
    said: list[str] = []
    outcome = drive(planned, store, make("student_pruning=fail"), said)
    (pruning,) = of_kind(planned, "student_pruning")
    assert outcome.failed == {pruning: "ValueError: made to fail"}
    resting = {i for i in planned.stages if pruning in planned.ancestors(i)} - {pruning}
    assert set(outcome.blocked) == resting
    assert set(outcome.done) == planned.stages.keys() - resting - {pruning}
    (line,) = (line for line in said if line.startswith("failed:"))
    assert str(store.attempt_log(pruning, 1)) in line
    assert outcomes(store, pruning) == ["code"]


def test_a_stage_whose_worker_is_killed_is_tried_again(planned: Plan, store: Store, make: Make) -> None:
    outcome = drive(planned, store, make("dense=die_once"))
    (dense,) = of_kind(planned, "dense")
    assert set(outcome.done) == planned.stages.keys()
    assert outcomes(store, dense) == ["infrastructure", "done"]
    assert "ended by SIGKILL" in store.attempts(dense)[0].message


def test_a_stage_that_kills_its_worker_every_time_fails_after_three(planned: Plan, store: Store, make: Make) -> None:
    outcome = drive(planned, store, make("dense=die", workers=1))
    (dense,) = of_kind(planned, "dense")
    assert list(outcome.failed) == [dense]
    assert "SIGKILL" in outcome.failed[dense]
    assert "tried 3 times" in outcome.failed[dense]
    assert outcomes(store, dense) == ["infrastructure"] * 3
    assert len(outcome.done) == 6, "corpus, pairs, preparation, pruning, the transfer without teacher, its score"


def test_a_worker_that_cannot_start_says_why(planned: Plan, store: Store, make: Make) -> None:
    scheduler = make()
    scheduler.command = (sys.executable, "-c", "import sys; sys.exit('no such library')")
    outcome = drive(planned, store, scheduler)
    assert not outcome.done
    assert all("no such library" in reason for reason in outcome.failed.values())
    assert outcome.failed


def test_a_stage_that_cannot_be_begun_fails_with_the_reason(planned: Plan, store: Store, make: Make) -> None:
    """No lease can be taken where a file stands in the way of its folder."""
    (dense,) = of_kind(planned, "dense")
    store.lease_path(dense).parent.mkdir(parents=True)
    scheduler = make()
    store.attempts_path(dense).parent.mkdir(parents=True)
    store.attempts_path(dense).write_text("in the way")
    outcome = drive(planned, store, scheduler)
    assert "tried 3 times" in outcome.failed[dense]
    assert "NotADirectoryError" in outcome.failed[dense] or "FileExistsError" in outcome.failed[dense]


def test_asked_to_stop_it_stops_what_is_under_way_and_the_next_run_goes_on(
    planned: Plan, store: Store, make: Make
) -> None:
    (dense,) = of_kind(planned, "dense")
    scheduler = make("dense=obey")
    driver = Driver(planned, store, scheduler, scheduler.wait, lambda line: None)
    with pytest.raises(Interrupted):
        driver.run(lambda: bool(list(store.root.glob("checkpoints/*/begun"))), scheduler.stop)
    scheduler.close()
    assert outcomes(store, dense) == ["interrupted"]
    assert set(drive(planned, store, make("dense=obey")).done) >= {dense}
    assert outcomes(store, dense) == ["interrupted", "done"]


def test_progress_of_a_running_stage_is_seen(planned: Plan, store: Store, make: Make) -> None:
    seen: list[View] = []
    scheduler = make("dense=progress")

    def told() -> bool:
        return any(stage.progress and stage.progress.step == 3 for view in seen for stage in view.running)

    driver = Driver(planned, store, scheduler, scheduler.wait, lambda line: None, seen.append)
    with pytest.raises(Interrupted):
        driver.run(told, scheduler.stop)
    steps = [stage.progress.step for view in seen for stage in view.running if stage.progress]
    assert steps == sorted(steps)
    assert steps[-1] == 3


def test_a_silent_holder_of_another_machine_is_taken_over(planned: Plan, store: Store, make: Make) -> None:
    (dense,) = of_kind(planned, "dense")
    assert acquire(store.lease_path(dense), ELSEWHERE, lambda _: True)
    scheduler = make()
    said: list[str] = []
    driver = Driver(planned, store, scheduler, scheduler.wait, said.append, silence=SilenceWatch(seconds=1.5))
    outcome = driver.run(lambda: False, scheduler.stop)
    assert set(outcome.done) == planned.stages.keys()
    assert any(line.startswith("waiting for another process: dense") for line in said)
    assert {path.name for path in store.lease_path(dense).iterdir()} >= {"1", "2", "2.released"}


def test_a_holder_of_another_machine_that_beats_is_waited_for(planned: Plan, store: Store, make: Make) -> None:
    (dense,) = of_kind(planned, "dense")
    lease = acquire(store.lease_path(dense), ELSEWHERE, lambda _: True)
    assert lease is not None
    scheduler = make()
    started = time.monotonic()
    beats = iter(range(1, 1000))

    def pause(seconds: float) -> None:
        lease.beat(next(beats))
        if time.monotonic() - started > 4:
            lease.release()
        scheduler.wait(min(seconds, 0.2))

    driver = Driver(planned, store, scheduler, pause, lambda line: None, silence=SilenceWatch(seconds=1.0))
    assert set(driver.run(lambda: False, scheduler.stop).done) == planned.stages.keys()
    assert store.attempts(dense)[0].started is not None
    assert time.monotonic() - started > 4


def test_a_cancelled_stage_is_left_out_until_it_is_retried(planned: Plan, store: Store, make: Make) -> None:
    (dense,) = of_kind(planned, "dense")
    assert cancel_stage(store, dense) == "cancelled"
    outcome = drive(planned, store, make())
    assert outcome.cancelled == [dense]
    assert set(outcome.blocked) == {i for i in planned.stages if dense in planned.ancestors(i)} - {dense}
    assert len(outcome.done) + len(outcome.blocked) + 1 == len(planned.stages)
    store.retry_attempt(dense, 1, {"time": 0.0})
    assert set(drive(planned, store, make()).done) == {dense, *outcome.blocked}


def test_a_running_driver_sees_a_cancel_and_then_a_retry(planned: Plan, store: Store, make: Make) -> None:
    """Cancelled while it runs, retried by hand while the driver is still at other stages: all is done in the end."""
    (dense,) = of_kind(planned, "dense")
    scheduler = make("dense=obey", "task_pruning=brief", "pairs=brief", "corpus=brief", "student_pruning=brief")
    said: list[str] = []

    def pause(seconds: float) -> None:
        if (store.checkpoints_path(dense) / "begun").exists() and not store.attempts(dense)[-1].retried:
            outcome = store.attempts(dense)[-1].outcome
            if outcome is None:
                cancel_stage(store, dense)
            elif any(line.startswith("cancelled: dense") for line in said):
                store.retry_attempt(dense, 1, {"time": 0.0})
        scheduler.wait(seconds)

    outcome = Driver(planned, store, scheduler, pause, said.append).run(lambda: False, scheduler.stop)
    assert set(outcome.done) == planned.stages.keys(), said
    assert outcome.cancelled == []
    assert any(line.startswith("again, as asked: dense") for line in said)


# -- the port


def status_of(scheduler: LocalScheduler, job: str) -> str:
    return scheduler.snapshot()[job].state


def test_the_port_runs_queues_cancels_and_requeues(planned: Plan, store: Store, make: Make) -> None:
    scheduler = make("dense=obey", "corpus=obey", workers=1)
    assert scheduler.limits().jobs == 1
    first, second = next_bundles(planned, planned.stages.keys(), set())[:2]
    one, two = scheduler.submit(first, {}), scheduler.submit(second, {})
    assert one != two
    until(lambda: list(store.root.glob("checkpoints/*/begun")))
    assert (status_of(scheduler, one), status_of(scheduler, two)) == ("running", "queued")
    with pytest.raises(ValueError, match="has not ended"):
        scheduler.requeue(one)
    scheduler.cancel(two)
    assert status_of(scheduler, two) == "ended"
    scheduler.cancel(one)
    until(lambda: status_of(scheduler, one) == "ended")
    assert outcomes(store, first.ids[0]) == ["interrupted"]
    scheduler.cancel(one)
    scheduler.requeue(one)
    until(lambda: status_of(scheduler, one) == "ended")
    assert outcomes(store, first.ids[0]) == ["interrupted", "done"]
    assert status_of(scheduler, two) == "ended"


def test_each_worker_gets_its_own_gpu(planned: Plan, store: Store, make: Make) -> None:
    scheduler = make("dense=obey", "corpus=obey", devices=("3", "5"))
    for bundle in next_bundles(planned, planned.stages.keys(), set())[:2]:
        scheduler.submit(bundle, {})
    until(lambda: len(list(store.root.glob("checkpoints/*/begun"))) == 2)
    shown = set()
    for stage_id in (path.parent.name for path in store.root.glob("checkpoints/*/begun")):
        environ = Path(f"/proc/{store.attempts(stage_id)[0].process}/environ").read_bytes().split(b"\0")
        shown |= {entry for entry in environ if entry.startswith(b"CUDA_VISIBLE_DEVICES=")}
    assert shown == {b"CUDA_VISIBLE_DEVICES=3", b"CUDA_VISIBLE_DEVICES=5"}


def test_what_else_is_printed_on_a_workers_pipe_is_no_reply(planned: Plan, store: Store, make: Make) -> None:
    """A line of a library, of the site, or one that is no text: the run goes on, and the worker's end is heard."""
    scheduler = make(workers=1)
    noise = "import sys, runpy; sys.stdout.buffer.write(b'hello\\n\\xff\\n{}\\n'); sys.stdout.flush(); "
    script = scheduler.command[2]
    started = f"sys.argv = {[script]!r}; runpy.run_path({script!r}, run_name='__main__')"
    scheduler.command = (sys.executable, "-P", "-c", noise + started)
    assert set(drive(planned, store, scheduler).done) == planned.stages.keys()


def test_a_worker_of_another_source_refuses_to_serve(planned: Plan, store: Store, make: Make) -> None:
    scheduler = make(workers=1)
    scheduler._source = "another"
    outcome = drive(planned, store, scheduler)
    assert not outcome.done
    assert all("the source changed since the grid was started" in reason for reason in outcome.failed.values())


def test_a_process_in_which_a_stage_failed_runs_no_other(planned: Plan, store: Store, make: Make) -> None:
    outcome = drive(planned, store, make("dense=fail", workers=1))
    (dense,) = of_kind(planned, "dense")
    assert list(outcome.failed) == [dense]
    failed_in = store.attempts(dense)[0].process
    assert failed_in not in {store.attempts(stage_id)[0].process for stage_id in outcome.done}


def test_a_stage_that_ends_its_process_every_time_is_given_up(planned: Plan, store: Store, make: Make) -> None:
    said: list[str] = []
    outcome = drive(planned, store, make("dense=leave", workers=1), said)
    (dense,) = of_kind(planned, "dense")
    assert "tried 3 times" in outcome.failed[dense]
    assert outcomes(store, dense) == ["interrupted"] * 3
    assert sum(line.startswith("again: dense") for line in said) == 2


def test_a_grid_runs_outside_the_main_thread(planned: Plan, store: Store, make: Make) -> None:
    """As from a notebook's helper thread, where no signal handler may be set."""
    with ThreadPoolExecutor() as pool:
        assert pool.submit(lambda: [stopped() for _ in range(1) for stopped in [_stopper()]]).result() == [False]


def _stopper() -> Callable[[], bool]:
    with stop_on_signals() as should_stop:
        return should_stop


# -- the command line


def start(command: list[str], *told: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*FAKE, *told, "--", *command],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def begun(world: World) -> list[Path]:
    return list(world.store.glob("checkpoints/*/begun"))


def workers_of(world: World) -> set[int]:
    store = Store(world.store)
    stages = read_study(store, "slice").plan.stages
    return {attempt.process for stage_id in stages for attempt in store.attempts(stage_id)}


def test_ctrl_c_leaves_no_process_no_lease_and_exit_code_130(world: World) -> None:
    process = start(world.grid("--tasks", "sst2", "--executor", "local", "--workers", "2"), "dense=obey")
    until(lambda: begun(world))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the same command goes on" in errors
    store = Store(world.store)
    (stopped,) = (path.parent.name for path in begun(world))
    assert outcomes(store, stopped) == ["interrupted"]
    assert not [number for number in workers_of(world) if process_start(number)]
    generations = [path for path in world.store.glob("leases/*/*") if path.name.isdigit()]
    assert generations
    assert all(path.with_name(f"{path.name}.released").exists() for path in generations)
    again = start(world.grid("--tasks", "sst2", "--executor", "local"), "dense=obey")
    assert again.wait(timeout=60) == 0


def test_a_second_ctrl_c_ends_at_once(world: World) -> None:
    process = start(world.grid("--tasks", "sst2", "--executor", "local"), "dense=sleep")
    until(lambda: begun(world))
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert not [number for number in workers_of(world) if process_start(number)]


def test_workers_end_with_a_driver_that_was_killed(world: World) -> None:
    process = start(world.grid("--tasks", "sst2", "--executor", "local"), "dense=obey")
    until(lambda: begun(world))
    workers = workers_of(world)
    assert any(process_start(number) for number in workers)
    process.kill()
    process.communicate(timeout=10)
    until(lambda: not [number for number in workers if process_start(number)])
    (stopped,) = (path.parent.name for path in begun(world))
    assert outcomes(Store(world.store), stopped) == ["interrupted"]
    again = start(world.grid("--tasks", "sst2", "--executor", "local", "--json"), "dense=obey")
    out, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors
    assert json.loads(out)["failed"] == {}


def test_a_second_driver_waits_for_the_first_and_both_end_well(world: World) -> None:
    arguments = world.grid("--tasks", "sst2", "--executor", "local", "--workers", "1")
    first = start(arguments, "dense=held")
    until(lambda: begun(world))
    second = start(arguments, "dense=held")
    until(lambda: len(workers_of(world)) == 2)  # the second found the dense stage taken and took another
    (taken,) = begun(world)
    taken.with_name("go").touch()
    ends = [process.communicate(timeout=90)[1] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], ends
    store = Store(world.store)
    stages = read_study(store, "slice").plan.stages
    assert all(outcomes(store, stage_id) == ["done"] for stage_id in stages)
    assert "done by another process" in ends[0] + ends[1]


def test_a_failed_stage_gives_exit_code_1(world: World) -> None:
    process = start(world.grid("--tasks", "sst2", "--executor", "local"), "task_pruning=fail")
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "12 stages done, 1 failed, 1 blocked" in out, errors
