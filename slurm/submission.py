"""A submission is one pass, after which nothing needs to stay alive: what is not done or queued is queued.

The right to submit, one squeue, the states, bundles of the whole graph, arrays; then for each array its entry in the
ledger, sbatch, the job's id. The same pass again finds what is done, runs or is queued and submits the rest. One that
dies between two steps leaves an array that the queue knows by its name, or an entry that stands for nothing.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from harness.errors import CannotCheck
from harness.execution.bundles import Bundle
from harness.files import write_new
from harness.planning.graph import Plan
from harness.stages.context import Resources, Sources
from harness.store.leases import EXPIRY_SECONDS, Lease
from harness.store.processes import this_cluster
from harness.store.squeue import THE_QUEUE, Queue
from harness.store.store import Store
from harness.store.submissions import Ledger, Submission, uuid_of
from harness.store.turns import wait_for_lease
from harness.studies.activity import read_activity, tasks_in_queue
from harness.studies.state import Remaining, read_states, remaining
from harness.wording import counted
from harness.worker.source_state import source_digest
from slurm.arrays import Array, packed_to, plan_arrays, plan_bundles, tasks_waited_for
from slurm.batch_file import batch_file, submission_environment
from slurm.cluster import read_limits, sbatch
from slurm.profiles import Profile, Profiles

POLL_SECONDS = 2.0
ENDING_SECONDS = 40.0  # more than SLURM's KillWait by default


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a plan is submitted with: the profiles, and the most tasks of the store in the queue (None: no limit).

    estimated: seconds of each stage, for who compares them later.
    """

    profiles: Profiles
    max_jobs: int | None = None
    estimated: Mapping[str, float] = field(default_factory=dict)

    def profile_of(self, plan: Plan) -> Callable[[Bundle], Profile]:
        """The profile of a bundle: that of its first stage."""
        return lambda bundle: self.profiles.for_stage(bundle.stages[0].kind, plan.work(bundle.stages[0].stage_id))


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """What a pass came to. Stage ids.

    queued: all that are in the queue now, or run in a task. tasks, arrays: how many of each this pass queued; jobs:
    SLURM's ids of the arrays. left_out: could run, but a limit keeps them out; reason: which. cancelled: not queued
    until `harness retry`. blocked: they depend on those. elsewhere: other processes run them. refused: place of a
    profile -> why sbatch refuses its tasks.
    """

    queued: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    arrays: int = 0
    tasks: int = 0
    left_out: tuple[str, ...] = ()
    reason: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()
    cancelled: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()


