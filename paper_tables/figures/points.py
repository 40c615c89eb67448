"""Point: one marker of a figure; Panel and Chart: what one metric's and one model's picture hold. Rows in, charts out.

Which numbers are shown, where, and which are the paper's is decided here, from the rows that the tables print.
How a chart looks on the page is `figures`' concern.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from paper_tables.numbers.rows import Row, column_order, row_order


@dataclass(frozen=True, kw_only=True)
class Point:
    """A number over its compression.

    compression: nominal, of the encoder (see `nominal_compression`). value, spread: in percent (points); spread is the
    sample standard deviation over what `spread_over` names, None when n < 2. n: seeds behind the value, missing:
    planned seeds that have none. stage_ids: the evaluations behind it.
    from_paper: printed in the paper; such a point has neither seeds nor stages here.
    """

    method: str
    bits: int
    sparsity: float
    compression: float
    value: float
    spread: float | None = None
    spread_over: str | None = None
    n: int = 0
    missing: int = 0
    from_paper: bool = False
    stage_ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One metric of one task. dense: our value of the dense fp32 model, None while there is none."""

    task: str
    metric: str
    points: tuple[Point, ...]
    dense: float | None


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One model of a study. cells: planned, every seed counted; missing: those of them without a result."""

    model: str
    panels: tuple[Panel, ...]
    cells: int
    missing: int


def nominal_compression(bits: int, sparsity: float) -> float:
    """32 / (bits (1 - sparsity)): 1 for the dense fp32 encoder, 40 for 90 % zeros in 8 bits (the paper's count).

    It is that of the prunable encoder matrices, and ignores embeddings, scales and what storing indices costs.
    """
    return round(32 / (bits * (1 - sparsity)), 6)  # 1 - 0.9 is not quite a tenth


def charts(rows: Iterable[Row]) -> list[Chart]:
    """A chart per model and a panel per metric, in the order of the tables; a metric without results keeps its panel.

    The paper's number of a row is a point too, also where ours is missing.
    """
    by_model: dict[str, list[Row]] = {}
    for row in sorted(rows, key=row_order):
        by_model.setdefault(row.model, []).append(row)
    return [_chart(model, of_model) for model, of_model in by_model.items()]


def _chart(model: str, rows: Sequence[Row]) -> Chart:
    by_metric: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        by_metric.setdefault((row.task, row.metric), []).append(row)
    cells = _cells(rows).values()
    return Chart(
        model=model,
        panels=tuple(_panel(*column, by_metric[column]) for column in sorted(by_metric, key=column_order)),
        cells=sum(planned for planned, _ in cells),
        missing=sum(missing for _, missing in cells),
    )


def _panel(task: str, metric: str, rows: Sequence[Row]) -> Panel:
    dense = [row.value for row in rows if (row.method, row.bits) == ("dense", 32)]
    points = [point for row in rows for point in (*_ours(row), *_papers(row))]
    return Panel(task=task, metric=metric, points=tuple(points), dense=dense[0] if dense else None)


def _ours(row: Row) -> tuple[Point, ...]:
    if row.value is None:
        return ()
    point = Point(
        method=row.method,
        bits=row.bits,
        sparsity=row.sparsity,
        compression=nominal_compression(row.bits, row.sparsity),
        value=row.value,
        spread=row.spread,
        spread_over=row.spread_over,
        n=row.n,
        missing=row.missing,
        stage_ids=row.stage_ids,
    )
    return (point,)


def _papers(row: Row) -> tuple[Point, ...]:
    if row.published is None:
        return ()
    point = Point(
        method=row.method,
        bits=row.bits,
        sparsity=row.sparsity,
        compression=nominal_compression(row.bits, row.sparsity),
        value=row.published,
        from_paper=True,
    )
    return (point,)


def _cells(rows: Sequence[Row]) -> Mapping[object, tuple[int, int]]:
    """(planned, missing) cells, counted once although a cell has a row for each of its metrics.

    Rows of the same cells were read from the same evaluations.
    """
    return {
        row.stage_ids or (row.method, row.sparsity, row.bits, row.task): (row.n + row.missing, row.missing)
        for row in rows
    }
