"""A task of the cluster on stages without torch: its exit code, what it leaves in the store, how it goes on after a
restart."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from grid_world import HERE, ROOT, environment, of_kind, plan, preset

from harness.errors import StoreError
from harness.execution import local
from harness.inputs.data_sources import FolderData
from harness.planning.graph import Plan
from harness.stages.context import Resources, Sources
from harness.store.intervals import OFTEN, SELDOM, Intervals
from harness.store.processes import ALLOCATION, this_process
from harness.store.stage import StoredStage
from harness.store.store import Store
from harness.store.submissions import Submission
from harness.studies.state import read_states
from harness.studies.study import merged, write_study
from harness.worker.source_state import source_digest
from harness.worker.stop_request import StopRequest
from slurm import job, task
from slurm.profiles import Profile
from slurm.task import how_it_ended, run_task

UUID = "a" * 32
PROFILE = Profile(name="default", file="p.toml", time_minutes=60)
NAME = f"{UUID}_0"
QUICK = replace(OFTEN, cancel=0.05)
Run = Callable[..., int]


@pytest.fixture
def planned(store: Store) -> Plan:
    found = plan(tasks=["sst2"])
    write_study(store, merged(store, "slice", preset(), found))
    return found


@pytest.fixture
def submitted(store: Store, tmp_path: Path, planned: Plan) -> Callable[..., Submission]:
    """submitted(stage ids, ..) -> an entry whose one task has these stages."""

    def write(*stage_ids: str, **fields: object) -> Submission:
        sources = Sources(models={}, data=FolderData(tmp_path)).as_json()
        given = {
            "uuid": UUID,
            "study": "slice",
            "user": os.getuid(),
            "cluster": "stub",
            "profile": PROFILE.as_json(),
            "sources": sources,
            "resources": asdict(Resources()),
            "source": source_digest(),
            "tasks": (tuple(i for i in planned.stages if i in stage_ids),),
        }
        entry = Submission(**{**given, **fields})
        store.ledger.write(entry)
        return entry

    return write


@pytest.fixture
def run(store: Store, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run(*misdeeds) -> the exit code of the task on fake stages."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{HERE}")

    def start(
        *misdeeds: str,
        restart: int = 0,
        stop: StopRequest | None = None,
        intervals: Intervals = QUICK,
        last_moment: float | None = None,
        main: bool = False,
    ) -> int:
        """main: through the program, which says what went wrong."""
        monkeypatch.setenv(ALLOCATION, NAME)
        monkeypatch.setenv("SLURM_RESTART_COUNT", str(restart))
        monkeypatch.setattr(local, "WORKER_COMMAND", fakes.worker_command(*misdeeds))
        asked = stop or StopRequest()
        if main:
            monkeypatch.setattr(sys, "argv", ["slurm.job", str(store.root), UUID])
            monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
            monkeypatch.setattr(StopRequest, "listen", lambda stop: None)
            monkeypatch.setattr(task, "run_task", partial(run_task, intervals=intervals, patience=0.2))
            return job.main()
        return run_task(store, UUID, 0, asked, intervals=intervals, patience=0.2, last_moment=last_moment)

    return start


def outcomes(store: Store, stage_id: str) -> list[str | None]:
    return [attempt.outcome for attempt in store.stage(stage_id).attempts()]


def test_a_task_runs_its_stages_and_no_others(
    store: Store, planned: Plan, submitted: Callable[..., Submission], run: Run
) -> None:
    (dense,) = of_kind(planned, "dense")
    own = {dense, *(i for i, s in planned.stages.items() if set(s.parents.values()) == {dense})}
    submitted(*own)
    assert run() == 0
    assert store.finished(planned.stages) == own
    (attempt,) = store.stage(dense).attempts()
    assert (attempt.allocation, attempt.restart, attempt.outcome) == (NAME, 0, "done")


def test_a_failed_evaluation_does_not_cut_off_what_starts_from_its_model(
    store: Store, planned: Plan, submitted: Callable[..., Submission], run: Run
) -> None:
    (dense,) = of_kind(planned, "dense")
    score = next(i for i, s in of_kind(planned, "evaluation").items() if s.parents["model"] == dense)
    submitted(dense, score, needed=(dense,))
    assert run("evaluation=fail") == 0
    assert outcomes(store, score) == ["code"]


def test_a_failure_is_told_where_others_need_the_stage_or_nobody_waits(
    store: Store, planned: Plan, submitted: Callable[..., Submission], run: Run
) -> None:
    (dense,) = of_kind(planned, "dense")
    submitted(dense, needed=(dense,))
    assert run("dense=fail") == 1
    store.ledger.withdraw(UUID)
    (corpus,) = of_kind(planned, "corpus")
    submitted(corpus)
    assert run("corpus=fail") == 1


def test_a_task_whose_parent_has_no_record_ends_without_an_attempt(
    store: Store, planned: Plan, submitted: Callable[..., Submission], run: Run
) -> None:
    (pairs,) = of_kind(planned, "pairs")
    submitted(pairs)
    assert run() == 76
    assert outcomes(store, pairs) == []
    assert read_states(planned, store)[pairs] == "pending"


def test_a_task_of_another_source_refuses_and_says_so_at_each_of_its_stages(
    store: Store, planned: Plan, submitted: Callable[..., Submission], run: Run
) -> None:
    (dense,), (corpus,) = of_kind(planned, "dense"), of_kind(planned, "corpus")
    submitted(dense, corpus, source="another")
    assert run() == 77
    assert read_states(planned, store)[dense] == read_states(planned, store)[corpus] == "failed"
    last = store.stage(dense).last_attempt()
    assert last.outcome == "source-changed"
    assert last.message == "the source changed since it was submitted; give the grid's command again"


def test_a_task_with_gpus_on_a_node_that_shows_none_is_to_run_elsewhere(
    planned: Plan, submitted: Callable[..., Submission], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (dense,) = of_kind(planned, "dense")
    submitted(dense, profile=replace(PROFILE, gpus=1).as_json())
    machine = task.this_machine()
    monkeypatch.setattr(task, "this_machine", lambda: replace(machine, gpus=()))
    assert run() == 78


def test_a_store_that_does_not_answer_ends_the_task_so_that_it_is_started_again(
    store: Store,
    planned: Plan,
    submitted: Callable[..., Submission],
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (dense,) = of_kind(planned, "dense")
    submitted(dense)
    has_record = StoredStage.has_record

    def stale(stage: StoredStage) -> bool:
        if (stage.checkpoints_path / "begun").exists():
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(stage.record_path))
        return has_record(stage)

    with monkeypatch.context() as patch:
        patch.setattr(StoredStage, "has_record", stale)
        assert run("dense=poll", main=True) == 79
    said = capsys.readouterr().err
    assert f"{store.stage(dense).record_path}: {os.strerror(errno.ESTALE)}" in said
    assert "the task is to be started again" in said
    assert "Traceback" not in said
    assert outcomes(store, dense) == ["interrupted"], "its worker was told to save"
    assert run(restart=1) == 0


def test_a_full_disk_under_the_driver_is_not_tried_again(
    planned: Plan,
    submitted: Callable[..., Submission],
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    submitted(*of_kind(planned, "dense"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(StoredStage, "has_record", full)
    assert run(main=True) == 1
    said = capsys.readouterr().err
    assert "the disk is full" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("damaged", ["ledger", "profile", "study"])
def test_a_damaged_ledger_or_study_is_said_in_a_line(
    store: Store,
    planned: Plan,
    submitted: Callable[..., Submission],
    run: Run,
    capsys: pytest.CaptureFixture[str],
    damaged: str,
) -> None:
    submitted(*of_kind(planned, "dense"), **({"profile": {"time_minutes": 1}} if damaged == "profile" else {}))
    path = store.study_path("slice") if damaged == "study" else store.ledger.entry_path(UUID)
    if damaged != "profile":
        path.write_text(path.read_text()[:-20])
    assert run(main=True) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert str(path) in last
    assert "damaged" in last


@pytest.mark.parametrize(
    ("asked", "shown", "devices", "workers"),
    [
        ({"cpus": 8}, "0,1", ("",), 4),  # at 2 threads; not asked for: on this cluster every job sees them
        ({"cpus": 8}, "", ("",), 4),
        ({"cpus": 4, "gpus": 1}, "0,1", ("0",), 1),
        ({"cpus": 4, "gpus": "a100:2"}, "0,1", ("0", "1"), 2),
        ({"cpus": 4, "gpus": 2}, "1", ("1",), 1),
        ({"gpus": 1, "stages_at_once": 3}, "0", ("0",), 3),
        ({"extra": (("gres", "gpu:1"),), "stages_at_once": 1}, "1", ("1",), 1),
    ],
)
def test_a_task_uses_the_gpus_that_its_profile_asked_for_and_no_others(
    store: Store,
    planned: Plan,
    submitted: Callable[..., Submission],
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, object],
    shown: str,
    devices: tuple[str, ...],
    workers: int,
) -> None:
    submitted(*of_kind(planned, "corpus"), profile=replace(PROFILE, **asked).as_json())  # type: ignore[arg-type]
    machine = replace(task.this_machine(), gpus=tuple(filter(None, shown.split(","))), cores=64)
    monkeypatch.setattr(task, "this_machine", lambda: machine)
    pool = task._Task.read(store, UUID, 0).workers(planned, QUICK)
    assert (tuple(pool.devices), pool.workers) == (devices, workers)


def test_a_task_of_several_ranks_gives_its_workers_the_step_that_starts_them(
    store: Store, planned: Plan, submitted: Callable[..., Submission]
) -> None:
    """A process on every place of the allocation, rank 0's among them, which is the worker's and ends at once."""
    profile = replace(PROFILE, nodes=2, tasks=3, cpus=4, container=("box", "run"))
    submitted(*of_kind(planned, "dense"), profile=profile.as_json())
    resources = task._Task.read(store, UUID, 0).workers(planned, QUICK).resources
    assert resources.ranks == 6
    assert list(resources.launcher) == [
        *("srun", "--overlap", "--unbuffered", "--export=ALL", "--cpus-per-task=4"),
        *("--nodes=2", "--ntasks=6", "--ntasks-per-node=3", "box", "run"),
    ]
    assert replace(resources, ranks=1, launcher=()) == Resources()


def test_a_task_that_is_stopped_leaves_its_stages_pending_and_goes_on_when_it_is_started_again(
    store: Store, planned: Plan, submitted: Callable[..., Submission], run: Run
) -> None:
    (dense,) = of_kind(planned, "dense")
    submitted(dense)
    stop = StopRequest()

    class WhenBegun(StopRequest):
        def __call__(self) -> bool:
            return bool(list(store.root.glob("checkpoints/*/begun")))

    stop = WhenBegun()
    assert run("dense=obey", stop=stop) == 75
    assert outcomes(store, dense) == ["interrupted"]
    assert run("dense=obey", restart=1) == 0
    assert outcomes(store, dense) == ["interrupted", "done"]


class AsSlurmStops(StopRequest):
    """Asked, once the stage has begun, by a signal that reaches driver and worker at the same moment."""

    def __init__(self, store: Store, stage_id: str, number: signal.Signals) -> None:
        super().__init__()
        self.store, self.stage_id, self.number = store, stage_id, number
        threading.Thread(target=self._signal, daemon=True).start()

    def _signal(self) -> None:
        while not (self.store.stage(self.stage_id).checkpoints_path / "begun").exists():
            time.sleep(0.01)
        time.sleep(0.2)  # the driver waits for its worker
        self.ask(self.number)
        os.kill(self.store.stage(self.stage_id).attempts()[-1].process, self.number)


def test_a_worker_that_was_stopped_before_its_driver_looked_uses_no_try(
    store: Store, planned: Plan, submitted: Callable[..., Submission], run: Run
) -> None:
    (dense,) = of_kind(planned, "dense")
    submitted(dense)
    assert run("dense=poll", stop=AsSlurmStops(store, dense, signal.SIGTERM)) == 75
    assert outcomes(store, dense) == ["interrupted"]


def test_after_the_second_limit_without_progress_the_task_is_not_queued_again(
    store: Store, planned: Plan, submitted: Callable[..., Submission], run: Run
) -> None:
    (dense,) = of_kind(planned, "dense")
    score = next(i for i, s in of_kind(planned, "evaluation").items() if s.parents["model"] == dense)
    submitted(dense, score)
    left_open(store, dense, restart=0)
    store.stage(dense).end_attempt(1, {"outcome": "time-limit", "message": "stopped"})
    assert run("dense=poll", stop=AsSlurmStops(store, dense, signal.SIGUSR2), restart=1) == 1
    assert outcomes(store, dense) == ["time-limit", "timeout"]


def test_a_stage_that_does_not_stop_is_ended_before_the_limit_and_the_second_time_has_failed(
    store: Store, planned: Plan, submitted: Callable[..., Submission], run: Run
) -> None:
    """Else SLURM would end the whole task, and nobody would queue it again or say why."""
    (dense,) = of_kind(planned, "dense")
    submitted(dense)
    stop = AsSlurmStops(store, dense, signal.SIGUSR2)
    assert run("dense=sleep", stop=stop, last_moment=0.5) == 75
    (first,) = store.stage(dense).attempts()
    assert (first.outcome, first.message) == ("time-limit", "it did not stop before the time limit.")
    store.stage(dense).discard_checkpoints()
    stop = AsSlurmStops(store, dense, signal.SIGUSR2)
    assert run("dense=sleep", stop=stop, last_moment=0.5, restart=1) == 1
    last = store.stage(dense).last_attempt()
    assert last.outcome == "timeout"
    assert last.message.startswith("it did not stop before the time limit. 2 times in a row")


def test_a_stage_that_does_not_stop_has_until_shortly_before_the_limit() -> None:
    profiles = [replace(PROFILE, signal_minutes=minutes) for minutes in (1, 2, 5)]
    assert [task.seconds_to_stop(profile) for profile in profiles] == [30, 90, 270]


def test_a_stop_is_noted_while_the_stage_still_runs_so_that_a_kill_after_it_uses_no_try(
    store: Store, planned: Plan, submitted: Callable[..., Submission], run: Run
) -> None:
    """A pre-emption that outlasts the time SLURM gives is no death: however often, the stage goes on."""
    (dense,) = of_kind(planned, "dense")
    submitted(dense)
    noted: list[bool] = []

    def look() -> None:
        while not noted or not noted[-1]:
            attempts = store.stage(dense).attempts()
            noted.append(bool(attempts) and attempts[-1].stop_requested and attempts[-1].outcome is None)
            time.sleep(0.02)
        os.kill(store.stage(dense).attempts()[-1].process, signal.SIGKILL)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    assert run("dense=sleep", stop=AsSlurmStops(store, dense, signal.SIGTERM)) == 75
    thread.join()
    (first,) = store.stage(dense).attempts()
    assert (first.outcome, first.message) == ("interrupted", "its task was stopped before it had saved")
    for restart in range(1, 5):
        left_open(store, dense, restart=restart)
        store.stage(dense).note_stop(restart + 1)
    assert [attempt.outcome for attempt in store.stage(dense).attempts()] == ["interrupted"] + [None] * 4
    assert run(restart=5) == 0
    assert outcomes(store, dense)[-2:] == ["interrupted", "done"]


def test_a_time_limit_is_not_noted_as_a_stop(
    store: Store, planned: Plan, submitted: Callable[..., Submission], run: Run
) -> None:
    (dense,) = of_kind(planned, "dense")
    submitted(dense)
    assert run("dense=sleep", stop=AsSlurmStops(store, dense, signal.SIGUSR2), last_moment=0.5) == 75
    (attempt,) = store.stage(dense).attempts()
    assert (attempt.outcome, attempt.stop_requested) == ("time-limit", False)


def left_open(store: Store, stage_id: str, *, restart: int, checkpoint: str = "") -> None:
    """An attempt of this task's earlier start, whose node died."""
    if checkpoint:
        (store.stage(stage_id).checkpoints_path / checkpoint).mkdir(parents=True, exist_ok=True)
    elsewhere = {**this_process(), "host": "n1", "process": 1, "process_started": "boot:1", "pid_namespace": 7}
    store.stage(stage_id).begin_attempt({**elsewhere, "allocation": NAME, "restart": restart})


