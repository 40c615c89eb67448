"""Which stages run and which are queued at one moment: from the leases of a store, its ledger, and one squeue.

A stage runs while its lease is held by a process that is not known to be gone. It is queued while a task of a cluster
that has it is in the queue, and has not failed at it; also once that task has started and has not come to it.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.planning.graph import Plan
from harness.store.attempts import may_try_again
from harness.store.processes import ALLOCATION, is_live
from harness.store.squeue import THE_QUEUE, Queue, QueuedTask
from harness.store.store import Store
from harness.store.submissions import uuid_of

STARTED = "its task has started"
NEW = "not yet considered by SLURM"
DEPENDENCY = "Dependency"  # SLURM's word for a task that waits for another


class Place(NamedTuple):
    """Where a stage runs or waits. task: as in `store.submissions`; "": none. reason: host, or why it waits.

    user: the name of who submitted the task, where that is somebody else.
    """

    task: str = ""
    reason: str = ""
    user: str = ""


@dataclass(frozen=True)
class Activity:
    """Stages that run, and stages that a scheduler has queued, at one moment.

    problem: why the scheduler did not say which are queued; "": it did, or there was nothing to ask. queue: its answer,
    for another look at the same moment.
    """

    running: Mapping[str, Place] = field(default_factory=dict)
    queued: Mapping[str, Place] = field(default_factory=dict)
    problem: str = ""
    queue: Queue | None = field(default=None, repr=False, compare=False)

    def waits_for(self, plan: Plan, stage_id: str) -> str:
        """Why a queued stage waits, for people: SLURM's reason, or the stages of another task that must end first."""
        place = self.queued[stage_id]
        if place.reason != DEPENDENCY:
            return place.reason
        others = sorted(plan.label(i) for i in self._others_before(plan, stage_id))
        if not others:
            return place.reason
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        return f"waits for {others[0]}{more}"

    def _others_before(self, plan: Plan, stage_id: str) -> list[str]:
        """The nearest stages before it that run or are queued, and not in its own task."""
        own = self.queued[stage_id].task
        found: dict[str, None] = {}
        before = [*plan.stages[stage_id].parents.values()]
        while before:
            parent = before.pop(0)
            place = self.running.get(parent) or self.queued.get(parent)
            if place is not None and place.task != own:
                found[parent] = None
            elif place is not None:
                before += plan.stages[parent].parents.values()
        return list(found)


def read_activity(plan: Plan, store: Store, queue: Queue | None = None) -> Activity:
    """The unfinished stages of a plan that run or are queued.

    queue: an answer to take; None: it is asked once, for the tasks of everybody who submitted to the store; not from
    within a task, nor where nothing is unfinished or was ever submitted.
    """
    leased, finished = store.leased(), store.finished(plan.stages)
    unfinished = {stage_id for stage_id in plan.stages if stage_id not in finished}
    holders = {i: store.stage(i).holder() for i in unfinished & leased}  # before the question: see `is_gone`
    queue = _queue(store) if queue is None and unfinished else queue
    running = {}
    for stage_id, holder in holders.items():
        if holder is not None and is_live(holder):
            where = holder.owner.get("host", "an unknown machine")
            user = _name_of(holder.owner.get("user"))
            running[stage_id] = Place(str(holder.owner.get("allocation", "")), f"on {where}", user)
    queued = {} if queue is None else _queued(plan, store, queue, unfinished - running.keys())
    return Activity(running, queued, "" if queue is None else queue.problem, queue)


def _queue(store: Store) -> Queue | None:
    """None: there is nothing to ask."""
    if os.environ.get(ALLOCATION):
        return None
    submitters = store.ledger.submitters()
    return THE_QUEUE.fresh(submitters) if submitters else None


def _name_of(user: object) -> str:
    """The name of another user than this one, by id; "" for this one."""
    if not isinstance(user, int) or user == os.getuid():
        return ""
    try:
        return pwd.getpwuid(user).pw_name
    except (KeyError, OverflowError):
        return f"user {user}"


def _queued(plan: Plan, store: Store, queue: Queue, stage_ids: set[str]) -> dict[str, Place]:
    ledger = store.ledger
    known = set(ledger.uuids())
    found: dict[str, Place] = {}
    tried = store.attempted()
    for submission in ledger.read_sound(sorted({uuid_of(task) for task in queue.tasks} & known)):
        user = _name_of(submission.user)
        given_up: set[str] = set()  # no task goes back to a stage that failed in it, nor to what starts from that
        for stage_id, name in submission.stages():  # parents first
            task = queue.tasks.get(name)
            if task is None or stage_id not in stage_ids:
                continue
            parents = plan.stages[stage_id].parents.values()
            if given_up.intersection(parents) or (stage_id in tried and _will_not_run(store, stage_id, name, task)):
                given_up.add(stage_id)
                continue
            found[stage_id] = Place(name, _reason(task), user)
    return found


def _reason(task: QueuedTask) -> str:
    if not task.is_waiting:
        return STARTED
    return NEW if task.reason in ("", "None") else task.reason


def _will_not_run(store: Store, stage_id: str, name: str, task: QueuedTask) -> bool:
    """Whether a task that is in the queue will not start one of its stages: it is cancelled, or has failed there."""
    attempts = store.stage(stage_id).attempts()
    if not attempts or attempts[-1].outcome is None:
        return False
    if attempts[-1].outcome == "cancelled":
        return True
    if (task.is_waiting and not task.restarts) or attempts[-1].allocation != name:
        return False
    return not may_try_again([attempt for attempt in attempts if attempt.allocation == name])


def tasks_in_queue(activity: Activity) -> Mapping[str, str]:
    """Stage id -> the task that has it, of all that run in one or are queued."""
    return {i: place.task for i, place in {**activity.running, **activity.queued}.items() if place.task}


def last_tasks(store: Store, stage_ids: Collection[str]) -> dict[str, str]:
    """Stage id -> its task in the newest submission that has it, in the queue or not; of the stages that have one."""
    submissions = store.ledger.read_sound(store.ledger.uuids())
    found: dict[str, str] = {}
    for submission in sorted(submissions, key=lambda each: each.created):
        found.update((stage_id, task) for stage_id, task in submission.stages() if stage_id in stage_ids)
    return found
