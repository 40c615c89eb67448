"""The local executor on stages without torch: worker processes, the scheduler's port, the driver and its neighbours."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from grid_world import HERE, ROOT, World, environment, gone_process, of_kind, plan, preset, with_descendants

from harness.errors import Interrupted, UsageError
from harness.execution.bundles import Bundle, next_bundles
from harness.execution.driver import Driver, View
from harness.execution.executors import stop_on_signals
from harness.execution.local import LocalScheduler
from harness.execution.outcome import Outcome
from harness.execution.scheduler import JobStatus, Limits
from harness.inputs.data_sources import FolderData
from harness.planning.graph import Plan
from harness.stages.context import Resources, Sources
from harness.store.cancellation import cancel_stage
from harness.store.intervals import OFTEN, SELDOM, Intervals
from harness.store.leases import HeartbeatMonitor, acquire
from harness.store.processes import process_start
from harness.store.store import Store
from harness.studies.invalidation import invalidate
from harness.studies.state import read_states
from harness.studies.study import merged, read_study, write_study
from harness.worker.ranks import DEVICES as RANK_DEVICES
from harness.worker.run import ParentGone, run_bundle, run_stage

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

    def build(*misdeeds: str, workers: int = 2, devices: tuple[str, ...] = ()) -> LocalScheduler:
        sources = Sources(models={}, data=FolderData(tmp_path))
        command, intervals = fakes.worker_command(*misdeeds), replace(OFTEN, cancel=0.05)
        made.append(LocalScheduler(store, sources, Resources(), workers, devices, command, intervals))
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
    return [attempt.outcome for attempt in store.stage(stage_id).attempts()]


def test_every_stage_runs_once_in_worker_processes(planned: Plan, store: Store, make: Make) -> None:
    said: list[str] = []
    outcome = drive(planned, store, make(), said)
    assert set(outcome.done) == planned.stages.keys()
    assert (outcome.failed, outcome.blocked, outcome.elsewhere) == ({}, [], [])
    assert all(outcomes(store, stage_id) == ["done"] for stage_id in planned.stages)
    processes = {store.stage(stage_id).attempts()[0].process for stage_id in planned.stages}
    assert os.getpid() not in processes
    assert len(processes) <= 2, "a worker process serves many stages"
    ends = [line for line in said if line.startswith("[")]
    assert [line.split()[0] for line in ends] == [f"[{i}/14]" for i in range(1, 15)]
    assert sorted(line.partition("] ")[2].partition(": done in ")[0] for line in ends) == sorted(
        planned.label(stage_id) for stage_id in planned.stages
    )
    assert "left" not in ends[0], "nobody can tell at the beginning"
    assert "left" not in ends[-1], "nothing is left"
    assert not any(stage_id in line for stage_id in planned.stages for line in said)


def test_a_second_run_starts_no_worker(planned: Plan, store: Store, make: Make) -> None:
    drive(planned, store, make())
    scheduler = make()
    assert drive(planned, store, scheduler).done == []
    assert scheduler.snapshot() == {}


def test_independent_stages_run_side_by_side(planned: Plan, store: Store, make: Make) -> None:
    """The dense model and the corpus need nothing of each other: both run at one moment."""
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
    assert str(store.stage(pruning).log_path(1)) in line
    assert outcomes(store, pruning) == ["code"]


def test_a_stage_whose_worker_is_killed_is_tried_again(planned: Plan, store: Store, make: Make) -> None:
    outcome = drive(planned, store, make("dense=die_once"))
    (dense,) = of_kind(planned, "dense")
    assert set(outcome.done) == planned.stages.keys()
    assert outcomes(store, dense) == ["killed", "done"]
    assert "ended by SIGKILL" in store.stage(dense).attempts()[0].message


def test_a_stage_that_kills_its_worker_every_time_fails_after_three(planned: Plan, store: Store, make: Make) -> None:
    outcome = drive(planned, store, make("dense=die", workers=1))
    (dense,) = of_kind(planned, "dense")
    assert list(outcome.failed) == [dense]
    assert "SIGKILL" in outcome.failed[dense]
    assert "tried 3 times" in outcome.failed[dense]
    assert outcomes(store, dense) == ["killed"] * 3
    assert len(outcome.done) == 6, "corpus, pairs, preparation, pruning, the transfer without teacher, its score"


def test_a_worker_killed_just_after_its_record_is_in_leaves_nothing_open(
    planned: Plan, store: Store, make: Make
) -> None:
    (dense,) = of_kind(planned, "dense")
    outcome = drive(planned, store, make("dense=die_recorded"))
    assert set(outcome.done) == planned.stages.keys()
    (attempt,) = store.stage(dense).attempts()
    assert (attempt.outcome, attempt.ended) == ("done", store.stage(dense).read_record()["times"]["ended"])
    assert not list((store.root / "checkpoints").iterdir())


def test_a_worker_that_cannot_start_says_why(planned: Plan, store: Store, make: Make) -> None:
    scheduler = make()
    scheduler.command = (sys.executable, "-c", "import sys; sys.exit('no such library')")
    outcome = drive(planned, store, scheduler)
    assert not outcome.done
    assert all("no such library" in reason for reason in outcome.failed.values())
    assert outcome.failed
    logs = list(store.workers_path.iterdir())
    assert all(any(str(log) in reason for log in logs) for reason in outcome.failed.values()), "what is named is kept"


def test_a_stage_that_cannot_be_begun_fails_with_the_reason(planned: Plan, store: Store, make: Make) -> None:
    """No lease can be taken where a file stands in the way of its folder."""
    (dense,) = of_kind(planned, "dense")
    store.stage(dense).lease_path.parent.mkdir(parents=True)
    scheduler = make()
    store.stage(dense).attempts_path.parent.mkdir(parents=True)
    store.stage(dense).attempts_path.write_text("in the way")
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

    def stopped() -> bool:
        return any(stage.progress and stage.progress.step == 3 for view in seen for stage in view.running)

    driver = Driver(planned, store, scheduler, scheduler.wait, lambda line: None, seen.append)
    with pytest.raises(Interrupted):
        driver.run(stopped, scheduler.stop)
    steps = [stage.progress.step for view in seen for stage in view.running if stage.progress]
    assert steps == sorted(steps)
    assert steps[-1] == 3


def test_the_last_view_is_that_of_the_end(planned: Plan, store: Store, make: Make) -> None:
    seen: list[View] = []
    scheduler = make()
    Driver(planned, store, scheduler, scheduler.wait, lambda line: None, seen.append).run(lambda: False, scheduler.stop)
    last = seen[-1]
    assert (last.done, last.total, last.running, last.waiting) == (len(planned.stages), len(planned.stages), (), 0)


def test_an_expired_lease_of_another_machine_is_taken_over(planned: Plan, store: Store, make: Make) -> None:
    (dense,) = of_kind(planned, "dense")
    assert acquire(store.stage(dense).lease_path, ELSEWHERE, lambda _: True)
    scheduler = make()
    said: list[str] = []
    driver = Driver(planned, store, scheduler, scheduler.wait, said.append, monitor=HeartbeatMonitor(seconds=1.5))
    outcome = driver.run(lambda: False, scheduler.stop)
    assert set(outcome.done) == planned.stages.keys()
    assert any(line.startswith("waiting for another process: dense") for line in said)
    assert {path.name for path in store.stage(dense).lease_path.iterdir()} >= {"1", "2", "2.released"}


def test_a_holder_of_another_machine_that_beats_is_waited_for(planned: Plan, store: Store, make: Make) -> None:
    (dense,) = of_kind(planned, "dense")
    lease = acquire(store.stage(dense).lease_path, ELSEWHERE, lambda _: True)
    assert lease is not None
    scheduler = make()
    started = time.monotonic()
    beats = iter(range(1, 1000))

    def pause(seconds: float) -> None:
        lease.beat(next(beats))
        if time.monotonic() - started > 4:
            lease.release()
        scheduler.wait(min(seconds, 0.2))

    driver = Driver(planned, store, scheduler, pause, lambda line: None, monitor=HeartbeatMonitor(seconds=1.0))
    assert set(driver.run(lambda: False, scheduler.stop).done) == planned.stages.keys()
    assert store.stage(dense).attempts()[0].started is not None
    assert time.monotonic() - started > 4


def test_a_cancelled_stage_is_left_out_until_it_is_retried(planned: Plan, store: Store, make: Make) -> None:
    (dense,) = of_kind(planned, "dense")
    assert cancel_stage(store.stage(dense)) == "cancelled"
    outcome = drive(planned, store, make())
    assert outcome.cancelled == [dense]
    assert set(outcome.blocked) == {i for i in planned.stages if dense in planned.ancestors(i)} - {dense}
    assert len(outcome.done) + len(outcome.blocked) + 1 == len(planned.stages)
    store.stage(dense).clear_outcome(1, {"time": 0.0})
    assert set(drive(planned, store, make()).done) == {dense, *outcome.blocked}


def test_a_running_driver_sees_a_cancel_and_then_a_retry(planned: Plan, store: Store, make: Make) -> None:
    """Cancelled while it runs, retried by hand while the driver is still at other stages: all is done in the end."""
    (dense,) = of_kind(planned, "dense")
    scheduler = make("dense=obey", "task_pruning=brief", "pairs=brief", "corpus=brief", "student_pruning=brief")
    said: list[str] = []

    def pause(seconds: float) -> None:
        if (store.stage(dense).checkpoints_path / "begun").exists() and not store.stage(dense).last_attempt().retried:
            outcome = store.stage(dense).last_attempt().outcome
            if outcome is None:
                cancel_stage(store.stage(dense))
            elif any(line.startswith("cancelled: dense") for line in said):
                store.stage(dense).clear_outcome(1, {"time": 0.0})
        scheduler.wait(seconds)

    outcome = Driver(planned, store, scheduler, pause, said.append).run(lambda: False, scheduler.stop)
    assert set(outcome.done) == planned.stages.keys(), said
    assert outcome.cancelled == []
    assert any(line.startswith("retried: dense") for line in said)


# -- two drivers at one stage


@dataclass
class InProcess:
    """A scheduler that runs a bundle as it is handed over, after what another driver does to its stages."""

    store: Store
    sources: Sources
    another: Callable[[Bundle, str], bool]
    statuses: dict[str, JobStatus] = field(default_factory=dict)

    def submit(self, bundle: Bundle, expired_leases: Mapping[str, int]) -> str:
        job = f"job {len(self.statuses)}"
        problems = {bundle.ids[0]: "held by another worker"}
        if not self.another(bundle, job):
            problems = run_bundle(
                bundle.stages, self.store, self.sources, Resources(), lambda: False, expired_leases, job
            )
        self.statuses[job] = JobStatus("ended", problems=problems)
        return job

    def snapshot(self) -> Mapping[str, JobStatus]:
        return dict(self.statuses)

    def limits(self) -> Limits:
        return Limits(jobs=1)


def drive_beside(
    planned: Plan, store: Store, tmp_path: Path, kind: str, act: Callable[[Bundle, Sources, str], None]
) -> tuple[Outcome, list[str]]:
    """A driver's run in which `act` stands in for the first job whose bundle begins with `kind`."""
    sources = Sources(models={}, data=FolderData(tmp_path))
    acted: list[Bundle] = []

    def another(bundle: Bundle, job: str) -> bool:
        if bundle.stages[0].kind != kind or acted:
            return False
        acted.append(bundle)
        act(bundle, sources, job)
        return True

    said: list[str] = []
    scheduler = InProcess(store, sources, another)
    driver = Driver(planned, store, scheduler, lambda seconds: None, said.append)
    return driver.run(lambda: False, lambda: None), said


