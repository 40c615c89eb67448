"""Failures: the stages that failed or were cancelled, with the first line of what they said."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from harness.planning.graph import Plan
from harness.studies.status import failure_class, first_line
from paper_tables.report.coverage import Attempts, Coverage


@dataclass(frozen=True)
class Failure:
    """label: the stage's name for people. how: its last attempt ended. line: the first of its message; "": none.

    tries: number of attempts. cells: how many are not done because of it.
    """

    stage_id: str
    label: str
    how: str
    line: str
    tries: int
    cells: int


def failures(plan: Plan, coverage: Coverage, attempts: Attempts) -> list[Failure]:
    """In the order of the plan; only of stages that hold a cell up."""
    held_up = Counter(found.stage for _, found in coverage.missing if found.stage)
    return [
        Failure(
            stage_id=stage_id,
            label=plan.label(stage_id),
            how=failure_class(attempts[stage_id][-1]),
            line=first_line(attempts[stage_id][-1].message),
            tries=len(attempts[stage_id]),
            cells=held_up[stage_id],
        )
        for stage_id in plan.stages
        if stage_id in held_up and attempts.get(stage_id)
    ]
