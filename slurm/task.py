"""What a task of the cluster does: its stages, by a driver of its own; its exit code says what is to follow.

The task finds the ids of its stages in the ledger and their specs in the study. Otherwise it is the driver that runs a
grid on one machine: a worker that dies is followed by another at once, and several bundles run side by side where the
allocation has room. Whatever a stage came to is in the store.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import Interrupted
from harness.execution.driver import Driver
from harness.execution.hardware import this_machine
from harness.execution.local import LocalScheduler
from harness.execution.outcome import Outcome
from harness.inputs.content_hashes import ContentHashes
from harness.planning.graph import Plan
from harness.stages.context import Resources, Sources
from harness.store.intervals import SELDOM, Intervals
from harness.store.processes import ALLOCATION, this_process
from harness.store.store import Store
from harness.store.submissions import Submission
from harness.studies.study import read_part
from harness.worker.source_state import source_digest
from harness.worker.stop_request import StopRequest
from slurm.profiles import SIGNAL_MINUTES

EXIT_DONE = 0  # all that other tasks wait for has a record; where nobody waits, all of it
EXIT_FAILED = 1
EXIT_STOPPED = 75  # on a signal; what ran left a checkpoint, from which the task goes on when it is started again
EXIT_NO_PARENT = 76
EXIT_OTHER_SOURCE = 77  # than the one that was submitted
EXIT_BAD_NODE = 78  # the task is to be started elsewhere

STOP_SECONDS = 0.5  # in which a stop is noticed
SPARE_SECONDS = 30.0  # before the time limit, for the task to end by itself
_START = re.compile(r"^[-\d]{10} [:\d]{8} task [0-9a-z]+_\d+: ", re.MULTILINE)  # the first line of a start in the log
LAST_BYTES = 1 << 16
_MEMORY = re.compile(r"(slurmstepd[^ ]*|srun): .*(exceeded .*memory limit|oom.?kill|out of memory)", re.IGNORECASE)
PARENT_SECONDS = 90.0  # for which the cache of a network file system may hide a record written on another node


def run_task(
    store: Store,
    uuid: str,
    index: int,
    stop: StopRequest,
    *,
    intervals: Intervals = SELDOM,
    patience: float = PARENT_SECONDS,
    last_moment: float | None = None,
) -> int:
    """Run what task `index` of a submission has to run; returns its exit code.

    patience: seconds to wait for the record of a parent. last_moment: seconds after the signal ahead of the time limit,
    when workers that still run are killed; None: `seconds_to_stop`.
    Raises StoreError for a ledger or study that is damaged.
    """
    submission = store.ledger.read(uuid)
    own = submission.tasks[index]
    before = how_it_ended(store.ledger.log_path(submission.task(index)))
    _say(f"task {submission.task(index)}: {len(own)} stages of study {submission.study}")
    if source_digest() != submission.source:
        _refuse(store, own)
        return EXIT_OTHER_SOURCE
    if submission.profile.get("gpus") and not this_machine().gpus:
        _say("this node shows no GPU; the task is to be started on another")
        return EXIT_BAD_NODE
    plan = read_part(store, submission.study, own)
    parents = {parent for i in own for parent in plan.stages[i].parents.values()} - set(own)
    missing = _wait_for_records(store, parents, patience, stop)
    pool = _scheduler(store, submission, plan, intervals)
    driver = Driver(
        plan,
        store,
        pool,
        _Pause(pool, stop, store, own, seconds_to_stop(submission.profile) if last_moment is None else last_moment),
        _say,
        only=own,
        poll=intervals.poll,
        allocation=os.environ.get(ALLOCATION, ""),
        limit=_time_hint(submission),
        before=before,
    )
    try:
        outcome = driver.run(stop, lambda: pool.stop(stop.signal))
    except Interrupted:
        _say(str(stop.interruption("stopped")))
        return EXIT_STOPPED
    finally:
        pool.close()
    return _exit_code(store, submission, own, outcome, missing)


def how_it_ended(log: Path) -> tuple[str, str]:
    """Of the task before it was restarted: an outcome of its open attempts, and the reason in words.

    log: of the task, over all its restarts. SLURM ends a task above its memory as if it had failed, and says why there.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - LAST_BYTES, 0))
            text = file.read().decode(errors="replace")
    except OSError:
        text = ""
    since = _START.split(text)[-1].splitlines()
    if words := next((line for line in since if _MEMORY.search(line)), None):
        return "out-of-memory", f"SLURM ended the task for its memory ({words.strip()})"
    return "killed", "its node or its driver died"