def test_deaths_of_earlier_starts_count_and_those_with_progress_do_not(
    store: Store, planned: Plan, submitted: Callable[..., Submission], run: Run
) -> None:
    """Two starts died without a checkpoint: the third start may die once more before the stage has failed."""
    (dense,) = of_kind(planned, "dense")
    submitted(dense)
    left_open(store, dense, restart=0)
    assert run("dense=die", restart=1) == 1
    assert outcomes(store, dense) == ["killed"] * 3
    assert "tried 3 times" in store.stage(dense).last_attempt().message
    assert run("dense=die", restart=2) == 1
    assert outcomes(store, dense) == ["killed"] * 3, "it has failed, and is not begun again"
    store.stage(dense).retry(by=this_process())
    left_open(store, dense, restart=3, checkpoint="checkpoint-1")
    assert run(restart=4) == 0
    assert outcomes(store, dense)[-2:] == ["killed", "done"]


def test_a_stage_that_failed_in_an_earlier_start_is_not_begun_again(
    store: Store, planned: Plan, submitted: Callable[..., Submission], run: Run
) -> None:
    (dense,), (corpus,) = of_kind(planned, "dense"), of_kind(planned, "corpus")
    submitted(dense, corpus)
    assert run("dense=fail", "corpus=fail") == 1
    assert run(restart=1) == 1
    assert outcomes(store, dense) == outcomes(store, corpus) == ["code"]


