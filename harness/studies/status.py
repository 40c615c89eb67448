"""The state of a study: what `harness status` shows, and its public form as JSON.

Only looks: no record is read, and none is verified. Tables and whatever else reports numbers do that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from harness.progress import StageProgress, read_progress
from harness.store.attempts import Attempt, outcome_named
from harness.store.store import Store
from harness.studies.activity import Activity, read_activity
from harness.studies.cell_state import CellState, cell_states
from harness.studies.left_queue import LeftQueue, read_left_queue, tasks_with_a_job
from harness.studies.state import STATES, read_states
from harness.studies.study import Study

LOOKED_AT = ("running", "failed", "cancelled")


@dataclass(frozen=True)
class Status:
    """states: of every stage. last: the last attempt of those that run, failed or are cancelled, where they have one.

    progress: of those that run, as far as they tell. left_queue: pending stages whose task is gone without a result.
    """

    study: Study
    store: Store
    activity: Activity
    states: Mapping[str, str]
    last: Mapping[str, Attempt]
    progress: Mapping[str, StageProgress]
    left_queue: Mapping[str, LeftQueue] = field(default_factory=dict)

    @cached_property
    def cells(self) -> list[CellState]:
        """In the order of the plan."""
        return list(cell_states(self.study.plan, self.states).values())

    @cached_property
    def cell_counts(self) -> dict[str, int]:
        """Number of cells by state, of the states that occur."""
        counts = Counter(cell.state for cell in self.cells)
        return {state: counts[state] for state in STATES if counts[state]}

    @property
    def is_done(self) -> bool:
        return self.cell_counts.keys() <= {"done"}

    @property
    def is_active(self) -> bool:
        return any(state in ("running", "queued") for state in self.states.values())

    def in_state(self, state: str) -> list[str]:
        """The stages in that state, parents first."""
        return [stage_id for stage_id, found in self.states.items() if found == state]

    def label(self, stage_id: str) -> str:
        return self.study.plan.label(stage_id)

    def log(self, stage_id: str) -> str:
        return str(self.store.stage(stage_id).log_path(self.last[stage_id].number))

    def why_queued(self, stage_id: str) -> str:
        return self.activity.waits_for(self.study.plan, stage_id)

    # -- as JSON

    def as_json(self) -> dict[str, Any]:
        plan = self.study.plan
        return {
            "study": self.study.name,
            "preset": self.study.recipe["preset"],
            "cells": {"total": len(self.cells), "done": self.cell_counts.get("done", 0)},
            "queue_problem": self.activity.problem,
            "running": [self._running(i) for i in self.in_state("running")],
            "queued": [self._queued(i) for i in self.in_state("queued")],
            "failed": [self._ended(i) for i in self.in_state("failed") if i in self.last],
            "cancelled": [self._ended(i) for i in self.in_state("cancelled") if i in self.last],
            "left_queue": [
                {"id": i, "task": left.task, "message": left.last_line(), "log": str(left.log)}
                for i, left in self.left_queue.items()
            ],
            "cell_states": [self._cell(i, c.as_json()) for c, i in zip(plan.paths, self.cells, strict=True)],
            "stages": [
                {"id": i, "kind": plan.stages[i].kind, "state": state, "label": plan.label(i)}
                for i, state in self.states.items()
            ],
        }

    def _running(self, stage_id: str) -> dict[str, Any]:
        progress = self.progress.get(stage_id)
        return {"id": stage_id, "progress": asdict(progress) if progress else None, **self._place(stage_id)}

    def _queued(self, stage_id: str) -> dict[str, Any]:
        return {"id": stage_id, **self._place(stage_id)}

    def _place(self, stage_id: str) -> dict[str, str]:
        """task: of a cluster, or "". user: somebody else who submitted it, or ""."""
        if (place := self.activity.running.get(stage_id)) is not None:
            return {"node": place.reason.removeprefix("on "), "task": place.task, "user": place.user}
        place = self.activity.queued[stage_id]
        return {"reason": self.why_queued(stage_id), "task": place.task, "user": place.user}

    def _ended(self, stage_id: str) -> dict[str, Any]:
        last = self.last[stage_id]
        return {"id": stage_id, "class": failure_class(last), "message": last.message, "log": self.log(stage_id)}

    def _cell(self, found: CellState, cell: dict[str, Any]) -> dict[str, Any]:
        fields: dict[str, Any] = {**cell, "state": found.state, "stage": found.stage or None}
        if found.state == "running":
            progress = self.progress.get(found.stage)
            return {**fields, "progress": asdict(progress) if progress else None, **self._place(found.stage)}
        if found.state == "queued":
            return {**fields, **self._place(found.stage)}
        if found.stage in self.last:
            last = self.last[found.stage]
            return {**fields, "class": failure_class(last), "message": first_line(last.message)}
        return fields


def read_status(store: Store, study: Study) -> Status:
    """Asks squeue at most once."""
    plan = study.plan
    taken = tasks_with_a_job(store.ledger)
    activity = read_activity(plan, store)
    states = read_states(plan, store, activity)
    looked_at = {i: store.stage(i).last_attempt() for i, state in states.items() if state in LOOKED_AT}
    last = {stage_id: attempt for stage_id, attempt in looked_at.items() if attempt is not None}
    running = [stage_id for stage_id in last if states[stage_id] == "running"]
    told = {i: read_progress(store.stage(i).progress_path(last[i].number)) for i in running}
    progress = {stage_id: found for stage_id, found in told.items() if found is not None}
    left = read_left_queue(plan, store, states, activity, taken)
    return Status(study, store, activity, states, last, progress, left)


def failure_class(attempt: Attempt) -> str:
    return outcome_named(attempt.outcome or "").label


def first_line(message: str) -> str:
    return next((line.strip() for line in message.splitlines() if line.strip()), "")
