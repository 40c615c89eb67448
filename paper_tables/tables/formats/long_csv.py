"""CSV, long: one line for each number, under its own key. For machines: names as they are, nothing shortened."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from paper_tables.numbers.noise import exceeds_noise
from paper_tables.numbers.pairs import independent_values
from paper_tables.numbers.rows import Row
from paper_tables.statistics.intervals import mean_interval
from paper_tables.tables.table import EMPTY, QUOTED, Cell, Column, Line, Table
from paper_tables.tables.words import sparsity_texts, two_decimals

CSV_HEADER = (
    "table",
    "model",
    "method",
    "sparsity",
    "transfer_kd",
    "bits",
    "task",
    "metric",
    "value",
    "n",
    "spread",
    "published",
    "difference",
    "exceeds_noise",
    "interval_low",
    "interval_high",
    "spread_over",
    "seeds",
    "status",
    "source",
    "footnotes",
)


def to_csv(table: Table) -> str:
    return tables_to_csv([table])


def tables_to_csv(tables: Iterable[Table]) -> str:
    """Numbers with two decimals, an empty field where there is none. interval_low, interval_high: t, of the mean."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for table in tables:
        writer.writerows(_lines(table))
    return text.getvalue()


def _lines(table: Table) -> Iterator[tuple[object, ...]]:
    shares = sparsity_texts(line.sparsity for line in table.lines())
    notes = dict(table.footnotes)
    for block in table.blocks:
        for line in block.lines:
            for column, cell in zip(table.columns, line.cells, strict=True):
                if cell.kind != EMPTY:
                    name = cell.row.table if cell.row and not table.name else table.name
                    footnotes = " ".join(notes[mark] for mark in (*line.marks, *cell.marks, *cell.paper_marks))
                    yield (name, *_key(line, column, shares), *_numbers(cell, column), line.source, footnotes)


def _key(line: Line, column: Column, shares: dict[float, str]) -> tuple[str, ...]:
    named = (column.task, column.metric) if not column.measure else ("", column.measure)
    return (line.model, line.method, shares[line.sparsity], line.transfer_kd, line.bits, *named)


def _numbers(cell: Cell, column: Column) -> tuple[object, ...]:
    row = cell.row
    if row is None:
        own = "" if cell.kind == QUOTED or cell.text == "missing" else cell.text
        published = two_decimals(cell.number.value) if cell.number else ""
        return (own, 0 if not own else "", "", published, *[""] * 6, cell.kind)
    number = two_decimals(cell.number.value) if cell.number else two_decimals(row.published)
    exceeds = exceeds_noise(row)
    return (
        two_decimals(row.value),
        row.n,
        two_decimals(row.spread),
        number,
        two_decimals(row.difference),
        "" if exceeds is None else "yes" if exceeds else "no",
        *_interval(row),
        row.spread_over or "",
        " ".join(str(seed.seed) for seed in row.seeds if seed.value is not None),
        cell.kind,
    )


def _interval(row: Row) -> tuple[str, str]:
    values = independent_values(row.seeds)
    interval = mean_interval(values) if values else None
    return ("", "") if interval is None else (two_decimals(interval.low), two_decimals(interval.high))
