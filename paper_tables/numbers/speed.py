"""Speed: what latency stages measured of a study's models, machine by machine; nothing is compared across two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from paper_tables.numbers.rows import Row
from paper_tables.numbers.study_numbers import StudyNumbers

REFERENCE = "torch fp32"  # the runtime that others are compared with, and whose dense model is the reference


@dataclass(frozen=True)
class Measured:
    """One runtime at one size. scored: whether it computes what the cell's evaluation scored, but for rounding.

    p50_ms .. memory_bytes: as the record has them (`harness.runtimes.timing`).
    """

    runtime: str
    scored: bool
    examples: int
    tokens: int
    calls: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    mean_half_width_ms: float
    memory_bytes: int | None

    @property
    def size(self) -> tuple[int, int]:
        return self.examples, self.tokens


@dataclass(frozen=True)
class Machine:
    """words, threads: as records have them. by_evaluation: evaluation stage -> what was measured of its model."""

    words: str
    threads: int
    by_evaluation: Mapping[str, Sequence[Measured]]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(examples, tokens) that occur, in order."""
        return sorted({each.size for found in self.by_evaluation.values() for each in found})

    def of(self, row: Row) -> list[Measured]:
        """All that was measured of a row's models."""
        return [each for stage_id in row.stage_ids for each in self.by_evaluation.get(stage_id, ())]

    def seconds(self, row: Row, runtime: str, size: tuple[int, int]) -> float | None:
        """Median seconds of a call, the mean over the row's models; None where it was not measured."""
        found = [each.p50_ms for each in self.of(row) if (each.runtime, each.size) == (runtime, size)]
        return fmean(found) / 1000 if found else None

    def fastest(self, row: Row, size: tuple[int, int]) -> tuple[str, float] | None:
        """The runtime that is soonest done with what was scored, and its seconds."""
        names = {each.runtime for each in self.of(row) if each.scored}
        found = [(seconds, name) for name in names if (seconds := self.seconds(row, name, size)) is not None]
        return (min(found)[1], min(found)[0]) if found else None


def machines_of(numbers: StudyNumbers) -> list[Machine]:
    """Every machine and number of threads that the study's records have measurements of, in order."""
    found: dict[tuple[str, int], dict[str, list[Measured]]] = {}
    for evaluation, measures in numbers.measures.items():
        for stage_id in measures:
            told: Any = numbers.records.get(stage_id, {}).get("result", {}).get("latency")
            if told is not None and told["measured"]:
                place = found.setdefault((told["machine"], told["threads"]), {})
                place.setdefault(evaluation, []).extend(Measured(**each) for each in told["measured"])
    return [Machine(words, threads, by) for (words, threads), by in sorted(found.items())]


def reference_seconds(machine: Machine, rows: Sequence[Row], row: Row, size: tuple[int, int]) -> float | None:
    """Of the dense fp32 model of the row's base model, on whatever task: how long a call takes is not the task's."""
    dense = [each for each in rows if (each.model, each.method, each.bits) == (row.model, "dense", 32)]
    same_task = [each for each in dense if each.task == row.task]
    found = [machine.seconds(each, REFERENCE, size) for each in (*same_task, *dense)]
    return next((seconds for seconds in found if seconds is not None), None)
