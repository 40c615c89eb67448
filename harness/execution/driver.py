"""The driver: submits bundles to a scheduler until every stage of a plan is done, failed or blocked.

How a stage ended is read from the store alone (record, lease, attempts), so it does not matter which scheduler ran it,
or which driver. The driver waits for a stage that another one runs; when that one dies or its lease expires, the
stage runs here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from harness.errors import Interrupted
from harness.execution.bundles import Bundle, next_bundles
from harness.execution.decisions import EndedStage, NextStep, after_job, begin_run
from harness.execution.outcome import Outcome
from harness.execution.pace import Pace, done_line
from harness.execution.scheduler import JobStatus, Scheduler
from harness.planning.graph import Plan
from harness.progress import StageProgress, read_progress
from harness.specs import StageSpec
from harness.store.attempts import Attempt, may_try_again, num_stalled, outcome_named
from harness.store.leases import HeartbeatMonitor, Holder, belongs_to
from harness.store.leftovers import finalize_after_kill
from harness.store.processes import is_live
from harness.store.store import Store
from harness.studies.state import to_run
from harness.wording import counted

ELSEWHERE_SECONDS = 1.0  # between two looks at what other drivers do, at least
STOPPED_BEFORE_SAVING = "its task was stopped before it had saved"
LEFT_SECONDS = 2.0  # between two sums of what is left


@dataclass(frozen=True)
class Running:
    """A stage that runs here. since: seconds since the epoch. progress: None before its first report.

    attempt: its number.
    """

    spec: StageSpec
    label: str
    since: float
    progress: StageProgress | None
    attempt: int = 0


@dataclass(frozen=True)
class View:
    """The run at one moment, for a display; numbers of stages. elsewhere: those that other drivers run.

    seconds_left: of the whole run; None: nobody can tell yet.
    """

    done: int
    total: int
    failed: int
    waiting: int
    elsewhere: int
    running: tuple[Running, ...]
    seconds_left: float | None = None


@dataclass
class Driver:
    """Runs one plan. report: prints a line for people. show: displays the view, called often.

    estimated: seconds by stage, as estimated before the run, for what it says of the time left.
    only: stages besides which none runs here; None: all that the plan's cells need.
    poll: seconds between two looks at the store. allocation: the task of a cluster in which this driver runs, through
    all restarts of which it counts a stage's tries; "": none. limit: what to do about a time limit that is too short.
    before: how the driver of this task ended that left its stages' attempts open, an outcome and in words.
    """

    plan: Plan
    store: Store
    scheduler: Scheduler
    pause: Callable[[float], object] = time.sleep
    report: Callable[[str], None] = print
    show: Callable[[View], None] = lambda view: None
    outcome: Outcome = field(default_factory=Outcome)
    monitor: HeartbeatMonitor = field(default_factory=HeartbeatMonitor)
    estimated: Mapping[str, float] = field(default_factory=dict)
    only: Collection[str] | None = None
    poll: float = 0.1
    allocation: str = ""
    limit: str = "allow it more time"
    before: tuple[str, str] = ("killed", "its node or its driver died")
    _pace: Pace = field(init=False)
    _left: tuple[float, float | None, float] = (float("-inf"), None, 0.0)  # when summed, the seconds, what that took
    _finished: set[str] = field(default_factory=set)
    _waiting: dict[str, None] = field(default_factory=dict)
    _elsewhere: dict[str, None] = field(default_factory=dict)
    _jobs: dict[str, Bundle] = field(default_factory=dict)
    _submitted: dict[str, tuple[str, int]] = field(default_factory=dict)  # the job, and the last attempt before it
    _names: set[str] = field(default_factory=set)  # of all jobs of this run
    _not_begun: Counter[str] = field(default_factory=Counter)  # jobs that could not begin a stage
    _expired_leases: dict[str, int] = field(default_factory=dict)  # stage id -> generation
    _cleared: set[tuple[str, int]] = field(default_factory=set)  # attempts whose outcome `harness retry` cleared
    _announced: set[tuple[str, int]] = field(default_factory=set)
    _seen_running: dict[str, float] = field(default_factory=dict)  # at the last look: stage id -> since
    _looked: float = float("-inf")
    _total: int = 0
    _stopping: bool = False

    def __post_init__(self) -> None:
        self._pace = Pace(self.plan, self.estimated)

    def run(self, should_stop: Callable[[], bool], stop: Callable[[], None]) -> Outcome:
        """Returns when nothing is left that could be run. stop: makes running stages save a checkpoint and end.

        Raises Interrupted once all stages have ended that ran when `should_stop` became true, StoreError when the store
        is removed meanwhile.
        """
        self._finished, remaining = begin_run(self.plan, self.store, self.only)
        self._waiting = dict.fromkeys((*remaining.waiting, *remaining.downstream))
        self.outcome.cancelled = [*remaining.cancelled]
        self._total = len(self._waiting)
        if self.allocation:
            self._go_on_from_earlier_starts()
        while True:
            if should_stop() and not self._stopping:  # before what ended: its worker may have been stopped too
                self._stopping = True
                self.report("stopping: running stages save a checkpoint (Ctrl-C again ends them at once)")
                stop()
            self._collect()
            if not self._stopping:
                self._look_elsewhere()
                self._submit()
            if self._is_over():
                self._announce()  # the last state too
                break
            self._announce()
            self.pause(self.poll if self._jobs else max(self.poll, ELSEWHERE_SECONDS))
        if self._stopping and self._runnable(self._waiting):
            raise Interrupted("stopped by a signal; the same command goes on.")
        self.outcome.blocked = list(self._waiting)
        return self.outcome

    def _is_over(self) -> bool:
        return not self._jobs and (self._stopping or not (self._elsewhere or self._notice_invalidated()))

    # -- submitting

    def _submit(self) -> None:
        """Fill the scheduler with bundles that can start, in the plan's order."""
        free = self.scheduler.limits().jobs - len(self._jobs)
        while free > 0:
            startable = self._waiting.keys() - self._elsewhere.keys()
            bundles = next_bundles(self.plan, startable, self._finished) if startable else []
            taken = [bundle for bundle in bundles if self._is_taken(bundle.stages[0])]
            if taken or (self._lacks_a_parent(bundles[:free]) and self._notice_invalidated()):
                continue
            for bundle in bundles[:free]:
                self._start(bundle)
            return

    def _lacks_a_parent(self, bundles: Collection[Bundle]) -> bool:
        needed = {parent for bundle in bundles for stage_id in bundle.ids for parent in self._parents(stage_id)}
        return not all(self.store.stage(parent).has_record() for parent in needed & self._finished)

    def _notice_invalidated(self) -> bool:
        """Whether finished stages have no record any more; those that the plan needs wait to run again."""
        gone = self._finished - self.store.finished(self._finished)
        if not gone:
            return False
        self.store.check_is_there()
        self._finished -= gone
        submitted = {stage_id for bundle in self._jobs.values() for stage_id in bundle.ids}
        known = {*self._waiting, *submitted, *self.outcome.failed, *self.outcome.cancelled}
        states = {stage_id: "done" if stage_id in self._finished else "pending" for stage_id in self.plan.stages}
        again = [i for i in to_run(self.plan, states) if i not in known and (self.only is None or i in self.only)]
        self._waiting.update(dict.fromkeys(again))
        self._total += len(set(again) - set(self.outcome.done))
        self.outcome.done = [stage_id for stage_id in self.outcome.done if stage_id not in gone]
        verb = "was" if len(gone) == 1 else "were"
        self.report(f"{counted(len(gone), 'finished stage')} {verb} invalidated meanwhile; {len(again)} to run again")
        return True

    def _is_taken(self, spec: StageSpec) -> bool:
        """Whether another driver has finished a stage or runs it, or somebody cancelled it; it is noted."""
        if self.store.stage(spec.stage_id).has_record():
            self._done(spec.stage_id)
        elif self._holder(spec.stage_id) is not None:
            self._elsewhere[spec.stage_id] = None
            self.report(f"waiting for another process: {self.plan.label(spec.stage_id)} ({spec.stage_id})")
        elif self.store.stage(spec.stage_id).is_cancelled():
            self._cancel(spec.stage_id)
        else:
            return False
        return True

    def _start(self, bundle: Bundle) -> None:
        for stage_id in bundle.ids:
            del self._waiting[stage_id]
        before = {stage_id: self._last_number(stage_id) for stage_id in bundle.ids}
        expired = {i: self._expired_leases[i] for i in bundle.ids if i in self._expired_leases}
        job = self.scheduler.submit(bundle, expired)
        self._jobs[job] = bundle
        self._names.add(job)
        self._submitted.update({stage_id: (job, number) for stage_id, number in before.items()})

    # -- collecting

    def _collect(self) -> None:
        """Note the stages that finished, and settle the others of a bundle whose job has ended."""
        snapshot = self.scheduler.snapshot() if self._jobs else {}
        for job, bundle in list(self._jobs.items()):
            for stage_id in bundle.ids:
                if stage_id not in self._finished and self.store.stage(stage_id).has_record():
                    self._done(stage_id, self._own_attempt(stage_id))
            if snapshot[job].state == "ended":
                del self._jobs[job]
                for stage_id in bundle.ids:
                    self._settle(stage_id, snapshot[job])
                finalize_after_kill(self.store, self._finished.intersection(bundle.ids))

    def _settle(self, stage_id: str, status: JobStatus) -> None:
        """Decide what follows for a stage whose job has ended."""
        if stage_id in self._finished:
            return
        ended = self._ended(stage_id)
        match after_job(ended, stopping=self._stopping):
            case NextStep.DONE:
                self._done(stage_id, ended.own)
            case NextStep.ELSEWHERE:
                self._waiting[stage_id] = self._elsewhere[stage_id] = None
            case NextStep.CANCELLED:
                self._cancel(stage_id)
            case NextStep.RETRY:
                self._waiting[stage_id] = None
            case NextStep.USE_A_TRY:
                self._use_a_try(stage_id, ended.own, _reason(stage_id, status))
            case NextStep.FAILED:
                self._fail(stage_id, ended.own.message if ended.own is not None else "")

    def _ended(self, stage_id: str) -> EndedStage:
        stage, (job, number_before) = self.store.stage(stage_id), self._submitted[stage_id]
        last, holder = stage.last_attempt(), self._holder(stage_id)
        own = last if last is not None and last.job == job else None
        ended = holder is not None and own is not None and own.outcome is not None and belongs_to(own, holder)
        return EndedStage(
            has_record=stage.has_record(),
            is_held=holder is not None and not ended,  # ended: a full disk kept its worker from releasing the lease
            is_cancelled=last is not None and last.outcome == "cancelled",
            own=own,
            last_is_foreign=last is not None and own is None and last.number > number_before,
            can_begin=all(self.store.stage(parent).has_record() for parent in self._parents(stage_id)),
        )

    def _use_a_try(self, stage_id: str, attempt: Attempt | None, reason: str) -> None:
        """Note that an attempt was killed, or ended by the time limit; its stage waits again, or has failed.

        A kill that followed a request to stop, as a pre-emption does after a while, uses none.
        attempt: None where the stage could not be begun. reason: of a worker's death, or why it could not.
        """
        if attempt is None:
            self._not_begun[stage_id] += 1
            tries = outcome_named("killed").tries
            self._try_again(stage_id, reason, tries if self._not_begun[stage_id] >= tries else 0)
            return
        stage = self.store.stage(stage_id)
        if attempt.outcome is None and attempt.stop_requested:
            stage.try_to_end_attempt(attempt.number, {"outcome": "interrupted", "message": STOPPED_BEFORE_SAVING})
            self._waiting[stage_id] = None
            return
        outcome, message = "killed", reason
        if attempt.outcome == "time-limit":
            outcome, message = attempt.outcome, attempt.message
        elif attempt.outcome is not None:
            message = f"{outcome_named(attempt.outcome).label}: {attempt.message}"
        if attempt.outcome != outcome:
            stage.try_to_end_attempt(attempt.number, {"outcome": outcome, "message": message})
        own = self._own_attempts(stage_id)
        if may_try_again(own):
            self._try_again(stage_id, message)
            return
        tried = num_stalled(own, outcome)
        if outcome == "time-limit":
            outcome = "timeout"
            message += f" {tried} times in a row without a newer checkpoint: {self.limit}"
            self._fail(stage_id, message)
        else:
            message += f"; tried {tried} times"
            self._fail(stage_id, message)
        stage.try_to_end_attempt(attempt.number, {"outcome": outcome, "message": message})

    def _try_again(self, stage_id: str, message: str, tried: int = 0) -> None:
        """tried: how often, where that was the last time."""
        if tried:
            self._fail(stage_id, f"{message}; tried {tried} times")
        else:
            self._waiting[stage_id] = None
            self.report(f"retrying: {self.plan.label(stage_id)}: {message}")

    def _go_on_from_earlier_starts(self) -> None:
        """Settle what attempts this task made before it was restarted: their stages wait again, or have failed."""
        for stage_id in list(self._waiting):
            own = self._own_attempts(stage_id)
            if not own or self._holder(stage_id) is not None or own[-1].retried:
                continue
            outcome, words = self.before
            if own[-1].outcome is None and outcome == "killed":
                self._waiting.pop(stage_id)
                self._use_a_try(stage_id, own[-1], words)
            elif own[-1].outcome is None:
                self.store.stage(stage_id).try_to_end_attempt(own[-1].number, {"outcome": outcome, "message": words})
                self._fail(stage_id, words)
            elif not may_try_again(own):
                self._fail(stage_id, own[-1].message)

    def _done(self, stage_id: str, attempt: Attempt | None = None) -> None:
        self._finished.add(stage_id)
        self._waiting.pop(stage_id, None)
        self._elsewhere.pop(stage_id, None)
        label = self.plan.label(stage_id)
        if attempt is None:
            self.report(f"done by another process: {label}")
            return
        self.outcome.done.append(stage_id)
        seconds = (attempt.ended or time.time()) - (attempt.started or time.time())
        self._pace.took(stage_id, seconds)
        self.report(done_line(label, seconds, len(self.outcome.done), self._total, self._seconds_left()))

    def _cancel(self, stage_id: str) -> None:
        self._waiting.pop(stage_id, None)
        self._elsewhere.pop(stage_id, None)
        self.outcome.cancelled.append(stage_id)
        retry = self.store.stage(stage_id).command("retry")
        self.report(f"cancelled: {self.plan.label(stage_id)}; {retry} clears it")

    def _fail(self, stage_id: str, message: str) -> None:
        self._waiting.pop(stage_id, None)
        self._elsewhere.pop(stage_id, None)
        self.outcome.failed[stage_id] = message
        log = self.store.stage(stage_id).last_log()
        where = f" (log: {log})" if log is not None else ""
        self.report(f"failed: {self.plan.label(stage_id)}: {message}{where}")

    # -- other drivers

    def _look_elsewhere(self) -> None:
        now = time.monotonic()
        if now - self._looked < max(self.poll, ELSEWHERE_SECONDS):
            return
        self._looked = now
        self._look_for_retries()
        for stage_id in list(self._elsewhere):
            if self.store.stage(stage_id).has_record():
                self._done(stage_id)
            elif self._holder(stage_id) is None:
                del self._elsewhere[stage_id]
                last = self.store.stage(stage_id).last_attempt()
                if last is not None and last.outcome and not outcome_named(last.outcome).others_may_retry:
                    self._fail(stage_id, f"in another process: {last.message}")

    def _look_for_retries(self) -> None:
        """Stages that failed or were cancelled, and that `harness retry` has cleared since, wait again."""
        for stage_id in [*self.outcome.failed, *self.outcome.cancelled]:
            last = self.store.stage(stage_id).last_attempt()
            if last is not None and last.retried and (stage_id, last.number) not in self._cleared:
                self._cleared.add((stage_id, last.number))
                self._not_begun.pop(stage_id, None)
                self.outcome.failed.pop(stage_id, None)
                if stage_id in self.outcome.cancelled:
                    self.outcome.cancelled.remove(stage_id)
                self._waiting[stage_id] = None
                self.report(f"retried: {self.plan.label(stage_id)}")

    def _holder(self, stage_id: str) -> Holder | None:
        """Who runs a stage: a live process of this machine, or one elsewhere whose lease has not expired."""
        stage = self.store.stage(stage_id)
        holder = stage.holder()
        if holder is None or not is_live(holder):
            return None
        if self.monitor.is_expired(stage.lease_path, holder):
            self._expired_leases[stage_id] = holder.generation
            return None
        return holder

    # -- display

    def _announce(self) -> None:
        running = tuple(found for bundle in self._jobs.values() if (found := self._running(bundle)) is not None)
        self._seen_running = {stage.spec.stage_id: stage.since for stage in running}
        for stage in running:
            key = (stage.spec.stage_id, stage.attempt)
            if key not in self._announced:
                self._announced.add(key)
                self.report(f"started: {stage.label}")
        self.show(
            View(
                done=len(self.outcome.done),
                total=self._total,
                failed=len(self.outcome.failed),
                waiting=len(self._waiting),
                elsewhere=len(self._elsewhere),
                running=running,
                seconds_left=self._seconds_left(LEFT_SECONDS),
            )
        )

    def _seconds_left(self, at_most_old: float = 0.0) -> float | None:
        """Of all that can still run. at_most_old: seconds for which an earlier sum is good enough.

        It is good enough, too, for 50 times as long as it took: of tens of thousands of stages that is a few seconds.
        """
        summed, left, took = self._left
        now = time.monotonic()
        if now - summed > max(at_most_old, 50 * took):
            left = self._sum_of_left()
            self._left = (now, left, time.monotonic() - now)
        return left

    def _sum_of_left(self) -> float | None:
        submitted = [stage_id for bundle in self._jobs.values() for stage_id in bundle.ids]
        running = {i: time.time() - since for i, since in self._seen_running.items() if i in submitted}
        unfinished = {*self._waiting, *submitted} - self._finished - running.keys()
        return self._pace.left(self._runnable(unfinished), running, self.scheduler.limits().jobs)

    def _runnable(self, unfinished: Collection[str]) -> list[str]:
        """Those of the stages that neither failed or are cancelled nor depend on such a one; parents first."""
        cannot_run = {*self.outcome.failed, *self.outcome.cancelled}
        found = []
        for stage_id in self.plan.stages:
            if cannot_run & set(self._parents(stage_id)):
                cannot_run.add(stage_id)
            elif stage_id in unfinished and stage_id not in cannot_run:
                found.append(stage_id)
        return found

    def _running(self, bundle: Bundle) -> Running | None:
        """The stage of a bundle that has begun and not ended."""
        for spec in bundle.stages:
            last = self._own_attempt(spec.stage_id)
            if last is not None and last.outcome is None and spec.stage_id not in self._finished:
                progress = read_progress(self.store.stage(spec.stage_id).progress_path(last.number))
                label, since = self.plan.label(spec.stage_id), last.started or time.time()
                return Running(spec, label, since, progress, last.number)
        return None

    def _last_number(self, stage_id: str) -> int:
        last = self.store.stage(stage_id).last_attempt()
        return 0 if last is None else last.number

    def _own_attempt(self, stage_id: str) -> Attempt | None:
        """The last attempt, where the job to which this driver submitted the stage made it."""
        last = self.store.stage(stage_id).last_attempt()
        return last if last is not None and last.job == self._submitted[stage_id][0] else None

    def _own_attempts(self, stage_id: str) -> list[Attempt]:
        """All that this driver's jobs made at a stage, and this task before it was restarted; oldest first."""
        attempts = self.store.stage(stage_id).attempts()
        in_task = self.allocation and [attempt for attempt in attempts if attempt.allocation == self.allocation]
        return in_task or [attempt for attempt in attempts if attempt.job in self._names]

    def _parents(self, stage_id: str) -> Collection[str]:
        return self.plan.stages[stage_id].parents.values()


def _reason(stage_id: str, status: JobStatus) -> str:
    """Why a job ended without one of its stages."""
    return status.problems.get(stage_id) or status.message or "its worker gave no reason"
