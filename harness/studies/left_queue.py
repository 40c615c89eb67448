"""Stages whose task has left a cluster's queue without a result, and without a failure that the store has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.planning.graph import Plan
from harness.store.processes import this_cluster
from harness.store.store import Store
from harness.store.submissions import Ledger, Submission, uuid_of
from harness.studies.activity import Activity
from harness.wording import cut

LAST_BYTES = 4096  # of a log, in which its last line is looked for


@dataclass(frozen=True)
class LeftQueue:
    """task: as in `store.submissions`. log: its own, which need not be there."""

    task: str
    log: Path

    def last_line(self) -> str:
        """Of the log, cut to the width of a terminal; "" where it has none."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(file.seek(0, os.SEEK_END) - LAST_BYTES, 0))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return next((cut(line.strip()) for line in reversed(lines) if line.strip()), "")


def tasks_with_a_job(ledger: Ledger) -> set[str]:
    """Uuids of the submissions that SLURM has taken, and names of the tasks that have started there.

    To be read before the queue is: what is submitted after that is not in its answer.
    """
    try:
        names = os.listdir(ledger.folder)
    except OSError:
        return set()
    return {name.rpartition(".")[0] for name in names if name.endswith((".job", ".log"))}


def read_left_queue(
    plan: Plan, store: Store, states: Mapping[str, str], activity: Activity, taken: set[str]
) -> dict[str, LeftQueue]:
    """The pending stages that could run, whose newest submission is this user's on this cluster and left the queue.

    taken: as by `tasks_with_a_job`. None where squeue did not answer. A stage that anything else was done with since,
    such as `harness retry`, is left out.
    """
    queue = activity.queue
    if queue is None or not queue.answers:
        return {}
    could_run = {
        i
        for i, spec in plan.stages.items()
        if states[i] == "pending" and all(states[parent] == "done" for parent in spec.parents.values())
    }
    if not could_run:
        return {}
    ledger = store.ledger
    newest = _newest(ledger, could_run)
    tried = store.attempted() if newest else set()
    found = {}
    for stage_id in plan.stages:
        if stage_id not in newest:
            continue
        task, submission = newest[stage_id]
        if task in queue.tasks or taken.isdisjoint((task, uuid_of(task))):
            continue
        if submission.user != os.getuid() or submission.cluster != this_cluster():
            continue  # squeue may not show it
        if stage_id in tried and _was_touched_since(store, stage_id, task, submission):
            continue
        found[stage_id] = LeftQueue(task, ledger.log_path(task))
    return found


def _newest(ledger: Ledger, stage_ids: set[str]) -> dict[str, tuple[str, Submission]]:
    """Stage id -> its task in the newest submission that has it."""
    found: dict[str, tuple[str, Submission]] = {}
    for submission in sorted(ledger.read_sound(ledger.uuids()), key=lambda each: each.created):
        found.update((i, (task, submission)) for i, task in submission.stages() if i in stage_ids)
    return found


def _was_touched_since(store: Store, stage_id: str, task: str, submission: Submission) -> bool:
    """Whether the last attempt, after the submission, was another's, or had an end that somebody has cleared."""
    last = store.stage(stage_id).last_attempt()
    if last is None or (last.started or 0.0) < submission.created:
        return False
    return last.allocation != task or last.retried or last.outcome == "done"
