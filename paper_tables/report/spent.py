"""Spent: CPU- and GPU-hours by method and stage kind, from attempts; from the record where a stage has none left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.planning.graph import Plan
from harness.studies.hours import Spent, Try, methods_of
from harness.studies.verification import Records


@dataclass(frozen=True)
class Spending:
    """spent: by method and kind, in the order of the plan. from_attempts, from_records: stages whose time is known so.

    unknown: finished stages of which neither tells a time.
    """

    spent: Mapping[tuple[str, str], Spent]
    from_attempts: int
    from_records: int
    unknown: int

    @property
    def total(self) -> Spent:
        total = Spent()
        for each in self.spent.values():
            for name in ("stages", "wall", "cpu", "gpu", "lost"):
                setattr(total, name, getattr(total, name) + getattr(each, name))
        return total


def spending(plan: Plan, records: Records, tries: Sequence[Try]) -> Spending:
    """Pure. tries: the attempts that are known; a record stands in for those of a stage that has none."""
    tried = {each.stage_id for each in tries}
    recorded = [
        told
        for stage_id, record in records.items()
        if stage_id not in tried and (told := _of_record(stage_id, record)) is not None
    ]
    methods = methods_of(plan)
    spent = {(methods[stage_id], spec.kind): Spent() for stage_id, spec in plan.stages.items()}
    for each in (*tries, *recorded):
        spent[methods[each.stage_id], plan.stages[each.stage_id].kind].add(each)
    for stage_id in records:
        spent[methods[stage_id], plan.stages[stage_id].kind].stages += 1
    known = tried | {each.stage_id for each in recorded}
    return Spending(spent, len(tried), len(recorded), sum(stage_id not in known for stage_id in records))


def _of_record(stage_id: str, record: Mapping[str, Any]) -> Try | None:
    """The attempt that made the record; those that came before it are not known. None where it tells no time."""
    times = record.get("times", {})
    try:
        hours = max(float(times["ended"]) - float(times["started"]), 0.0) / 3600
        threads = max(int(record["parameters"].get("threads", 1)), 1)
    except (KeyError, TypeError, ValueError):
        return None
    torch = record.get("provenance", {}).get("torch") or {}
    return Try(stage_id, hours, threads, float(bool(torch.get("gpus"))), is_lost=False)
