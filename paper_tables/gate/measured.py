"""Measured: a study's numbers as the gate compares them: values by seed, counts of zeros, conditions."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.planning.graph import Plan
from harness.specs import Cell
from harness.studies.results import counts_of
from paper_tables.gate.conditions import without_seeds
from paper_tables.gate.expected import OPENING, NumberKey, RowKey, StageKey
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
class MeasuredLoss:
    """Of the pre-training stages of one key: losses by stage that is done, and the ids of all in `Measured.stages`."""

    losses: Sequence[float]
    missing: int
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """zeros: for each row the (zeros, of) that its cells have, every pair once; rows without a count have none."""

    study: str
    numbers: Mapping[NumberKey, MeasuredNumber]
    zeros: Mapping[RowKey, Sequence[tuple[int, int]]]
    losses: Mapping[StageKey, MeasuredLoss]
    stages: Plan


def measured(found: StudyNumbers) -> Measured:
    stages, ids = without_seeds(found.study.plan)
    numbers = {number_key(row): _number(row, ids) for row in found.rows}
    return Measured(found.study.name, numbers | _opening_losses(found, ids), _zeros(found), _losses(found, ids), stages)


def number_key(row: Row) -> NumberKey:
    quantization = "int8" if row.bits == 8 else "none"
    return NumberKey(row.model, row.method, row.sparsity, quantization, row.task, row.metric)


def independent(seeds: Mapping[str, float], *, of_prunings: bool = False) -> list[float]:
    """The values that count as one draw each: seeds; or, over several prunings, the mean of each pruning's seeds.

    of_prunings: one pruning is one draw, too, as where the seeds that these are held against are of several.
    """
    by_pruning: dict[str, list[float]] = defaultdict(list)
    for seed, value in seeds.items():
        by_pruning[seed.partition(PRUNING)[2]].append(value)
    if of_prunings or len(by_pruning) > 1:
        return [statistics.fmean(values) for values in by_pruning.values()]
    return list(seeds.values())


def prunings(seeds: Mapping[str, float]) -> int:
    """How many prunings the seeds hang on."""
    return len({seed.partition(PRUNING)[2] for seed in seeds})


PRUNING = " pruning "


def seed_name(seed: int, pruning_seed: int | None) -> str:
    """ "3", or "3 pruning 1"; the pruning of seed 0 is not named."""
    return f"{seed}{PRUNING}{pruning_seed}" if pruning_seed else str(seed)


def _number(row: Row, ids: Mapping[str, str]) -> MeasuredNumber:
    values = {seed_name(each.seed, each.pruning_seed): each.value for each in row.seeds if each.value is not None}
    return MeasuredNumber(values, row.missing, tuple(dict.fromkeys(ids[stage_id] for stage_id in row.stage_ids)))


def _opening_losses(found: StudyNumbers, ids: Mapping[str, str]) -> dict[NumberKey, MeasuredNumber]:
    """Of each row and task: the opening loss of the stage that trained the scored model.

    None of int8: that training begins where another ended, and tells of that one's luck alone (docs/gate.md).
    """
    plan = found.study.plan
    cells: dict[NumberKey, list[Cell]] = defaultdict(list)
    for cell in sorted(cell for cell in plan.paths if cell.quantization == "none"):
        cells[NumberKey(cell.model, cell.method, cell.sparsity, cell.quantization, cell.task, OPENING)].append(cell)
    losses = {}
    for key, several in cells.items():
        ends = {cell: plan.endpoint(cell) for cell in several}
        models = {cell: plan.stages[end].parents.get("model", "") for cell, end in ends.items()}
        values = {cell: _loss(found, model, windows=1) for cell, model in models.items()}
        seeds = {seed_name(c.seed, c.pruning_seed): value for c, value in values.items() if value is not None}
        stages = tuple(dict.fromkeys(ids[end] for end in ends.values()))
        if seeds or any(model not in found.records for model in models.values()):
            losses[key] = MeasuredNumber(seeds, len(several) - len(seeds), stages)
    return losses


def _losses(found: StudyNumbers, ids: Mapping[str, str]) -> dict[StageKey, MeasuredLoss]:
    """Of each pre-training stage that a cell needs: those that train, and on no task."""
    stages: dict[StageKey, list[str]] = defaultdict(list)
    for stage_id, spec in found.study.plan.stages.items():
        model = found.study.plan.base_model(spec)
        if model is not None and "learning_rate" in spec.parameters and "task" not in spec.parameters:
            stages[StageKey(spec.kind, model, spec.parameters.get("sparsity"))].append(stage_id)
    losses = {}
    for key, several in stages.items():
        values = [value for stage_id in several if (value := _loss(found, stage_id)) is not None]
        losses[key] = MeasuredLoss(
            values, len(several) - len(values), tuple(dict.fromkeys(ids[stage_id] for stage_id in several))
        )
    return losses


def _loss(found: StudyNumbers, stage_id: str, windows: int | None = None) -> float | None:
    """A stage's loss in nats, mean over its first windows, or all; None where its record has none, or no finite one.

    The record has it in up to ten windows of equal length.
    """
    training = (found.records.get(stage_id) or {"result": {}})["result"].get("training")
    curve = training.get("loss_curve") if isinstance(training, Mapping) else None
    values = [point["loss"] for point in curve or ()][:windows]
    return statistics.fmean(values) if values and all(map(math.isfinite, values)) else None


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
    parts = [counts_of(trained["result"])] if trained else []
    if cell.quantization == "none":
        parts.append(counts_of(scored["result"], "artifact_sparsity"))
    yield from (_pair(part) for part in parts if {"encoder_zeros", "encoder_numel"} <= part.keys())


def _pair(part: Mapping[str, Any]) -> tuple[int, int]:
    return part["encoder_zeros"], part["encoder_numel"]