@dataclass
class _Pass:
    """One submission while it is made.

    room: how many more tasks fit. homes: stage id -> the name of its task; jobs: that name -> SLURM's id of it; new:
    the tasks of this pass. reason: why something was left out. refused: as in `Submitted`.
    """

    plan: Plan
    store: Store
    study: str
    sources: Sources
    resources: Resources
    target: Target
    room: int
    source: str = field(default_factory=source_digest)
    homes: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    new: set[str] = field(default_factory=set)
    accepted: list[str] = field(default_factory=list)
    reason: str = ""
    refused: dict[str, str] = field(default_factory=dict)

    def submit_all(self, arrays: Sequence[Array], right: Lease) -> None:
        """Queue the arrays whose parents are queued, as far as there is room; notes why others were left out."""
        for array in arrays:
            waits_in_vain = any(stage_id not in self.homes for stage_id in array.after)
            if waits_in_vain or array.profile.place in self.refused:
                continue
            fitting = array.first(self.room)
            if len(fitting.tasks) < len(array.tasks):
                limit = "--max-jobs" if self.target.max_jobs else "MaxJobCount of the cluster"
                self.reason = self.reason or f"{limit} leaves no room for more tasks"
            if fitting.tasks:
                right.check()
                self._submit(fitting)

    def _submit(self, array: Array) -> None:
        name = uuid.uuid4().hex
        submission = self._entry(name, array)
        after = [self.jobs[task] for task in submission.after]
        ledger = self.store.ledger
        for stage_id in array.after:
            if self.homes[stage_id] not in self.new:
                ledger.note_needed(uuid_of(self.homes[stage_id]), stage_id)
        write_new(ledger.batch_path(name), batch_text(self.store, name, len(array.tasks), array.profile, after))
        ledger.write(submission)
        answer = sbatch(ledger.batch_path(name), submission_environment(os.environ))
        job = answer.job or (_job_of(THE_QUEUE.fresh(), name) if answer.is_unknown else "")
        if job:
            self._taken(submission, job)
        elif answer.is_unknown:  # the entry stays: the array may still come to be queued, and is then known by its name
            self.room, self.reason = 0, self.reason or "sbatch did not answer in time"
        else:
            ledger.withdraw(name)
            if answer.is_limit:
                self.room, self.reason = 0, self.reason or f"sbatch: {answer.refusal}"
            else:
                self.refused[array.profile.place] = answer.refusal

    def _taken(self, submission: Submission, job: str) -> None:
        self.store.ledger.note_job(submission.uuid, job)
        self.accepted.append(job)
        self.room -= len(submission.tasks)
        for index, task in enumerate(submission.tasks):
            name = submission.task(index)
            self.new.add(name)
            self.homes.update(dict.fromkeys(task, name))
            self.jobs[name] = f"{job}_{index}"

    def _entry(self, name: str, array: Array) -> Submission:
        profile = array.profile
        return Submission(
            uuid=name,
            study=self.study,
            user=os.getuid(),
            cluster=this_cluster(),
            profile={**profile.as_json(), "place": profile.place},
            sources=self.sources.as_json(),
            resources=asdict(self.resources),
            source=self.source,
            tasks=tuple(task.stage_ids for task in array.tasks),
            needed=array.needed,
            after=tasks_waited_for(array, self.homes),
            created=time.time(),
            estimated=_hours_by_kind(self.plan, array, self.target.estimated),
        )


def _hours_by_kind(plan: Plan, array: Array, seconds: Mapping[str, float]) -> dict[str, float]:
    """Kind -> hours of one stage of an array, on the mean of those that are known."""
    known: dict[str, list[float]] = {}
    for stage_id in array.stage_ids:
        if stage_id in seconds:
            known.setdefault(plan.stages[stage_id].kind, []).append(seconds[stage_id])
    return {kind: sum(found) / len(found) / 3600 for kind, found in known.items()}


def batch_text(store: Store, name: str, num_tasks: int, profile: Profile, after: Sequence[str] = ()) -> str:
    """The batch file of an array of this store. Raises UsageError for paths that SLURM cannot hold."""
    root = store.root.absolute()
    return batch_file(
        profile,
        name=name,
        log=Ledger(root / "submissions").folder / f"{name}_%a.log",
        num_tasks=num_tasks,
        command=profile.command("-P", "-u", "-m", "slurm.job", str(root), name),
        directory=root,
        after=after,
    )


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """What a pass would submit now. held: stage id -> its task, of what is queued or runs in one.

    waiting: stages to submit. room: how many more tasks fit. elsewhere: stages that other processes run, in no task.
    """

    arrays: Sequence[Array]
    held: Mapping[str, str]
    waiting: Sequence[str]
    elsewhere: Sequence[str]
    finished: frozenset[str]
    room: int
    work: Remaining


def prospect(plan: Plan, store: Store, target: Target, queue: Queue) -> Prospect:
    """What there is to submit, as the store, the queue and the cluster's limits are now."""
    limits = read_limits()
    activity = read_activity(plan, store, queue)
    states = read_states(plan, store, activity)
    work = remaining(plan, states)
    held = {stage_id: task for stage_id, task in tasks_in_queue(activity).items() if task in queue.tasks}
    finished = frozenset(stage_id for stage_id, state in states.items() if state == "done")
    elsewhere = [i for i in work.waiting if i in activity.running and i not in held and _is_fresh(store, i)]
    out = {*elsewhere}
    waiting = []
    for stage_id in work.waiting:  # parents first; what depends on a stage that runs elsewhere comes with a later pass
        if stage_id in out or out.intersection(plan.stages[stage_id].parents.values()):
            out.add(stage_id)
        elif stage_id not in held:
            waiting.append(stage_id)
    of_store = {*store.ledger.uuids()}
    in_queue = sum(uuid_of(task) in of_store for task in queue.tasks)
    room = limits.max_jobs - len(queue.tasks)
    if target.max_jobs is not None:
        room = min(room, target.max_jobs - in_queue)
    arrays = plan_arrays(
        plan,
        plan_bundles(plan, waiting, finished | held.keys()),
        finished,
        target.profile_of(plan),
        lambda profile: profile.bundles_per_task,
        max(limits.max_array - 1, 1),
    )
    return Prospect(
        arrays=packed_to(arrays, room),
        held=held,
        waiting=waiting,
        elsewhere=elsewhere,
        finished=finished,
        room=room,
        work=work,
    )


