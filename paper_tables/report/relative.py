"""Relative: the averages over tasks that the figures show, as the page lists them: by line, with those left out named.

What an average is stands in `paper_tables.figures.averages`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from paper_tables.figures.averages import average_of, with_average
from paper_tables.figures.baselines import NO_BASELINES, Baseline, Baselines
from paper_tables.figures.points import Panel, Point, charts
from paper_tables.numbers.metrics import is_primary
from paper_tables.numbers.rows import Row, SeedValue
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
    """compression: nominal, as the figure has it. value: percent of dense. seeds: the average of each seed that has a
    value of every task; they name no stage, for each is of several. published: the same of the paper's numbers, None
    where one of them is missing."""

    line: Line
    compression: float
    value: float
    interval: Interval | None
    seeds: tuple[SeedValue, ...]
    published: float | None


@dataclass(frozen=True)
class Averages:
    """tasks, baselines: of each model that has an average. left_out: lines without a result of one of its tasks."""

    averages: tuple[Average, ...]
    tasks: Mapping[str, tuple[str, ...]]
    baselines: Mapping[str, tuple[Baseline, ...]]
    left_out: tuple[Line, ...]


def averages(rows: Sequence[Row], baselines: Baselines = NO_BASELINES) -> Averages:
    """Of every model whose figure has an average. rows: in the order of the tables."""
    lines = dict.fromkeys(Line(row.model, row.method, row.sparsity, row.transfer_kd, row.bits) for row in rows)
    found: list[Average] = []
    left_out: list[Line] = []
    tasks: dict[str, tuple[str, ...]] = {}
    known: dict[str, tuple[Baseline, ...]] = {}
    for chart in charts(rows, baselines):
        averaged = average_of(with_average(chart))
        if averaged is None:
            continue
        (panel,) = averaged.panels
        tasks[chart.subject] = tuple(
            each.task for each in chart.panels if is_primary(each.task, each.metric) and each.dense
        )
        known[chart.subject] = panel.baselines
        for line in lines:
            if line.model == chart.subject:
                average = _average(line, panel)
                found += [average] if average is not None else []
                left_out += [line] if average is None else []
    return Averages(tuple(found), tasks, known, tuple(left_out))


def _average(line: Line, panel: Panel) -> Average | None:
    ours, papers = (_point(line, panel, from_paper=from_paper) for from_paper in (False, True))
    if ours is None:
        return None
    return Average(
        line, ours.compression, ours.value, ours.interval, ours.seeds, None if papers is None else papers.value
    )


def _point(line: Line, panel: Panel, *, from_paper: bool) -> Point | None:
    row = (line.method, line.sparsity, line.bits)
    return next((each for each in panel.points if (each.row, each.from_paper) == (row, from_paper)), None)
