"""Measured: a study's numbers as the gate compares them: values by seed, counts of zeros, conditions."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.planning.graph import Plan
from harness.specs import Cell
from paper_tables.gate.conditions import without_seeds
from paper_tables.gate.expected import NumberKey, RowKey
from paper_tables.numbers.rows import Row
from paper_tables.numbers.study_numbers import StudyNumbers


@dataclass(frozen=True)
class MeasuredNumber:
    """seeds: value in percent by seed, as in the expected file. missing: planned seeds without a result.

    stages: ids in `Measured.stages` of the evaluations of its seeds; more than one where their recipes differ.
    """

    seeds: Mapping[str, float]
    missing: int
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """zeros: for each row the (zeros, of) that its cells have, every pair once; rows without a count have none."""

    study: str
    numbers: Mapping[NumberKey, MeasuredNumber]
    zeros: Mapping[RowKey, Sequence[tuple[int, int]]]
    stages: Plan


def measured(found: StudyNumbers) -> Measured:
    stages, ids = without_seeds(found.study.plan)
    return Measured(
        study=found.study.name,
        numbers={number_key(row): _number(row, ids) for row in found.rows},
        zeros=_zeros(found),
        stages=stages,
    )


def number_key(row: Row) -> NumberKey:
    quantization = "int8" if row.bits == 8 else "none"
    return NumberKey(row.model, row.method, row.sparsity, quantization, row.task, row.metric)


def independent(seeds: Mapping[str, float]) -> list[float]:
    """The values that count as one draw each: seeds; or, over several prunings, the mean of each pruning's seeds."""
    by_pruning: dict[str, list[float]] = defaultdict(list)
    for seed, value in seeds.items():
        by_pruning[seed.partition(PRUNING)[2]].append(value)
    if len(by_pruning) > 1:
        return [statistics.fmean(values) for values in by_pruning.values()]
    return list(seeds.values())


PRUNING = " pruning "


def seed_name(seed: int, pruning_seed: int | None) -> str:
    """ "3", or "3 pruning 1"; the pruning of seed 0 is not named."""
    return f"{seed}{PRUNING}{pruning_seed}" if pruning_seed else str(seed)


def _number(row: Row, ids: Mapping[str, str]) -> MeasuredNumber:
    values = {seed_name(each.seed, each.pruning_seed): each.value for each in row.seeds if each.value is not None}
    return MeasuredNumber(values, row.missing, tuple(dict.fromkeys(ids[stage_id] for stage_id in row.stage_ids)))


def _zeros(found: StudyNumbers) -> dict[RowKey, list[tuple[int, int]]]:
    counted: dict[RowKey, dict[tuple[int, int], None]] = defaultdict(dict)
    for cell in found.study.plan.paths:
        for count in _counts(found, cell):
            counted[RowKey(cell.model, cell.method, cell.sparsity, cell.quantization)][count] = None
    return {key: sorted(counts) for key, counts in counted.items()}


def _counts(found: StudyNumbers, cell: Cell) -> Iterator[tuple[int, int]]:
    """Of the model as it was scored, and of the one that training left.

    Of int8 only the latter: its codes have further zeros, by rounding, which are not the same on every machine.
    """
    plan, end = found.study.plan, found.study.plan.endpoint(cell)
    scored = found.records.get(end)
    if scored is None:
        return
    trained = found.records.get(plan.stages[end].parents.get("model", ""))
    parts = [trained["result"].get("sparsity") if trained else None]
    if cell.quantization == "none":
        parts.append(scored["result"].get("artifact_sparsity"))
    yield from (_pair(part) for part in parts if isinstance(part, Mapping) and "encoder_zeros" in part)


def _pair(part: Mapping[str, Any]) -> tuple[int, int]:
    return part["encoder_zeros"], part["encoder_numel"]