def test_an_attempt_that_another_driver_left_open_is_not_ended_by_this_one(
    planned: Plan, store: Store, tmp_path: Path, fakes: ModuleType
) -> None:
    """It took the lease just before our worker, which gave up; then it was killed."""
    (dense,) = of_kind(planned, "dense")

    def begin(bundle: Bundle, sources: Sources, job: str) -> None:
        lease = acquire(store.stage(dense).lease_path, gone_process(), lambda _: True)
        assert lease is not None
        store.stage(dense).begin_attempt(
            {**gone_process(), "time": 1.0, "generation": lease.generation, "job": "another's"}
        )

    outcome, said = drive_beside(planned, store, tmp_path, "dense", begin)
    assert set(outcome.done) == planned.stages.keys()
    assert outcomes(store, dense) == [None, "done"]
    assert not any(line.startswith("retrying:") for line in said), "no try of ours was lost"


def test_what_another_driver_did_is_not_counted_as_done_here(
    planned: Plan, store: Store, tmp_path: Path, fakes: ModuleType
) -> None:
    def do_all(bundle: Bundle, sources: Sources, job: str) -> None:
        run_bundle(bundle.stages, store, sources, Resources(), lambda: False, {}, "another's")

    outcome, said = drive_beside(planned, store, tmp_path, "corpus", do_all)
    others = {*of_kind(planned, "corpus"), *of_kind(planned, "pairs")}
    assert set(outcome.done) == planned.stages.keys() - others
    assert sum(line.startswith("done by another process") for line in said) == len(others)