def test_a_task_above_its_memory_is_not_tried_again(
    store: Store, planned: Plan, submitted: Callable[..., Submission], run: Run
) -> None:
    (dense,) = of_kind(planned, "dense")
    submitted(dense)
    left_open(store, dense, restart=0)
    said = "slurmstepd: error: StepId=7.0 exceeded memory limit (9 > 4), being killed"
    store.ledger.log_path(NAME).write_text(f"2026-01-01 00:00:00 task {NAME}: 1 stages\n{said}\n")
    assert run(restart=1) == 1
    last = store.stage(dense).last_attempt()
    assert last.outcome == "out-of-memory"
    assert said in last.message


@pytest.mark.parametrize(
    ("log", "outcome"),
    [
        (None, "killed"),
        ("", "killed"),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch. Some of the step", "out-of-memory"),
        ("srun: error: n1: task 0: Out Of Memory", "out-of-memory"),
        ("slurmstepd: error: Exceeded job memory limit", "out-of-memory"),
        ("slurmstepd-n1: error: StepId=1.0 exceeded memory limit (9 > 4), being killed", "out-of-memory"),
        ("slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026 DUE TO PREEMPTION ***", "killed"),
        ("our own line that speaks of out of memory", "killed"),
        ("slurmstepd: error: Exceeded job memory limit\n2026-01-01 00:00:00 task a_0: 1 stages of study s", "killed"),
    ],
)
def test_how_the_start_before_ended_is_read_from_the_tasks_log(log: str | None, outcome: str, tmp_path: Path) -> None:
    if log is not None:
        (tmp_path / "log").write_text(f"2026-01-01 00:00:00 task a_0: 1 stages of study s\n{log}\n")
    found, words = how_it_ended(tmp_path / "log")
    assert found == outcome
    assert words