def _exit_code(
    store: Store, submission: Submission, own: Collection[str], outcome: Outcome, missing: Collection[str]
) -> int:
    lacking = set(own) - store.finished(own)
    wanted = store.ledger.needed(submission, submission.tasks.index(tuple(own)))
    if not lacking or (wanted and not lacking & wanted):
        return EXIT_DONE
    if missing and not (outcome.failed or outcome.cancelled):
        _say(f"{len(missing)} stages that it starts from have no record: {', '.join(sorted(missing)[:3])}")
        return EXIT_NO_PARENT
    return EXIT_FAILED


def _scheduler(store: Store, submission: Submission, plan: Plan, intervals: Intervals) -> LocalScheduler:
    """Workers of this allocation: as many as the profile says, else one for each GPU, or as the cores allow."""
    machine = this_machine()
    threads = max((spec.parameters.get("threads", 1) for spec in plan.stages.values()), default=1)
    return LocalScheduler(
        store,
        Sources.from_json(submission.sources, ContentHashes(store.content_hashes_path)),
        Resources(**submission.resources),
        submission.profile.get("stages_at_once") or machine.workers(threads),
        machine.gpus,
        intervals=intervals,
    )


def _wait_for_records(
    store: Store, stage_ids: Collection[str], patience: float, should_stop: Callable[[], bool]
) -> set[str]:
    """Those of the stages that have no record, after waiting for them."""
    deadline = time.monotonic() + patience
    while (missing := set(stage_ids) - store.finished(stage_ids)) and time.monotonic() < deadline:
        if should_stop():
            break
        time.sleep(min(1.0, patience))
    return missing


def _refuse(store: Store, stage_ids: Iterable[str]) -> None:
    """End an attempt at each unfinished stage before it begins: the source is another one now."""
    message = "the source changed since it was submitted; give the grid's command again"
    _say(message)
    for stage_id in stage_ids:
        stage = store.stage(stage_id)
        if stage.has_record() or (lease := stage.acquire_lease()) is None:
            continue
        with lease.held():
            number = stage.begin_attempt({**this_process(), "generation": lease.generation})
            stage.log_path(number).write_text(message + "\n", encoding="utf-8")
            stage.end_attempt(number, {"outcome": "source-changed", "message": message})


@dataclass
class _Pause:
    """Waits until a job has ended or a stop is requested, or for so many seconds, without looking at the store.

    Workers that do not stop ahead of the time limit are killed `last_moment` seconds after they were asked to: SLURM
    would end the whole task, and then nothing queues it again. What they last saved counts, as after any other limit.
    """

    scheduler: LocalScheduler
    stop: StopRequest
    store: Store
    stage_ids: Collection[str]
    last_moment: float
    _asked: float | None = None

    def __call__(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self.scheduler.wait(min(left, STOP_SECONDS)):
                return
            if self.stop() and self._asked is None:
                self._asked = time.monotonic()
                return
            if (
                self._asked is not None
                and time.monotonic() - self._asked > self.last_moment
                and self.stop.is_time_limit
            ):
                self._end_workers()
                return

    def _end_workers(self) -> None:
        self.scheduler.close(kill=True)
        message = "it did not stop before the time limit."
        for stage_id in self.stage_ids:
            stage = self.store.stage(stage_id)
            last = stage.last_attempt()
            here = last is not None and last.allocation == os.environ.get(ALLOCATION, "")
            if last is not None and here and last.outcome is None and not stage.has_record():
                stage.try_to_end_attempt(last.number, {"outcome": "time-limit", "message": message})


def seconds_to_stop(profile: Mapping[str, Any]) -> float:
    """Seconds after the signal ahead of the time limit for which a task waits for its workers."""
    return 60.0 * profile.get("signal_minutes", SIGNAL_MINUTES) - SPARE_SECONDS


def _say(line: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _time_hint(submission: Submission) -> str:
    """What to do about a time limit that is too short."""
    place = submission.profile.get("place")
    return f"raise time in {place}" if place else "allow it more time"