def test_a_failure_in_another_driver_is_told_as_such(
    planned: Plan, store: Store, tmp_path: Path, fakes: ModuleType
) -> None:
    (dense,) = of_kind(planned, "dense")
    fakes.ACTIONS["dense"] = fakes.fail

    def do_all(bundle: Bundle, sources: Sources, job: str) -> None:
        run_bundle(bundle.stages[:1], store, sources, Resources(), lambda: False, {}, "another's")

    outcome, _ = drive_beside(planned, store, tmp_path, "dense", do_all)
    assert outcome.failed == {dense: "in another process: ValueError: made to fail"}


# What becomes of a stage after one attempt that ended so: in the driver whose attempt it was, and in one beside it.
AFTER_AN_END = [
    ("done", "goes on", "goes on"),
    ("interrupted", "tries again", "goes on"),
    ("lease-lost", "goes on", "goes on"),
    ("infrastructure", "fails", "goes on"),
    ("killed", "tries again", "goes on"),
    ("time-limit", "tries again", "goes on"),
    ("timeout", "fails", "goes on"),
    ("source-changed", "fails", "goes on"),
    ("out-of-memory", "fails", "fails"),
    ("code", "fails", "fails"),
    ("of a later version", "fails", "fails"),
]


@pytest.mark.parametrize("whose", ["own", "another's"])
@pytest.mark.parametrize(("end", "own", "beside"), AFTER_AN_END)
def test_what_follows_from_an_attempts_end(
    planned: Plan, store: Store, tmp_path: Path, fakes: ModuleType, end: str, own: str, beside: str, whose: str
) -> None:
    (dense,) = of_kind(planned, "dense")

    def tried(bundle: Bundle, sources: Sources, job: str) -> None:
        number = store.stage(dense).begin_attempt({"time": 1.0, "job": job if whose == "own" else "another's"})
        store.stage(dense).end_attempt(number, {"time": 2.0, "outcome": end, "message": "the reason"})

    outcome, said = drive_beside(planned, store, tmp_path, "dense", tried)
    again = [line for line in said if line.startswith("retrying:")]
    what = "fails" if outcome.failed else "tries again" if again else "goes on"
    assert what == (own if whose == "own" else beside)
    assert (dense in outcome.done) == (what != "fails")
    if outcome.failed:
        assert outcome.failed == {dense: "the reason" if whose == "own" else "in another process: the reason"}