def submit(
    plan: Plan,
    store: Store,
    study: str,
    sources: Sources,
    resources: Resources,
    target: Target,
    report: Callable[[str], None] = print,
) -> Submitted:
    """Queue every stage of the study that can run and is neither done nor queued.

    Raises CannotCheck where squeue does not answer; then nothing was submitted. An array that sbatch refuses, and what
    depends on it, is left out. Raises StoreError where an entry of tasks in the queue cannot be read.
    """
    waiting = "waiting for another submission to this store"
    with wait_for_lease(store.submission_lease_path, lambda: report(waiting)).held() as right:
        queue = _settled_queue(store, report)
        heal(store.ledger, queue)
        for name in {uuid_of(task) for task in queue.tasks}.intersection(store.ledger.uuids()):
            store.ledger.read(name)  # an entry that cannot be read hides what its tasks have
        found = prospect(plan, store, target, queue)
        this_pass = _Pass(plan, store, study, sources, resources, target, found.room, homes=dict(found.held))
        this_pass.jobs = {name: task.job for name, task in queue.tasks.items()}
        this_pass.submit_all(found.arrays, right)
    in_queue = this_pass.homes.keys() - found.finished
    return Submitted(
        queued=tuple(stage_id for stage_id in plan.stages if stage_id in in_queue),
        jobs=tuple(this_pass.accepted),
        arrays=len(this_pass.accepted),
        tasks=len(this_pass.new),
        left_out=tuple(stage_id for stage_id in found.waiting if stage_id not in this_pass.homes),
        reason=this_pass.reason,
        refused=this_pass.refused,
        elsewhere=tuple(found.elsewhere),
        cancelled=found.work.cancelled,
        blocked=found.work.downstream,
    )


def _settled_queue(store: Store, report: Callable[[str], None]) -> Queue:
    """The queue once none of this store's tasks is about to end: what becomes of such a one is not known yet.

    Waits up to `ENDING_SECONDS`. Raises CannotCheck where squeue does not answer.
    """
    own, told = set(store.ledger.uuids()), False
    deadline = time.monotonic() + ENDING_SECONDS
    while True:
        queue = THE_QUEUE.fresh(store.ledger.submitters())
        if not queue.answers:
            raise CannotCheck(f"{queue.problem}, so what is queued is not known and nothing was submitted.")
        ending = [name for name, task in queue.tasks.items() if task.state == "CG" and uuid_of(name) in own]
        if not ending or time.monotonic() > deadline:
            return queue
        if not told:
            report(f"waiting for {counted(len(ending), 'task')} to end")
            told = True
        time.sleep(POLL_SECONDS)


def _is_fresh(store: Store, stage_id: str) -> bool:
    """Whether the holder of a stage's lease gave a sign of life of late. Only advice: clocks may differ a little."""
    folder = store.stage(stage_id).lease_path
    try:
        newest = max(entry.stat().st_mtime for entry in os.scandir(folder))
    except (OSError, ValueError):
        return False
    return time.time() - newest < 5 * EXPIRY_SECONDS


def heal(ledger: Ledger, queue: Queue) -> list[str]:
    """Note the job of every entry that has none and that the queue knows by its name; returns their uuids."""
    found = []
    for name in {uuid_of(task) for task in queue.tasks} & set(ledger.uuids()):
        if not ledger.job(name):
            ledger.note_job(name, _job_of(queue, name))
            found.append(name)
    return found


def _job_of(queue: Queue, name: str) -> str:
    return next((task.job.partition("_")[0] for key, task in queue.tasks.items() if uuid_of(key) == name), "")
