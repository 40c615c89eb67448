"""Which stages run and which are queued at one moment: from the leases of a store, its ledger, and one squeue.

A stage runs while its lease is held by a process that is not known to be gone. It is queued while a task of a cluster
that has it is in the queue, and has not failed at it; also once that task has started and has not come to it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.planning.graph import Plan
from harness.store.attempts import outcome_named
from harness.store.processes import ALLOCATION, is_live
from harness.store.squeue import THE_QUEUE, Queue, QueuedTask
from harness.store.store import Store
from harness.store.submissions import uuid_of


class Place(NamedTuple):
    """Where a stage runs or waits. task: as in `store.submissions`; "": none. reason: host, or why it waits."""

    task: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Activity:
    """Stages that run, and stages that a scheduler has queued, at one moment.

    problem: why the scheduler did not say which are queued; "": it did, or nothing was ever submitted.
    """

    running: Mapping[str, Place] = field(default_factory=dict)
    queued: Mapping[str, Place] = field(default_factory=dict)
    problem: str = ""


def read_activity(plan: Plan, store: Store, queue: Queue | None = None) -> Activity:
    """The unfinished stages of a plan that run or are queued.

    queue: an answer to take; None: it is asked once, for the tasks of everybody who submitted to the store; not from
    within a task, and not where nothing was ever submitted.
    """
    leased, finished = store.leased(), store.finished(plan.stages)
    unfinished = {stage_id for stage_id in plan.stages if stage_id not in finished}
    holders = {i: store.stage(i).holder() for i in unfinished & leased}  # before the question: see `is_gone`
    queue = _queue(store) if queue is None else queue
    running = {}
    for stage_id, holder in holders.items():
        if holder is not None and is_live(holder):
            where = holder.owner.get("host", "an unknown machine")
            running[stage_id] = Place(str(holder.owner.get("allocation", "")), f"on {where}")
    queued = {} if queue is None else _queued(store, queue, unfinished - running.keys())
    return Activity(running, queued, "" if queue is None else queue.problem)


def _queue(store: Store) -> Queue | None:
    """None: there is nothing to ask."""
    if os.environ.get(ALLOCATION):
        return None
    submitters = store.ledger.submitters()
    return THE_QUEUE.fresh(submitters) if submitters else None


def _queued(store: Store, queue: Queue, stage_ids: set[str]) -> dict[str, Place]:
    ledger = store.ledger
    known = set(ledger.uuids())
    found: dict[str, Place] = {}
    tried = store.attempted()
    for submission in ledger.read_sound(sorted({uuid_of(task) for task in queue.tasks} & known)):
        for stage_id, name in submission.stages():
            task = queue.tasks.get(name)
            if task is None or stage_id not in stage_ids:
                continue
            if stage_id in tried and _has_given_up(store, stage_id, name, task):
                continue
            found[stage_id] = Place(name, task.reason if task.is_waiting else "its task has started")
    return found


def _has_given_up(store: Store, stage_id: str, name: str, task: QueuedTask) -> bool:
    """Whether a task that is in the queue has failed at one of its stages, so that it will not start it again."""
    if task.is_waiting and not task.restarts:
        return False
    last = store.stage(stage_id).last_attempt()
    if last is None or last.allocation != name or last.retried or last.outcome is None:
        return False
    return not outcome_named(last.outcome).retry


def tasks_in_queue(activity: Activity) -> Mapping[str, str]:
    """Stage id -> the task that has it, of all that run in one or are queued."""
    return {i: place.task for i, place in {**activity.running, **activity.queued}.items() if place.task}