def test_a_worker_that_cannot_be_started_when_another_died_ends_the_run_and_does_not_hang_it(
    planned: Plan, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that notices the death starts the next one: its error has to reach the driver."""
    pool = make("corpus=die", workers=1)
    start, started = pool._start_worker, []

    def once(slot: int) -> Any:
        if started:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        started.append(slot)
        return start(slot)

    monkeypatch.setattr(pool, "_start_worker", once)
    (corpus,), (dense,) = of_kind(planned, "corpus"), of_kind(planned, "dense")
    for stage_id in (corpus, dense):
        pool.submit(Bundle((planned.stages[stage_id],)), {})

    def look_for_half_a_minute() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            pool.snapshot()
            time.sleep(0.05)

    with pytest.raises(OSError, match=os.strerror(errno.ESTALE)):
        look_for_half_a_minute()


# -- a result invalidated under a driver


def invalidating(store: Store, stage_id: str, at: str, said: list[str]) -> Callable[[str], None]:
    """What a driver reports; at the first line with `at`, a stage is invalidated as by `harness invalidate`."""

    def invalidated() -> bool:
        try:
            return bool(invalidate(store, [stage_id]))
        except UsageError:  # the worker has published and not yet released its lease
            return False

    def report(line: str) -> None:
        if at in line and not any(at in before for before in said):
            until(invalidated)
        said.append(line)

    return report


@pytest.mark.parametrize(
    ("kind", "at"),
    [
        pytest.param("corpus", "] pairs", id="what waiting stages depend on"),
        pytest.param("task_pruning", "] task_pruning", id="the driver's last stage"),
    ],
)
def test_what_is_invalidated_under_a_driver_runs_again_with_what_depends_on_it(
    planned: Plan, store: Store, make: Make, kind: str, at: str
) -> None:
    write_study(store, merged(store, "mine", preset(), planned))
    (root,) = of_kind(planned, kind)
    said: list[str] = []
    scheduler = make(workers=1)
    driver = Driver(planned, store, scheduler, scheduler.wait, invalidating(store, root, at, said))
    outcome = driver.run(lambda: False, scheduler.stop)
    assert (outcome.failed, outcome.blocked) == ({}, []), said
    assert sorted(outcome.done) == sorted(planned.stages)
    assert store.finished(planned.stages) == planned.stages.keys()
    assert outcomes(store, root) == ["done", "done"]
    assert any("invalidated meanwhile" in line for line in said)
    tries = {stage_id: len(outcomes(store, stage_id)) for stage_id in planned.stages}
    assert {stage_id for stage_id, number in tries.items() if number > 1} <= with_descendants(planned, [root])
    assert max(tries.values()) == 2


def test_a_finished_result_invalidated_at_the_end_is_noticed(planned: Plan, store: Store, make: Make) -> None:
    """Nothing waits for a cell's last stage: it is missed when the driver believes that all is done."""
    write_study(store, merged(store, "mine", preset(), planned))
    drive(planned, store, make())
    (pruned,) = of_kind(planned, "task_pruning")
    end = next(i for i, spec in planned.stages.items() if pruned in spec.parents.values())
    invalidate(store, [next(i for i in of_kind(planned, "quantization"))])
    said: list[str] = []
    scheduler = make(workers=1)
    driver = Driver(planned, store, scheduler, scheduler.wait, invalidating(store, end, "] quantization", said))
    outcome = driver.run(lambda: False, scheduler.stop)
    assert end in outcome.done, said
    assert store.finished(planned.stages) == planned.stages.keys()


def test_a_missing_parent_is_named_and_costs_no_attempt(
    planned: Plan, store: Store, tmp_path: Path, fakes: ModuleType
) -> None:
    sources = Sources(models={}, data=FolderData(tmp_path))
    stages = [planned.stages[i] for kind in ("corpus", "pairs") for i in of_kind(planned, kind)]
    corpus, pairs = (spec.stage_id for spec in stages)
    with pytest.raises(ParentGone, match=rf"its \w+ \({corpus}\) has no record in .* harness invalidate"):
        run_stage(stages[1], store, sources, Resources(), lambda: False)
    problems = run_bundle(stages[1:], store, sources, Resources(), lambda: False, {})
    assert list(problems) == [pairs]
    assert corpus in problems[pairs]
    assert store.stage(pairs).attempts() == []
    fakes.ACTIONS["corpus"] = fakes.fail
    assert list(run_bundle(stages, store, sources, Resources(), lambda: False, {})) == [corpus], "one reason, once"


# -- the port


def begun_in(store: Store) -> list[Path]:
    return list(store.root.glob("checkpoints/*/begun"))


def status_of(scheduler: LocalScheduler, job: str) -> str:
    return scheduler.snapshot()[job].state


def test_the_port_runs_queues_and_stops(planned: Plan, store: Store, make: Make) -> None:
    scheduler = make("dense=obey", "corpus=obey", workers=1)
    assert scheduler.limits().jobs == 1
    first, second = next_bundles(planned, planned.stages.keys(), set())[:2]
    one, two = scheduler.submit(first, {}), scheduler.submit(second, {})
    assert one != two
    until(lambda: list(store.root.glob("checkpoints/*/begun")))
    assert (status_of(scheduler, one), status_of(scheduler, two)) == ("running", "queued")
    scheduler.stop()
    until(lambda: status_of(scheduler, one) == "ended")
    assert outcomes(store, first.ids[0]) == ["interrupted"]
    assert status_of(scheduler, two) == "ended"
    assert outcomes(store, second.ids[0]) == []


@pytest.mark.parametrize("left_by", ["an end of its stage", "a signal before it listened", "a death without a word"])
def test_a_worker_that_said_nothing_of_its_own_leaves_no_log(
    planned: Plan, store: Store, make: Make, left_by: str
) -> None:
    scheduler = make("dense=fail", workers=1)
    if left_by == "a signal before it listened":
        said = "import time; print('importing', file=sys.stderr, flush=True); time.sleep(60)"
        scheduler.command = (sys.executable, "-S", "-c", f"import sys; {said}")
    elif left_by == "a death without a word":
        scheduler.command = (sys.executable, "-S", "-c", "import os; os._exit(3)")
    for bundle in next_bundles(planned, planned.stages.keys(), set()):
        scheduler.submit(bundle, {})
    if left_by == "a signal before it listened":
        until(lambda: any(log.stat().st_size for log in store.workers_path.iterdir()))
        scheduler.stop()
    until(lambda: all(status.state == "ended" for status in scheduler.snapshot().values()))
    scheduler.close()
    until(lambda: not list(store.workers_path.iterdir()), seconds=5)


@pytest.mark.parametrize("end", ["stop", "close"])
def test_a_job_that_is_queued_when_all_stops_ends_as_cancelled(
    planned: Plan, store: Store, make: Make, end: str
) -> None:
    scheduler = make("dense=obey", "corpus=obey", workers=1)
    first, second = next_bundles(planned, planned.stages.keys(), set())[:2]
    one, two = scheduler.submit(first, {}), scheduler.submit(second, {})
    until(lambda: begun_in(store))
    assert status_of(scheduler, two) == "queued"
    (scheduler.stop if end == "stop" else scheduler.close)()
    assert scheduler.snapshot()[two] == JobStatus("ended", "cancelled before it started")
    late = scheduler.submit(second, {})
    assert status_of(scheduler, late) == "ended"
    until(lambda: status_of(scheduler, one) == "ended")
    assert outcomes(store, second.ids[0]) == []


def test_a_worker_that_does_not_read_keeps_nobody_waiting(planned: Plan, store: Store, make: Make) -> None:
    """An order larger than a pipe holds (64 KiB), to a process that never reads."""
    scheduler = make(workers=1)
    scheduler.command = (sys.executable, "-S", "-c", "import time; time.sleep(60)")
    first, second = next_bundles(planned, planned.stages.keys(), set())[:2]
    asked: list[str] = []

    def ask() -> None:
        job = scheduler.submit(first, {f"{number:032}": 1 for number in range(20_000)})
        other = scheduler.submit(second, {})
        asked.extend((status_of(scheduler, job), status_of(scheduler, other)))

    threading.Thread(target=ask, daemon=True).start()
    until(lambda: asked, seconds=10)
    assert asked == ["running", "queued"]
    started = time.monotonic()
    scheduler.close()
    assert time.monotonic() - started < 30, "nor does it keep the run from its end"


def test_each_worker_gets_its_own_gpu(planned: Plan, store: Store, make: Make) -> None:
    scheduler = make("dense=obey", "corpus=obey", devices=("3", "5"))
    assert sorted(of_workers(scheduler, planned, store, "CUDA_VISIBLE_DEVICES")) == [["3"], ["5"]]


def test_each_worker_gets_the_gpus_of_all_its_ranks(planned: Plan, store: Store, make: Make) -> None:
    """Of eight with four ranks: rank 0 of the worker in slot 1 sees 4, and is told of 4 to 7."""
    scheduler = make("dense=obey", "corpus=obey", devices=tuple("01234567"))
    scheduler.resources = Resources(ranks=4)
    shown = sorted(of_workers(scheduler, planned, store, "CUDA_VISIBLE_DEVICES", RANK_DEVICES))
    assert shown == [["0", "0,1,2,3"], ["4", "4,5,6,7"]]


def of_workers(scheduler: LocalScheduler, planned: Plan, store: Store, *names: str) -> list[list[str]]:
    """Variables in the environment of the workers of the first two bundles, each of which has begun its stage."""
    for bundle in next_bundles(planned, planned.stages.keys(), set())[:2]:
        scheduler.submit(bundle, {})
    until(lambda: len(list(store.root.glob("checkpoints/*/begun"))) == 2)
    found = []
    for stage_id in (path.parent.name for path in store.root.glob("checkpoints/*/begun")):
        entries = Path(f"/proc/{store.stage(stage_id).attempts()[0].process}/environ").read_text().split("\0")
        environ = dict(entry.split("=", 1) for entry in entries if "=" in entry)
        found.append([environ[name] for name in names])
    return found


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
    failed_in = store.stage(dense).attempts()[0].process
    assert failed_in not in {store.stage(stage_id).attempts()[0].process for stage_id in outcome.done}


def test_a_stage_that_leaves_its_process_has_failed_at_once(planned: Plan, store: Store, make: Make) -> None:
    said: list[str] = []
    outcome = drive(planned, store, make("dense=leave", workers=1), said)
    (dense,) = of_kind(planned, "dense")
    assert outcome.failed[dense].startswith("its run raised SystemExit: a library ends the process (")
    assert outcomes(store, dense) == ["code"]
    assert not any(line.startswith("retrying: dense") for line in said)


@pytest.mark.parametrize(("action", "code"), [("exit_at_once", 0), ("exit_with_code", 3)])
def test_a_process_that_ends_by_itself_is_told_without_a_line_of_its_log(
    planned: Plan, store: Store, make: Make, action: str, code: int
) -> None:
    outcome = drive(planned, store, make(f"dense={action}", workers=1))
    (dense,) = of_kind(planned, "dense")
    said = outcome.failed[dense]
    assert said.startswith(f"its worker process ended by itself with code {code}")
    assert said.endswith("tried 3 times")
    assert "step 1 of 1" not in said
    assert outcomes(store, dense) == ["killed"] * 3


def test_a_stage_that_stops_unasked_every_time_has_failed_in_the_store_too(
    planned: Plan, store: Store, make: Make
) -> None:
    said: list[str] = []
    outcome = drive(planned, store, make("dense=interrupted", workers=1), said)
    (dense,) = of_kind(planned, "dense")
    assert outcome.failed[dense] == "interrupted: asked to stop; tried 3 times"
    assert outcomes(store, dense) == ["killed"] * 3
    assert store.stage(dense).last_attempt().message == outcome.failed[dense]
    assert read_states(planned, store)[dense] == "failed"
    assert sum(line.startswith("retrying: dense") for line in said) == 2


def test_a_grid_runs_outside_the_main_thread(planned: Plan, store: Store, make: Make) -> None:
    """As from a notebook's helper thread, where no signal handler may be set."""
    with ThreadPoolExecutor() as pool:
        assert pool.submit(lambda: [stopped() for _ in range(1) for stopped in [_stopper()]]).result() == [False]


def _stopper() -> Callable[[], bool]:
    with stop_on_signals() as should_stop:
        return should_stop


# -- SIGUSR2, which SLURM sends ahead of a time limit to every process of a job step


def worker_process(scheduler: LocalScheduler) -> subprocess.Popen[str]:
    (worker,) = scheduler._pool.values()
    return worker.process


def test_a_worker_that_gets_usr2_before_it_listens_ends_in_order(planned: Plan, store: Store, make: Make) -> None:
    """The moment it is started: its interpreter has not come to a line of ours."""
    scheduler = make("dense=obey", workers=1)
    bundle = next_bundles(planned, planned.stages.keys(), set())[0]
    job = scheduler.submit(bundle, {})
    process = worker_process(scheduler)
    process.send_signal(signal.SIGUSR2)
    assert process.wait(30) == 0
    until(lambda: status_of(scheduler, job) == "ended")
    assert outcomes(store, bundle.ids[0]) == []


def test_an_idle_worker_ends_in_order_of_usr2(planned: Plan, store: Store, make: Make) -> None:
    scheduler = make(workers=1)
    job = scheduler.submit(next_bundles(planned, planned.stages.keys(), set())[0], {})
    until(lambda: status_of(scheduler, job) == "ended")
    process = worker_process(scheduler)
    process.send_signal(signal.SIGUSR2)
    assert process.wait(30) == 0


@pytest.mark.parametrize("also", [(), (signal.SIGTERM,)])
@pytest.mark.parametrize("first", [True, False])
def test_a_stage_that_usr2_stops_ends_by_the_time_limit_and_uses_no_try(
    planned: Plan, store: Store, make: Make, also: tuple[int, ...], first: bool
) -> None:
    """Whether or not its driver, which gets the same signal, asks for a stop too, and whichever comes first."""
    scheduler = make("dense=obey", workers=1)
    (dense,) = of_kind(planned, "dense")
    bundle = next(b for b in next_bundles(planned, planned.stages.keys(), set()) if dense in b.ids)
    job = scheduler.submit(bundle, {})
    until(lambda: begun_in(store))
    process = worker_process(scheduler)
    for number in (signal.SIGUSR2, *also) if first else (*also, signal.SIGUSR2):
        process.send_signal(number)
    assert process.wait(30) in (0, -signal.SIGTERM), "the driver ends a worker whose stage did not finish"
    until(lambda: status_of(scheduler, job) == "ended")
    last = store.stage(dense).last_attempt()
    assert (last.outcome, last.message) == ("time-limit", "asked to stop")
    assert read_states(planned, store)[dense] == "pending"
    assert set(drive(planned, store, make("dense=obey", workers=1)).done) == planned.stages.keys()


def test_a_worker_that_stops_again_and_again_at_a_time_limit_has_not_failed(
    planned: Plan, store: Store, make: Make
) -> None:
    """More often than a stage has tries, each time with a newer checkpoint: it is longer than the job's limit."""
    scheduler = make("dense=limited", workers=1)
    outcome = drive(planned, store, scheduler)
    (dense,) = of_kind(planned, "dense")
    assert outcomes(store, dense) == ["time-limit"] * 4 + ["done"]
    assert set(outcome.done) == planned.stages.keys()


def test_a_stage_that_reaches_no_newer_checkpoint_before_the_time_limit_twice_has_failed(
    planned: Plan, store: Store, make: Make
) -> None:
    outcome = drive(planned, store, make("dense=stuck", workers=1))
    (dense,) = of_kind(planned, "dense")
    assert outcomes(store, dense) == ["time-limit", "timeout"]
    (reason,) = outcome.failed.values()
    assert reason.endswith("2 times in a row without a newer checkpoint: allow it more time")
    assert store.stage(dense).last_attempt().message == reason
    assert read_states(planned, store)[dense] == "failed"


# -- how often a running stage touches the store


def test_a_stage_that_polls_all_the_time_touches_the_store_seldom(planned: Plan, store: Store, make: Make) -> None:
    """At a tenth of the intervals for a shared file system: at most ten calls a second, heartbeats included."""
    scheduler = make("dense=restless", workers=1)
    scheduler.intervals = Intervals(**{name: seconds / 10 for name, seconds in asdict(SELDOM).items()})
    assert scheduler.intervals.cancel <= 1.5, "several of each in three seconds"
    assert set(drive(planned, store, scheduler).done) == planned.stages.keys()
    found = json.loads((store.root / "touched.json").read_text())
    assert found["polls"] > 1000 * found["seconds"] / 2
    assert {"open", "stat", "os.rename"} <= {*found["touched"]}, "each of the three is counted"
    assert len(found["touched"]) <= 10 * found["seconds"], Counter(found["touched"])


# -- the command line


def start(command: list[str], *misdeeds: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*FAKE, *misdeeds, "--", *command],
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
    return {attempt.process for stage_id in stages for attempt in store.stage(stage_id).attempts()}


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


@pytest.mark.parametrize("executor", ["local", "debug"])
@pytest.mark.parametrize(
    ("number", "outcome", "told"),
    [
        (signal.SIGTERM, "interrupted", "by SIGTERM; the same command goes on."),
        (signal.SIGUSR2, "time-limit", "by SIGUSR2, ahead of a time limit; the same command goes on."),
    ],
)
def test_a_driver_that_is_stopped_says_by_which_signal(
    world: World, executor: str, number: int, outcome: str, told: str
) -> None:
    """Sent to the driver alone: it passes the reason on to its workers."""
    arguments = world.grid("--tasks", "sst2", "--executor", executor)
    process = start(arguments, "dense=obey")
    until(lambda: begun(world))
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told in errors.splitlines()[-1]
    (stopped,) = (path.parent.name for path in begun(world))
    assert outcomes(Store(world.store), stopped) == [outcome]
    assert not [each for each in workers_of(world) if process_start(each)]
    again = start(arguments, "dense=obey")
    _, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors


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
    assert second.stderr is not None
    assert any("waiting for another process: dense" in line for line in second.stderr)
    begun(world)[0].with_name("go").touch()
    ends = [second.stderr.read(), first.communicate(timeout=90)[1]]
    assert [first.wait(60), second.wait(60)] == [0, 0], ends
    store = Store(world.store)
    stages = read_study(store, "slice").plan.stages
    assert all(outcomes(store, stage_id) == ["done"] for stage_id in stages)
    assert "done by another process" in ends[0] + ends[1]


def test_a_failed_stage_gives_exit_code_1(world: World) -> None:
    process = start(world.grid("--tasks", "sst2", "--executor", "local"), "task_pruning=fail")
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "12 stages done, 1 failed, 1 blocked" in out, errors
