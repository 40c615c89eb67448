"""Relative: accuracy averaged over tasks, each relative to the dense model of the same size.

Of one seed: the mean over tasks of 100 * value / dense, a task of several metrics counting once. dense is the mean over
the seeds of the dense fp32 row. Only seeds with a value of every task of the model count: another set of tasks is
another average.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from harness.tasks import TASKS
from paper_tables.numbers.rows import Row, SeedValue

# mnli and mnli-mm are two splits of one task.
_TASK_OF = {reported_as: task.name for task in TASKS.values() for _, reported_as in task.evaluation_splits}

Column = tuple[str, str]
SeedKey = tuple[int, int | None]  # seed and pruning seed


class Line(NamedTuple):
    """What rows of one model have in common in a wide table."""

    model: str
    method: str
    sparsity: float
    transfer_kd: str
    bits: int


@dataclass(frozen=True)
class Average:
    """seeds: percent of dense by seed, in order of the rows; stage_id None, for a value is of several.

    published: the same from the paper's numbers, None where one of them is missing.
    """

    line: Line
    seeds: tuple[SeedValue, ...]
    published: float | None


@dataclass(frozen=True)
class Averages:
    """tasks: of each model that has an average, those it is over. left_out: lines that lack one of the tasks."""

    averages: tuple[Average, ...]
    tasks: Mapping[str, tuple[str, ...]]
    left_out: tuple[Line, ...]


def line_of(row: Row) -> Line:
    return Line(row.model, row.method, row.sparsity, row.transfer_kd, row.bits)


def averages(rows: Sequence[Row]) -> Averages:
    """Of every model that has a dense value of more than one task; rows in order of the tables."""
    by_model: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_model[row.model].append(row)
    found: list[Average] = []
    tasks: dict[str, tuple[str, ...]] = {}
    left_out: list[Line] = []
    for model, of_model in by_model.items():
        dense = {_column(row): row for row in of_model if (row.method, row.bits) == ("dense", 32) and row.value}
        of_dense = tuple(dict.fromkeys(map(_task_of, dense)))
        if len(of_dense) < 2:
            continue
        tasks[model] = of_dense
        for line, of_line in _by_line(of_model).items():
            if dense.keys() <= of_line.keys():
                found.append(_average(line, of_line, dense))
            else:
                left_out.append(line)
    return Averages(tuple(found), tasks, tuple(left_out))


def _column(row: Row) -> Column:
    return row.task, row.metric


def _task_of(column: Column) -> str:
    return _TASK_OF.get(column[0], column[0])


def _by_line(rows: Sequence[Row]) -> dict[Line, dict[Column, Row]]:
    found: dict[Line, dict[Column, Row]] = defaultdict(dict)
    for row in rows:
        found[line_of(row)][_column(row)] = row
    return found


def _average(line: Line, rows: Mapping[Column, Row], dense: Mapping[Column, Row]) -> Average:
    values: dict[SeedKey, dict[Column, float]] = defaultdict(dict)
    for column in dense:
        for seed in rows[column].seeds:
            if seed.value is not None:
                values[seed.seed, seed.pruning_seed][column] = seed.value
    ours = {column: row.value for column, row in dense.items() if row.value}
    seeds = tuple(
        SeedValue(seed, pruning_seed, _relative(found, ours) if found.keys() == ours.keys() else None, None)
        for (seed, pruning_seed), found in sorted(values.items(), key=_seed_order)
    )
    papers = {column: rows[column].published for column in dense}
    theirs = {column: row.published for column, row in dense.items()}
    complete_papers = {column: value for column, value in papers.items() if value is not None}
    complete_theirs = {column: value for column, value in theirs.items() if value}
    is_complete = complete_papers.keys() == complete_theirs.keys() == dense.keys()
    return Average(line, seeds, _relative(complete_papers, complete_theirs) if is_complete else None)


def _relative(values: Mapping[Column, float], dense: Mapping[Column, float]) -> float:
    """Percent of dense: the mean over tasks of the mean over a task's metrics."""
    by_task: dict[str, list[float]] = defaultdict(list)
    for column, value in values.items():
        by_task[_task_of(column)].append(100 * value / dense[column])
    return fmean(map(fmean, by_task.values()))


def _seed_order(item: tuple[SeedKey, object]) -> tuple[int, int]:
    (seed, pruning_seed), _ = item
    return seed, -1 if pruning_seed is None else pruning_seed
