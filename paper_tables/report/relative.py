"""Relative: accuracy averaged over tasks, each relative to the dense model of the same size.

mean over tasks of 100 * score / (mean dense score), one primary metric a task. A task without a dense result is not in
it, and a line that lacks one of the others is left out, for averages over different tasks compare nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from paper_tables.numbers.primary import is_primary
from paper_tables.numbers.rows import Row, SeedValue
from paper_tables.statistics.bootstrap import aggregate_interval
from paper_tables.statistics.intervals import Interval


class Line(NamedTuple):
    """What the rows of one line of a wide table have in common."""

    model: str
    method: str
    sparsity: float
    transfer_kd: str
    bits: int


@dataclass(frozen=True)
class Average:
    """value: percent of dense. interval: bootstrap over the seeds of each task; None with fewer than three of one.

    seeds: the average of each seed that has a value of every task; stage_id None, for it is of several. published: the
    same of the paper's numbers, None where one of them is missing.
    """

    line: Line
    value: float
    interval: Interval | None
    seeds: tuple[SeedValue, ...]
    published: float | None


@dataclass(frozen=True)
class Averages:
    """tasks: of each model that has an average, those it is over. left_out: lines without a result of one of them."""

    averages: tuple[Average, ...]
    tasks: Mapping[str, tuple[str, ...]]
    left_out: tuple[Line, ...]


def averages(rows: Sequence[Row]) -> Averages:
    """Of every model with dense results of more than one task. rows: in the order of the tables."""
    by_model: dict[str, dict[Line, dict[str, Row]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        if is_primary(row.task, row.metric):
            by_model[row.model][_line_of(row)][row.task] = row
    found: list[Average] = []
    tasks: dict[str, tuple[str, ...]] = {}
    left_out: list[Line] = []
    for model, lines in by_model.items():
        dense = _dense(lines)
        if len(dense) < 2:
            continue
        tasks[model] = tuple(dense)
        for line, by_task in lines.items():
            if all(task in by_task and by_task[task].value is not None for task in dense):
                found.append(_average(line, [by_task[task] for task in dense], list(dense.values())))
            else:
                left_out.append(line)
    return Averages(tuple(found), tasks, tuple(left_out))


def _line_of(row: Row) -> Line:
    return Line(row.model, row.method, row.sparsity, row.transfer_kd, row.bits)


def _dense(lines: Mapping[Line, Mapping[str, Row]]) -> dict[str, Row]:
    """The dense fp32 rows of a model that have a value above 0, by task."""
    rows = [row for line, of in lines.items() if (line.method, line.bits) == ("dense", 32) for row in of.values()]
    return {row.task: row for row in rows if row.value}


def _average(line: Line, rows: Sequence[Row], dense: Sequence[Row]) -> Average:
    """rows, dense: of the same tasks, in one order."""
    shares = [
        {
            (seed.seed, seed.pruning_seed): 100 * seed.value / (of.value or 1.0)
            for seed in row.seeds
            if seed.value is not None
        }
        for row, of in zip(rows, dense, strict=True)
    ]
    shared = [key for key in shares[0] if all(key in found for found in shares)]
    papers = [
        100 * row.published / of.published
        for row, of in zip(rows, dense, strict=True)
        if row.published is not None and of.published
    ]
    return Average(
        line=line,
        value=fmean(fmean(found.values()) for found in shares),
        interval=aggregate_interval([list(found.values()) for found in shares]),
        seeds=tuple(SeedValue(*key, fmean(found[key] for found in shares), None) for key in shared),
        published=fmean(papers) if len(papers) == len(rows) else None,
    )