def test_bundles_of_a_packed_task_run_apart(
    store: Store, planned: Plan, submitted: Callable[..., Submission], run: Run
) -> None:
    """A worker that dies under one stage is followed by another, and the others go on."""
    (dense,), (corpus,) = of_kind(planned, "dense"), of_kind(planned, "corpus")
    submitted(dense, corpus)
    assert run("dense=die_once") == 0
    assert outcomes(store, dense) == ["killed", "done"]
    assert outcomes(store, corpus) == ["done"]


@pytest.mark.slow
def test_a_job_touches_the_store_at_most_ten_times_a_second_with_eight_stages_side_by_side(
    store: Store, planned: Plan, submitted: Callable[..., Submission], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Driver and worker of a node, at a tenth of the intervals for a shared file system, so ten times as often."""
    import fake_stages

    everything = plan(tasks=["sst2"], seeds=range(8))
    write_study(store, merged(store, "slice", preset(), everything))
    side_by_side = tuple(of_kind(everything, "dense"))[:8]
    assert len(side_by_side) == 8
    submitted(*side_by_side, profile=replace(PROFILE, stages_at_once=8).as_json(), tasks=(side_by_side,))
    for name in ("stat", "lstat", "fsync", "access", "readlink"):
        monkeypatch.setattr(os, name, getattr(os, name))  # put back at the end
    touched = fake_stages.count_touches()
    seen: list[int] = []

    def measure() -> None:
        time.sleep(3.0)
        before = len(touched)
        time.sleep(3.0)
        seen.append(len(touched) - before)

    thread = threading.Thread(target=measure)
    thread.start()
    often = Intervals(**{name: seconds / 10 for name, seconds in asdict(SELDOM).items()})
    assert run("dense=patient", intervals=often) == 0
    thread.join()
    own = json.loads((store.root / "touched.json").read_text())
    workers = 8 * len(own["touched"]) / own["seconds"]
    driver = seen[0] / 3.0
    assert driver > 0
    print(f"driver {driver / 10:.1f}, workers {workers / 10:.1f} calls a second")
    assert (driver + workers) / 10 <= 10


@pytest.mark.parametrize(
    ("words", "index", "code", "said"),
    [
        ([], "0", 2, "usage: python -m slurm.job STORE UUID"),
        (["runs", UUID], "", 2, "usage: "),
        (["runs", UUID], "x", 2, "usage: "),
        (["runs", "../../x"], "0", 2, "usage: "),
        (["runs", UUID], "0", 1, f"submission runs/submissions/{UUID}.json cannot be read (No such file"),
    ],
)
def test_a_task_started_by_hand_says_how_it_is_meant(
    tmp_path: Path, words: list[str], index: str, code: int, said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "slurm.job", *words],
        cwd=tmp_path,
        env={**environment(), "SLURM_ARRAY_TASK_ID": index},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_task_that_its_submission_does_not_have_is_an_error_of_one_line(
    store: Store, planned: Plan, submitted: Callable[..., Submission]
) -> None:
    (dense,) = of_kind(planned, "dense")
    submitted(dense)
    with pytest.raises(StoreError, match="has no task 7"):
        run_task(store, UUID, 7, StopRequest())
