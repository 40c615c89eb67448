"""The driver: hands bundles to a scheduler until every stage of a plan is done, failed or blocked.

What came of a stage is read from the store alone (record, lease, attempts), so it does not matter which scheduler ran
it, or which driver. A stage that another driver is at is waited for; when its holder dies or goes silent, it is run
here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from harness.errors import Interrupted
from harness.execution.bundles import Bundle, next_bundles
from harness.execution.outcome import Outcome
from harness.execution.scheduler import JobStatus, Scheduler
from harness.planning.graph import Plan
from harness.progress import StageProgress, read_progress
from harness.specs import StageSpec
from harness.store.attempts import Attempt, end_of
from harness.store.leases import Holder, SilenceWatch, current_holder, is_of
from harness.store.leftovers import close_finished
from harness.store.processes import is_gone
from harness.store.store import Store
from harness.studies.state import local_snapshot, read_cancelled, read_states, to_run, work

TRIES = 3  # of a stage whose worker died under it
POLL_SECONDS = 0.1
LOOK_SECONDS = 1.0  # between two looks at what other drivers are at


@dataclass(frozen=True)
class Running:
    """A stage under way here: since when (seconds since the epoch), and how far it is where it says so."""

    spec: StageSpec
    label: str
    since: float
    progress: StageProgress | None


@dataclass(frozen=True)
class View:
    """The run at one moment, for whoever watches. elsewhere: stages that other drivers are at."""

    done: int
    total: int
    failed: int
    waiting: int
    elsewhere: int
    running: tuple[Running, ...]


@dataclass
class Driver:
    """tell: a line for people, said once. show: the view, called often."""

    plan: Plan
    store: Store
    scheduler: Scheduler
    pause: Callable[[float], None] = time.sleep
    tell: Callable[[str], None] = print
    show: Callable[[View], None] = lambda view: None
    outcome: Outcome = field(default_factory=Outcome)
    silence: SilenceWatch = field(default_factory=SilenceWatch)
    _finished: set[str] = field(default_factory=set)
    _waiting: dict[str, None] = field(default_factory=dict)
    _elsewhere: dict[str, None] = field(default_factory=dict)
    _jobs: dict[str, Bundle] = field(default_factory=dict)
    _handed: dict[str, tuple[str, int]] = field(default_factory=dict)  # the job, and the last attempt before it
    _deaths: Counter[str] = field(default_factory=Counter)
    _silent: dict[str, int] = field(default_factory=dict)
    _lifted: set[tuple[str, int]] = field(default_factory=set)  # attempts whose end `harness retry` lifted
    _announced: set[tuple[str, int]] = field(default_factory=set)
    _looked: float = float("-inf")
    _total: int = 0
    _stopping: bool = False

    def run(self, should_stop: Callable[[], bool], stop: Callable[[], None]) -> Outcome:
        """Returns when nothing is left that could be run. stop: asks what is under way to leave a checkpoint and end.

        Raises Interrupted once all has ended that was under way when `should_stop` became true.
        """
        states = read_states(self.plan, self.store, local_snapshot(self.plan, self.store))
        found = work(self.plan, states, read_cancelled(states, self.store))
        self._finished = {stage_id for stage_id, state in states.items() if state == "done"}
        close_finished(self.store, self._finished)
        self._waiting = dict.fromkeys((*found.waiting, *found.resting))
        self.outcome.cancelled = [*found.cancelled]
        self._total = len(self._waiting)
        while True:
            self._take_in()
            if should_stop() and not self._stopping:
                self._stopping = True
                self.tell("stopping: what is under way leaves a checkpoint (Ctrl-C again ends it at once)")
                stop()
            if not self._stopping:
                self._look_elsewhere()
                self._submit()
            if self._is_over():
                break
            self._announce()
            self.pause(POLL_SECONDS if self._jobs else LOOK_SECONDS)
        if self._stopping and self._waiting:
            raise Interrupted("stopped by a signal; the same command goes on.")
        self.outcome.blocked = list(self._waiting)
        return self.outcome

    def _is_over(self) -> bool:
        return not self._jobs and (self._stopping or not (self._elsewhere or self._notice_taken_back()))

    # -- handing out

    def _submit(self) -> None:
        """Fill the scheduler with bundles that can start, in the plan's order."""
        free = self.scheduler.limits().jobs - len(self._jobs)
        while free > 0:
            startable = self._waiting.keys() - self._elsewhere.keys()
            bundles = next_bundles(self.plan, startable, self._finished) if startable else []
            taken = [bundle for bundle in bundles if self._is_taken(bundle.stages[0])]
            if taken or (self._miss_a_parent(bundles[:free]) and self._notice_taken_back()):
                continue
            for bundle in bundles[:free]:
                self._start(bundle)
            return

    def _miss_a_parent(self, bundles: Collection[Bundle]) -> bool:
        needed = {parent for bundle in bundles for stage_id in bundle.ids for parent in self._parents(stage_id)}
        return not all(self.store.has_record(parent) for parent in needed & self._finished)

    def _notice_taken_back(self) -> bool:
        """Whether finished stages have no record any more; what the plan needs of them waits to be made again."""
        gone = self._finished - self.store.finished(self._finished)
        if not gone:
            return False
        self._finished -= gone
        under_way = {stage_id for bundle in self._jobs.values() for stage_id in bundle.ids}
        known = {*self._waiting, *under_way, *self.outcome.failed, *self.outcome.cancelled}
        states = {stage_id: "done" if stage_id in self._finished else "missing" for stage_id in self.plan.stages}
        again = [stage_id for stage_id in to_run(self.plan, states) if stage_id not in known]
        self._waiting.update(dict.fromkeys(again))
        self._total += len(set(again) - set(self.outcome.done))
        self.outcome.done = [stage_id for stage_id in self.outcome.done if stage_id not in gone]
        self.tell(f"{len(gone)} finished stages were taken back meanwhile; {len(again)} are made again")
        return True

    def _is_taken(self, spec: StageSpec) -> bool:
        """Whether another driver has finished a stage meanwhile or is at it, or somebody cancelled it; it is noted."""
        if self.store.has_record(spec.stage_id):
            self._done(spec.stage_id)
        elif self._holder(spec.stage_id) is not None:
            self._elsewhere[spec.stage_id] = None
            self.tell(f"waiting for another process: {self.plan.label(spec.stage_id)} ({spec.stage_id})")
        elif self._is_cancelled(spec.stage_id):
            self._cancel(spec.stage_id)
        else:
            return False
        return True

    def _start(self, bundle: Bundle) -> None:
        for stage_id in bundle.ids:
            del self._waiting[stage_id]
        before = {stage_id: self._last_number(stage_id) for stage_id in bundle.ids}
        silent = {stage_id: self._silent[stage_id] for stage_id in bundle.ids if stage_id in self._silent}
        job = self.scheduler.submit(bundle, silent)
        self._jobs[job] = bundle
        self._handed.update({stage_id: (job, number) for stage_id, number in before.items()})

    # -- taking in

    def _take_in(self) -> None:
        """Note stages whose record is in, and what came of the others of a bundle whose job has ended."""
        snapshot = self.scheduler.snapshot() if self._jobs else {}
        for job, bundle in list(self._jobs.items()):
            for stage_id in bundle.ids:
                if stage_id not in self._finished and self.store.has_record(stage_id):
                    self._done(stage_id, self._own_attempt(stage_id))
            if snapshot[job].state == "ended":
                del self._jobs[job]
                for stage_id in bundle.ids:
                    self._settle(stage_id, snapshot[job])
                close_finished(self.store, self._finished.intersection(bundle.ids))

    def _settle(self, stage_id: str, status: JobStatus) -> None:
        """What came of a stage whose job has ended."""
        if stage_id in self._finished:
            return
        last = self._own_attempt(stage_id)
        if self.store.has_record(stage_id):
            self._done(stage_id, last)
        elif (holder := self._holder(stage_id)) is not None and not _told_its_end(holder, last):
            self._waiting[stage_id] = self._elsewhere[stage_id] = None
        elif self._is_cancelled(stage_id):
            self._cancel(stage_id)
        elif last is None and self._last_number(stage_id) > self._handed[stage_id][1]:
            self._waiting[stage_id] = self._elsewhere[stage_id] = None  # another driver was quicker, and has ended too
        elif last is not None and (last.outcome is not None or last.retried):
            self._ended_otherwise(stage_id, last)
        elif last is None and (self._stopping or not all(map(self.store.has_record, self._parents(stage_id)))):
            self._waiting[stage_id] = None  # the bundle did not come to it, or a parent was taken back under it
        else:
            self._died(stage_id, last, status.problems.get(stage_id) or status.message or "its worker said nothing")

    def _ended_otherwise(self, stage_id: str, last: Attempt) -> None:
        end = None if last.retried or last.outcome is None or self._stopping else end_of(last.outcome)
        if end is None or (end.again and not end.counts):
            self._waiting[stage_id] = None
        elif end.again:  # interrupted by nobody here
            self._try_again(stage_id, f"{end.label}: {last.message}")
        else:
            self._fail(stage_id, last.message)

    def _died(self, stage_id: str, last: Attempt | None, message: str) -> None:
        """Its worker ended under it, or could not begin it: it is tried again, from its checkpoint, a few times."""
        if last is not None:
            ended = {"outcome": "infrastructure", "message": message}
            self.store.note_end(stage_id, last.number, {"time": time.time(), **ended})
        self._try_again(stage_id, message)

    def _try_again(self, stage_id: str, message: str) -> None:
        self._deaths[stage_id] += 1
        if self._deaths[stage_id] < TRIES:
            self._waiting[stage_id] = None
            self.tell(f"again: {self.plan.label(stage_id)}: {message} ({stage_id})")
        else:
            self._fail(stage_id, f"{message}; tried {TRIES} times")

    def _done(self, stage_id: str, attempt: Attempt | None = None) -> None:
        self._finished.add(stage_id)
        self._waiting.pop(stage_id, None)
        self._elsewhere.pop(stage_id, None)
        label = self.plan.label(stage_id)
        if attempt is None:
            self.tell(f"done by another process: {label} ({stage_id})")
            return
        self.outcome.done.append(stage_id)
        minutes = ((attempt.ended or time.time()) - (attempt.started or time.time())) / 60
        self.tell(f"[{len(self.outcome.done)}/{self._total}] done: {label} in {minutes:.1f} min ({stage_id})")

    def _is_cancelled(self, stage_id: str) -> bool:
        return any(attempt.outcome == "cancelled" for attempt in self.store.attempts(stage_id)[-1:])

    def _cancel(self, stage_id: str) -> None:
        self._waiting.pop(stage_id, None)
        self._elsewhere.pop(stage_id, None)
        self.outcome.cancelled.append(stage_id)
        self.tell(f"cancelled: {self.plan.label(stage_id)} ({stage_id}); harness retry lifts it")

    def _fail(self, stage_id: str, message: str) -> None:
        self._waiting.pop(stage_id, None)
        self._elsewhere.pop(stage_id, None)
        self.outcome.failed[stage_id] = message
        log = self.store.attempt_log(stage_id, self._last_number(stage_id))
        where = f" (log: {log})" if log.is_file() else ""
        self.tell(f"failed: {self.plan.label(stage_id)} ({stage_id}): {message}{where}")

    # -- other drivers

    def _look_elsewhere(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        self._look_for_retries()
        for stage_id in list(self._elsewhere):
            if self.store.has_record(stage_id):
                self._done(stage_id)
            elif self._holder(stage_id) is None:
                del self._elsewhere[stage_id]
                for last in self.store.attempts(stage_id)[-1:]:
                    if last.outcome is not None and not end_of(last.outcome).others_go_on:
                        self._fail(stage_id, f"in another process: {last.message}")

    def _look_for_retries(self) -> None:
        """Stages that failed or were cancelled, and whose end was lifted by `harness retry`, wait again."""
        for stage_id in [*self.outcome.failed, *self.outcome.cancelled]:
            last = self.store.attempts(stage_id)[-1:]
            if last and last[0].retried and (stage_id, last[0].number) not in self._lifted:
                self._lifted.add((stage_id, last[0].number))
                self._deaths.pop(stage_id, None)
                self.outcome.failed.pop(stage_id, None)
                if stage_id in self.outcome.cancelled:
                    self.outcome.cancelled.remove(stage_id)
                self._waiting[stage_id] = None
                self.tell(f"again, as asked: {self.plan.label(stage_id)} ({stage_id})")

    def _holder(self, stage_id: str) -> Holder | None:
        """Who is at a stage: a live process of this machine, or one elsewhere that has not gone silent."""
        folder = self.store.lease_path(stage_id)
        holder = current_holder(folder)
        if holder is None or holder.released or is_gone(holder):
            return None
        if self.silence.is_silent(folder, holder):
            self._silent[stage_id] = holder.generation
            return None
        return holder

    # -- telling

    def _announce(self) -> None:
        running = tuple(found for bundle in self._jobs.values() if (found := self._under_way(bundle)) is not None)
        for stage in running:
            key = (stage.spec.stage_id, self._last_number(stage.spec.stage_id))
            if key not in self._announced:
                self._announced.add(key)
                self.tell(f"started: {stage.label} ({stage.spec.stage_id})")
        self.show(
            View(
                done=len(self.outcome.done),
                total=self._total,
                failed=len(self.outcome.failed),
                waiting=len(self._waiting),
                elsewhere=len(self._elsewhere),
                running=running,
            )
        )

    def _under_way(self, bundle: Bundle) -> Running | None:
        """The stage of a bundle that has begun and not ended."""
        for spec in bundle.stages:
            last = self._own_attempt(spec.stage_id)
            if last is not None and last.outcome is None and spec.stage_id not in self._finished:
                progress = read_progress(self.store.attempt_progress(spec.stage_id, last.number))
                return Running(spec, self.plan.label(spec.stage_id), last.started or time.time(), progress)
        return None

    def _last_number(self, stage_id: str) -> int:
        return max((attempt.number for attempt in self.store.attempts(stage_id)), default=0)

    def _own_attempt(self, stage_id: str) -> Attempt | None:
        """The last attempt, where it is of the job to which this driver gave the stage."""
        last = self.store.attempts(stage_id)[-1:]
        return last[0] if last and last[0].job == self._handed[stage_id][0] else None

    def _parents(self, stage_id: str) -> Collection[str]:
        return self.plan.stages[stage_id].parents.values()


def _told_its_end(holder: Holder, last: Attempt | None) -> bool:
    """Whether a lease's holder has said how its attempt ended, and could only not release the lease: a full disk."""
    return last is not None and last.outcome is not None and is_of(last, holder)
