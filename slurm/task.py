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
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import Interrupted, StoreError
from harness.execution.driver import Driver
from harness.execution.hardware import this_machine
from harness.execution.local import HIDDEN, LocalScheduler
from harness.execution.outcome import Outcome
from harness.inputs.content_hashes import ContentHashes
from harness.planning.graph import Plan
from harness.stages.context import Resources, Sources
from harness.store.intervals import SELDOM, Intervals
from harness.store.processes import ALLOCATION, this_process
from harness.store.stage import StoredStage
from harness.store.store import Store
from harness.store.submissions import Submission
from harness.studies.study import read_part
from harness.worker.source_state import source_digest
from harness.worker.stop_request import StopRequest
from slurm.exit_codes import BAD_NODE, DONE, FAILED, NO_PARENT, OTHER_SOURCE, STOPPED
from slurm.profiles import Profile

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
    Raises StoreError for a ledger or study that is damaged, OSError where the store does not answer.
    """
    task = _Task.read(store, uuid, index)
    before = how_it_ended(store.ledger.log_path(task.name))
    say(f"task {task.name}: {len(task.own)} stages of study {task.submission.study}")
    if (refusal := task.refusal()) is not None:
        return refusal
    plan = read_part(store, task.submission.study, task.own)
    missing = _wait_for_records(store, task.parents(plan), patience, stop)
    pool = task.workers(plan, intervals)
    seconds = seconds_to_stop(task.profile) if last_moment is None else last_moment
    ending = _Ending(pool, stop, store, task.own, seconds)
    try:
        outcome = task.driver(plan, pool, ending, intervals.poll, before).run(stop, ending.stop_workers)
    except Interrupted:
        say(str(stop.interruption("stopped")))
        return STOPPED
    finally:
        pool.close()
    return task.exit_code(outcome, missing)


@dataclass(frozen=True)
class _Task:
    """One task of a submission. own: the ids of its stages."""

    store: Store
    submission: Submission
    profile: Profile
    name: str
    own: Collection[str]

    @classmethod
    def read(cls, store: Store, uuid: str, index: int) -> _Task:
        """Raises StoreError for an entry of the ledger that is not there or damaged, or has no such task."""
        submission = store.ledger.read(uuid)
        if index >= len(submission.tasks):
            raise StoreError(f"submission {store.ledger.entry_path(uuid)} has no task {index}.")
        try:
            profile = Profile.from_json(submission.profile)
        except ValueError as error:
            path = store.ledger.entry_path(uuid)
            raise StoreError(f"submission {path} is damaged ({error}). Give the grid's command again.") from None
        return cls(store, submission, profile, submission.task(index), submission.tasks[index])

    def refusal(self) -> int | None:
        """The exit code of a task that is not to begin here."""
        if source_digest() != self.submission.source:
            _refuse(self.store, self.own)
            return OTHER_SOURCE
        if self.profile.asks_for_gpus and not this_machine().gpus:
            say("this node shows no GPU; the task is to be started on another")
            return BAD_NODE
        return None

    def parents(self, plan: Plan) -> set[str]:
        """The stages of other tasks from which it starts."""
        return {parent for i in self.own for parent in plan.stages[i].parents.values()} - set(self.own)

    def workers(self, plan: Plan, intervals: Intervals) -> LocalScheduler:
        """Those of this allocation, on the GPUs that the profile asks for: not every cluster hides the others."""
        shown = this_machine().gpus if self.profile.asks_for_gpus else ()
        gpus = shown[: self.profile.num_gpus or None]
        threads = max((spec.parameters.get("threads", 1) for spec in plan.stages.values()), default=1)
        return LocalScheduler(
            self.store,
            Sources.from_json(self.submission.sources, ContentHashes(self.store.content_hashes_path)),
            replace(Resources(**self.submission.resources), **self.ranks()),
            replace(self.profile, gpus=len(gpus)).num_at_once(threads),
            gpus or HIDDEN,
            intervals=intervals,
        )

    def ranks(self) -> dict[str, Any]:
        """Of `Resources`: what starts the other ranks of a stage, in a step over all nodes of the task.

        That step has a process for rank 0 as well, which ends at once: so ranks are spread over nodes as they are
        asked for, whatever the site's way to spread a step.
        """
        profile = self.profile
        if profile.ranks == 1:
            return {}
        step = [f"--nodes={profile.nodes}", f"--ntasks={profile.ranks}", f"--ntasks-per-node={profile.tasks}"]
        words = ["srun", "--overlap", "--unbuffered", "--export=ALL", f"--cpus-per-task={profile.cpus}", *step]
        return {"ranks": profile.ranks, "launcher": [*words, *profile.container]}

    def driver(self, plan: Plan, pool: LocalScheduler, ending: _Ending, poll: float, before: tuple[str, str]) -> Driver:
        return Driver(
            plan,
            self.store,
            pool,
            ending.pause,
            say,
            only=self.own,
            poll=poll,
            allocation=os.environ.get(ALLOCATION, ""),
            limit=f"raise time in {self.profile.place}",
            before=before,
        )

    def exit_code(self, outcome: Outcome, missing: Collection[str]) -> int:
        """After a run to the end. missing: parents without a record."""
        lacking = set(self.own) - self.store.finished(self.own)
        wanted = self.store.ledger.needed(self.submission, self.name)
        if not lacking or (wanted and not lacking & wanted):
            return DONE
        if missing and not (outcome.failed or outcome.cancelled):
            say(f"{len(missing)} stages that it starts from have no record: {', '.join(sorted(missing)[:3])}")
            return NO_PARENT
        return FAILED


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
    say(message)
    for stage_id in stage_ids:
        stage = store.stage(stage_id)
        if stage.has_record() or (lease := stage.acquire_lease()) is None:
            continue
        with lease.held():
            number = stage.begin_attempt({**this_process(), "generation": lease.generation})
            stage.log_path(number).write_text(message + "\n", encoding="utf-8")
            stage.end_attempt(number, {"outcome": "source-changed", "message": message})


@dataclass
class _Ending:
    """How a task that is asked to stop ends its stages.

    A stop that is no time limit is noted in their attempts at once: SLURM may kill the task before they have saved.
    Workers that do not stop ahead of the time limit are killed `last_moment` seconds after they were asked to: SLURM
    would end the whole task, and then nothing queues it again. What they last saved counts, as after any other limit.
    """

    scheduler: LocalScheduler
    stop: StopRequest
    store: Store
    stage_ids: Collection[str]
    last_moment: float
    _asked: float | None = None

    def stop_workers(self) -> None:
        self.scheduler.stop(self.stop.signal)
        if not self.stop.is_time_limit:
            for stage, number in self._open_attempts():
                with suppress(OSError):
                    stage.note_stop(number)

    def pause(self, seconds: float) -> None:
        """Waits until a job has ended or a stop is requested, or so long, without looking at the store."""
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
        for stage, number in self._open_attempts():
            stage.try_to_end_attempt(number, {"outcome": "time-limit", "message": message})

    def _open_attempts(self) -> Iterator[tuple[StoredStage, int]]:
        """Of this task, with their numbers."""
        for stage_id in self.stage_ids:
            stage = self.store.stage(stage_id)
            last = stage.last_attempt()
            here = last is not None and last.allocation == os.environ.get(ALLOCATION, "")
            if last is not None and here and last.outcome is None and not stage.has_record():
                yield stage, last.number


def seconds_to_stop(profile: Profile) -> float:
    """Seconds after the signal ahead of the time limit for which a task waits for its workers."""
    return 60.0 * profile.signal_minutes - SPARE_SECONDS


def say(line: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}", file=sys.stderr, flush=True)
