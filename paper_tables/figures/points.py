"""Point: one marker of a figure; Panel and Chart: what one metric's and one picture's panels hold. Rows in, charts out.

Which numbers are shown, where, and which are the paper's is decided here, from the rows that the tables print.
How a chart looks on the page is `draw`'s concern.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from paper_tables.claims.budget import BudgetCurve
from paper_tables.figures.baselines import NO_BASELINES, Baseline, Baselines
from paper_tables.numbers.compression import nominal_compression
from paper_tables.numbers.rows import Row, SeedValue, column_order, row_order
from paper_tables.statistics.intervals import Interval

AxisName = Literal["nominal", "stored", "tokens", "speed"]
Place = Callable[[Row], float | None]


@dataclass(frozen=True, kw_only=True)
class Point:
    """A number over its place on the chart's axis.

    x: the place; nominal compression, that as stored, speed-up, or pre-training tokens. compression: nominal, of the
    encoder (see `nominal_compression`), on every axis. value, spread: in the panel's unit (points); spread is the
    sample standard deviation over what `spread_over` names, None when n < 2. interval: of an average, for n >= 3.
    reached: of a row whose sparsity is an outcome, the share of zeros that it has; it stands where that puts it.
    n: seeds behind the value, missing: planned seeds that have none. seeds: those that have a value, in the panel's
    unit. stage_ids: the evaluations behind it.
    from_paper: printed in the paper; such a point has neither seeds nor stages here.
    """

    method: str
    bits: int
    sparsity: float
    compression: float
    x: float
    value: float
    spread: float | None = None
    spread_over: str | None = None
    interval: Interval | None = None
    n: int = 0
    missing: int = 0
    from_paper: bool = False
    seeds: tuple[SeedValue, ...] = ()
    stage_ids: tuple[str, ...] = ()
    reached: float | None = None

    @property
    def zeros(self) -> float:
        """The share of zeros that it is drawn as."""
        return self.sparsity if self.reached is None else self.reached

    @property
    def row(self) -> tuple[str, float, int]:
        """What is the same in all panels of a chart: method, sparsity, bits."""
        return self.method, self.sparsity, self.bits


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One metric of one task; or an average (`metric` "relative", see `averages`), in percent of the dense model.

    dense: our value of the dense fp32 model, None while there is none. baselines: what is reached without the model.
    title: of an average. references: what stands beside the points as a level, over tokens that it has not seen
    (see `tokens`): one for each place that it is a level at.
    """

    task: str
    metric: str
    points: tuple[Point, ...]
    dense: float | None
    baselines: tuple[Baseline, ...] = ()
    title: str = ""
    references: tuple[Point, ...] = ()

    @property
    def is_average(self) -> bool:
        return self.metric == RELATIVE

    @property
    def ranking(self) -> dict[float, list[Point]]:
        """Our points by the sparsity that was asked for, lowest first; of each the best mean first."""
        ours = [point for point in self.points if not point.from_paper]
        ranked = sorted(ours, key=lambda point: (point.sparsity, -point.value, point.method, point.bits))
        return {sparsity: list(group) for sparsity, group in groupby(ranked, key=lambda point: point.sparsity)}

    @property
    def front(self) -> tuple[Point, ...]:
        """Our points, by x, that no other beats: none with as much at more compression, or more at as much."""
        ours = [point for point in self.points if not point.from_paper]
        kept: list[Point] = []
        for point in sorted(ours, key=lambda point: (-point.x, -point.value)):
            if not kept or point.value > kept[-1].value:
                kept.append(point)
        return tuple(reversed(kept))


RELATIVE = "relative"


@dataclass(frozen=True, kw_only=True)
class Chart:
    """The panels of one picture, an average first. subject: the model, or what stands in its place in the title.

    cells: planned, every seed counted; missing: those of them without a result. notes: what a reader must know of
    these numbers, a sentence each. budgets: over tokens, what the points say of pruning once.
    """

    subject: str
    axis: AxisName = "nominal"
    panels: tuple[Panel, ...]
    cells: int
    missing: int
    notes: tuple[str, ...] = ()
    budgets: tuple[BudgetCurve, ...] = ()

    @property
    def methods(self) -> list[str]:
        """Those that are drawn."""
        drawn = [each for panel in self.panels for each in (*panel.points, *panel.references)]
        return list(dict.fromkeys(each.method for each in drawn))


def nominal_place(row: Row) -> float:
    return row.compression


def charts(
    rows: Iterable[Row],
    baselines: Baselines = NO_BASELINES,
    *,
    axis: AxisName = "nominal",
    place: Place = nominal_place,
) -> list[Chart]:
    """A chart per model and a panel per metric, in the order of the tables; a metric without results keeps its panel.

    The paper's number of a row is a point too, also where ours is missing. place: a row's place on the axis; a row that
    has none is left out. The average that stands first in a picture is added by `averages.with_average`.
    """
    by_model: dict[str, list[Row]] = {}
    for row in sorted(rows, key=row_order):
        by_model.setdefault(row.model, []).append(row)
    found = []
    for model, of_model in by_model.items():
        by_metric: dict[tuple[str, str], list[Row]] = {}
        for row in of_model:
            by_metric.setdefault((row.task, row.metric), []).append(row)
        columns = sorted(by_metric, key=column_order)
        panels = tuple(_panel(column, by_metric[column], baselines.get(column, ()), place) for column in columns)
        cells = _cells(of_model).values()
        planned, missing = sum(cell[0] for cell in cells), sum(cell[1] for cell in cells)
        found.append(Chart(subject=model, axis=axis, panels=panels, cells=planned, missing=missing))
    return found


def _panel(column: tuple[str, str], rows: Sequence[Row], baselines: tuple[Baseline, ...], place: Place) -> Panel:
    task, metric = column
    dense = [row.value for row in rows if (row.method, row.bits) == ("dense", 32)]
    points = [point for row in rows for point in (*_ours(row, place), *_papers(row, place))]
    return Panel(task=task, metric=metric, points=tuple(points), dense=dense[0] if dense else None, baselines=baselines)


def _ours(row: Row, place: Place) -> tuple[Point, ...]:
    x = place(row)
    if row.value is None or x is None:
        return ()
    point = Point(
        method=row.method,
        bits=row.bits,
        sparsity=row.sparsity,
        compression=row.compression,
        x=x,
        value=row.value,
        spread=row.spread,
        spread_over=row.spread_over,
        n=row.n,
        missing=row.missing,
        seeds=tuple(seed for seed in row.seeds if seed.value is not None),
        stage_ids=row.stage_ids,
        reached=row.reached,
    )
    return (point,)


def _papers(row: Row, place: Place) -> tuple[Point, ...]:
    x = place(row)
    if row.published is None or x is None:
        return ()
    point = Point(
        method=row.method,
        bits=row.bits,
        sparsity=row.sparsity,
        compression=nominal_compression(row.bits, row.sparsity),
        x=x,
        value=row.published,
        from_paper=True,
    )
    return (point,)


def _cells(rows: Sequence[Row]) -> Mapping[object, tuple[int, int]]:
    """(planned, missing) cells, counted once although a cell has a row for each of its metrics.

    Rows of the same cells were read from the same evaluations. Two methods that share these have cells of their own.
    """
    return {
        (row.method, row.sparsity, row.bits, row.stage_ids or row.task): (row.n + row.missing, row.missing)
        for row in rows
    }


def moved(point: Point, x: float) -> Point:
    """The same number at another place."""
    return replace(point, x=x)
