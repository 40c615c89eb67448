"""Idle tasks: those that wait in a cluster's queue with nothing left that they would start."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Set
from dataclasses import replace

from harness.store.processes import this_cluster
from harness.store.squeue import THE_QUEUE, Queue
from harness.store.store import Store
from harness.store.submissions import Submission, uuid_of
from harness.studies.lineage import Lineage


def idle_tasks(submissions: Iterable[Submission], queue: Queue, stopped: Set[str], finished: Set[str]) -> list[str]:
    """SLURM's names of the tasks that wait, whose unfinished stages are all stopped, and on which nobody waits. Pure.

    stopped: stages that are cancelled, or depend on such a one. A task with a finished stage that other tasks start
    from is not idle: when it has ended they start, and without it they would leave the queue.
    """
    found = []
    for submission in submissions:
        needed = set(submission.needed)
        for index, stage_ids in enumerate(submission.tasks):
            task = queue.tasks.get(submission.task(index))
            if task is None or not task.is_waiting:
                continue
            unfinished = set(stage_ids) - finished
            lets_others_start = not finished.isdisjoint(needed.intersection(stage_ids))
            if unfinished and unfinished <= stopped and not lets_others_start:
                found.append(task.job)
    return found


def own_idle_tasks(store: Store, lineage: Lineage, touched: Collection[str]) -> list[str]:
    """The idle ones among this user's tasks on this cluster, as of its last answer.

    touched: stages that were cancelled just now.
    """
    ledger = store.ledger
    if not (known := set(ledger.uuids())):
        return []
    queue = THE_QUEUE.queue()
    uuids = sorted({uuid_of(task) for task in queue.tasks} & known)
    reached = set(lineage.with_descendants(touched))
    own = [
        each
        for each in ledger.read_sound(uuids)
        if each.user == os.getuid() and not reached.isdisjoint(stage_id for stage_id, _ in each.stages())
    ]
    own = [replace(each, needed=tuple(ledger.needed(each))) for each in own if each.cluster == this_cluster()]
    stages = {stage_id for submission in own for stage_id, _ in submission.stages()}
    finished = store.finished(stages)
    tried = store.attempted()
    cancelled = {i for i in stages - finished if i in tried and store.stage(i).is_cancelled()}
    return idle_tasks(own, queue, set(lineage.with_descendants(cancelled | set(touched))), finished)
