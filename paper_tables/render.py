"""Rows as text: a long CSV for machines, wide Markdown tables laid out like the paper's for people.

The same rows give the same bytes, in whatever order they come. Nothing is computed here but rounding.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from tabulate import tabulate

from paper_tables.rows import Row, column_order, method_title, row_order

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
)
_METRIC_LABELS = {"exact_match": "EM", "f1": "F1", "accuracy": "acc"}
_NOT_IN_STUDY = "-"


@dataclass(frozen=True)
class WideTable:
    """One printed table: title, header, and body as text, one tuple per line, each as long as the header."""

    title: str
    header: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]


def to_csv(rows: Iterable[Row]) -> str:
    """One line per number under CSV_HEADER; numbers with two decimals, an empty field where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for row in sorted(rows, key=row_order):
        writer.writerow(
            (
                row.table,
                row.model,
                row.method,
                sparsity_text(row.sparsity),
                row.transfer_kd,
                row.bits,
                row.task,
                row.metric,
                _two_decimals(row.value),
                row.n,
                _two_decimals(row.spread),
                _two_decimals(row.published),
            )
        )
    return text.getvalue()


def to_markdown(rows: Iterable[Row], *, notes: Sequence[str] = ()) -> str:
    """A heading and a table for each `table` of the rows, then the legend and `notes` as one list."""
    rows = sorted(rows, key=row_order)
    tables = [_github(table) for table in wide_tables(rows)] or ["No results: there is no score to show.\n"]
    remarks = [*_legend(rows), *notes]
    listed = "".join(f"- {remark}\n" for remark in remarks)
    return "\n".join([*tables, listed] if listed else tables)


def wide_tables(rows: Iterable[Row]) -> list[WideTable]:
    """The rows folded as in the paper: a line per (model, method, sparsity, KD, bits), a column per task and metric.

    For formats beside Markdown: the text of every cell is final.
    """
    ordered = sorted(rows, key=row_order)
    return [_wide_table(title, list(group)) for title, group in groupby(ordered, key=lambda row: row.table)]


def cell_text(row: Row) -> str:
    """One cell, as 81.25 ± 0.21 (2) [paper 81.10] Δ +0.15, without the parts that do not exist.

    With seeds missing it counts them, as 81.25 (1 of 2); with no value at all it says "missing".
    """
    if row.value is None:
        parts = ["missing"]
    else:
        seeds = f"({row.n} of {row.n + row.missing})" if row.missing else f"({row.n})"
        spread = [] if row.spread is None else ["±", _two_decimals(row.spread)]
        parts = [_two_decimals(row.value), *spread, seeds]
    if row.published is not None:
        parts.append(f"[paper {_two_decimals(row.published)}]")
    if row.difference is not None:
        parts.append(f"Δ {round(row.difference, 2) + 0.0:+.2f}")  # + 0.0 turns -0.0 into 0.0
    return " ".join(parts)


def sparsity_text(sparsity: float) -> str:
    """A fraction with two decimals, or as many as it needs: 0.85, 0.90, 0.975."""
    whole, decimals = f"{sparsity:.6f}".split(".")
    return f"{whole}.{decimals.rstrip('0'):0<2}"


def _wide_table(title: str, rows: Sequence[Row]) -> WideTable:
    columns = sorted({(row.task, row.metric) for row in rows}, key=column_order)
    counted = any(row.measured_sparsity for row in rows)
    header = ["model", "method", "sparsity", *(["zeros"] if counted else []), "KD", "bits"]
    header += [f"{task} {_METRIC_LABELS.get(metric, metric)}" for task, metric in columns]
    body = []
    for (model, method, sparsity, transfer_kd, bits), group in groupby(rows, key=_line):
        cells = {(row.task, row.metric): row for row in group}
        zeros = [_zeros_text(list(cells.values()))] if counted else []
        line = [model, method_title(method), sparsity_text(sparsity), *zeros, transfer_kd, str(bits)]
        line += [cell_text(cells[column]) if column in cells else _NOT_IN_STUDY for column in columns]
        body.append(tuple(line))
    return WideTable(title, tuple(header), tuple(body))


def _line(row: Row) -> tuple[str, str, float, str, int]:
    return row.model, row.method, row.sparsity, row.transfer_kd, row.bits


def _zeros_text(rows: Sequence[Row]) -> str:
    """Counted share of zeros over the cells of one line: "85.00%", or a range where the cells differ."""
    ranges = [row.measured_sparsity for row in rows if row.measured_sparsity is not None]
    if not ranges:
        return _NOT_IN_STUDY
    low, high = f"{min(low for low, _ in ranges):.2%}", f"{max(high for _, high in ranges):.2%}"
    return low if low == high else f"{low} to {high}"


def _legend(rows: Sequence[Row]) -> list[str]:
    """What the signs in the cells mean, naming only signs that occur."""
    legend = []
    if any(row.value is not None for row in rows):
        legend.append("Each cell: mean in percent, then in parentheses the number of seeds with a result.")
    for kind in sorted({row.spread_over for row in rows if row.spread_over is not None}):
        methods = ", ".join(dict.fromkeys(method_title(row.method) for row in rows if row.spread_over == kind))
        legend.append(f"±: sample standard deviation over {kind} ({methods}).")
    if any(row.published is not None for row in rows):
        legend.append("[paper]: the value printed in the paper (arXiv 2111.05754).")
    if any(row.difference is not None for row in rows):
        legend.append("Δ: reproduced minus published, in points.")
    if any(row.measured_sparsity for row in rows):
        legend.append("zeros: counted share of zeros in the prunable encoder matrices.")
    return legend


def _github(table: WideTable) -> str:
    lines = [[_escaped(cell) for cell in line] for line in table.body]
    header = [_escaped(name) for name in table.header]
    # disable_numparse: 0.90 must not become 0.9.
    return f"## {table.title}\n\n{tabulate(lines, header, tablefmt='github', disable_numparse=True)}\n"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _two_decimals(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
