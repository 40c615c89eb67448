"""Rows as text: a long CSV for machines, wide Markdown tables laid out like the paper's for people.

A table is of one model and at most WIDTH columns wide where its names allow it: what every line has in common stands in
the heading or the legend, and the tasks stand in as many tables below each other as they need. The same rows give the
same bytes, in whatever order they come. Nothing is computed here but rounding.
"""

import csv
import io
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby, pairwise

from paper_tables.numbers.rows import Row, column_order, method_title, row_order

WIDTH = 100  # of a terminal

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
_OF_PAPER = "paper, Δ"  # the line below one of ours
_NOTED_ZEROS = 0.001  # how far counted zeros are from the sparsity where they get a column of their own: a tenth point

Column = tuple[str, str]  # task and metric


@dataclass(frozen=True)
class WideTable:
    """One printed table: title, header, and body as text, one tuple per line, each as long as the header."""

    title: str
    header: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]


def to_csv(rows: Iterable[Row]) -> str:
    """One line per number under CSV_HEADER; numbers with two decimals, an empty field where there is none."""
    rows = sorted(rows, key=row_order)
    sparsity = sparsity_texts(row.sparsity for row in rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for row in rows:
        writer.writerow(
            (
                row.table,
                row.model,
                row.method,
                sparsity[row.sparsity],
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
    """A heading for each model and its tables, then the legend and `notes` as one list."""
    rows = sorted(rows, key=row_order)
    titled = groupby(wide_tables(rows), key=lambda table: table.title)
    parts = [f"## {_escaped(title)}\n\n" + "\n".join(map(_github, tables)) for title, tables in titled]
    remarks = [*_legend(rows), *notes]
    listed = "".join(f"- {remark}\n" for remark in remarks)
    parts = parts or ["No results: there is no score to show.\n"]
    return "\n".join([*parts, listed] if listed else parts)


def wide_tables(rows: Iterable[Row]) -> list[WideTable]:
    """The rows folded as in the paper: a line per (method, sparsity, KD, bits), a column per task and metric.

    A model has as many tables as its tasks need; a task's metrics stay together. For formats beside Markdown: the text
    of every cell is final.
    """
    rows = sorted(rows, key=row_order)
    seeds = usual_seeds(rows)
    found = []
    for (table, model), group in groupby(rows, key=lambda row: (row.table, row.model)):
        found += _tables_of_model(f"{table}: {model}", list(group), seeds)
    return found


def usual_seeds(rows: Iterable[Row]) -> int:
    """How many seeds most numbers are of; a cell of another number says so itself."""
    counts = Counter(row.n for row in rows if row.value is not None and not row.missing)
    return max(counts, key=lambda n: (counts[n], n), default=0)


def cell_text(row: Row, seeds: int) -> str:
    """One cell, as 81.25±0.21, and (3) behind it where it is of another number of seeds than `seeds`.

    With seeds missing it counts them, as 81.25 (1 of 2); with no value at all it says "missing".
    """
    if row.value is None:
        return "missing"
    spread = "" if row.spread is None else f"±{_two_decimals(row.spread)}"
    count = f" ({row.n} of {row.n + row.missing})" if row.missing else "" if row.n == seeds else f" ({row.n})"
    return f"{_two_decimals(row.value)}{spread}{count}"


def paper_text(row: Row) -> str:
    """The paper's number and how far ours is above it, as 81.10 +0.15; empty where the paper's does not stand here."""
    if row.published is None:
        return ""
    if row.difference is None:
        return _two_decimals(row.published)
    return f"{row.published:.2f} {round(row.difference, 2) + 0.0:+.2f}"  # + 0.0 turns -0.0 into 0.0


def sparsity_texts(sparsities: Iterable[float]) -> dict[float, str]:
    """Each sparsity with two decimals, or as many as it needs, six at most: 0.85, 0.90, 0.975.

    Those that would read alike, or as zero, are written in full: whatever was trained apart is told apart.
    """
    texts = {sparsity: _six_decimals(sparsity) for sparsity in sparsities}
    shared = Counter(texts.values())
    return {
        sparsity: repr(sparsity)
        if sparsity != round(sparsity, 6) and (shared[text] > 1 or float(text) in (0.0, 1.0))
        else text
        for sparsity, text in texts.items()
    }


def _six_decimals(sparsity: float) -> str:
    whole, decimals = f"{sparsity:.6f}".split(".")
    return f"{whole}.{decimals.rstrip('0'):0<2}"


def _tables_of_model(title: str, rows: Sequence[Row], seeds: int) -> list[WideTable]:
    lines = {line: list(group) for line, group in groupby(rows, key=_line)}
    header, *body = _lead(lines)
    ordered = sorted(set(map(_task_and_metric, rows)), key=column_order)
    columns = {column: _column(column, lines, seeds) for column in ordered}
    tasks = [list(group) for _, group in groupby(columns, key=lambda column: column[0])]
    used = _width(zip(header, *body, strict=True))
    widths = [_width(columns[column] for column in task) for task in tasks]
    return [
        _table(title, [header, *body], [columns[column] for task in tasks[begin:end] for column in task])
        for begin, end in _fitting(widths, WIDTH - 1 - used)
    ]


def _fitting(widths: Sequence[int], room: int) -> list[tuple[int, int]]:
    """(begin, end) of the fewest runs whose widths fit the room, the widest of them as narrow as can be."""
    for parts in range(1, len(widths) + 1):
        cuts = [(0, *inner, len(widths)) for inner in combinations(range(1, len(widths)), parts - 1)]
        widest = {cut: max(sum(widths[begin:end]) for begin, end in pairwise(cut)) for cut in cuts}
        best = min(cuts, key=widest.__getitem__)
        if widest[best] <= room or parts == len(widths):
            return list(pairwise(best))
    return []


def _table(title: str, lead: Sequence[Sequence[str]], columns: Sequence[Sequence[str]]) -> WideTable:
    """Lines of the paper without a number of these columns are left out."""
    header, *body = [(*begin, *cells) for begin, *cells in zip(lead, *columns, strict=True)]
    return WideTable(title, header, tuple(line for line in body if line[0] != _OF_PAPER or any(line[len(lead[0]) :])))


_Line = tuple[str, float, str, int]


def _line(row: Row) -> _Line:
    return row.method, row.sparsity, row.transfer_kd, row.bits


def _task_and_metric(row: Row) -> Column:
    return row.task, row.metric


def _lead(lines: Mapping[_Line, Sequence[Row]]) -> list[tuple[str, ...]]:
    """The columns that say which cells a line is of: the header, and two lines for each, ours and the paper's."""
    sparsity = sparsity_texts(sparsity for _, sparsity, _, _ in lines)
    counted = any(map(_is_off, (row for rows in lines.values() for row in rows)))
    zeros = ["zeros"] if counted else []
    found = [("method", "sparsity", *zeros, "KD", "bits")]
    for (method, share, transfer_kd, bits), rows in lines.items():
        zeros = [_zeros_text(rows)] if counted else []
        found.append((method_title(method), sparsity[share], *zeros, transfer_kd, str(bits)))
        found.append((_OF_PAPER, *[""] * (len(found[0]) - 1)))
    return found


def _column(column: Column, lines: Mapping[_Line, Sequence[Row]], seeds: int) -> list[str]:
    """The header, and two cells for each line, ours and the paper's."""
    task, metric = column
    texts = [f"{task} {_METRIC_LABELS.get(metric, metric)}"]
    for rows in lines.values():
        row = next((row for row in rows if _task_and_metric(row) == column), None)
        texts += [_NOT_IN_STUDY, ""] if row is None else [cell_text(row, seeds), paper_text(row)]
    return texts


def _is_off(row: Row) -> bool:
    """Whether the zeros that were counted in it are not the sparsity it names, to the tenth of a point."""
    return any(abs(share - row.sparsity) >= _NOTED_ZEROS for share in row.measured_sparsity or ())


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
    if seeds := usual_seeds(rows):
        legend.append(f"Each cell: mean in percent over {seeds} seed{'' if seeds == 1 else 's'}.")
    if any(row.value is not None and (row.missing or row.n != seeds) for row in rows):
        legend.append("In parentheses: the number of seeds with a result, where it is another.")
    for kind in sorted({row.spread_over for row in rows if row.spread_over is not None}):
        methods = ", ".join(dict.fromkeys(method_title(row.method) for row in rows if row.spread_over == kind))
        legend.append(f"±: sample standard deviation over {kind} ({methods}).")
    if any(row.published is not None for row in rows):
        legend.append(f"{_OF_PAPER}: the value printed in the paper (arXiv 2111.05754); ours minus it, in points.")
    legend.append("KD: whether the training on the task distilled; na: the question does not arise.")
    legend += _legend_of_zeros(rows)
    return legend if rows else []


def _legend_of_zeros(rows: Sequence[Row]) -> list[str]:
    what = "counted share of zeros in the prunable encoder matrices"
    if any(map(_is_off, rows)):
        return [f"zeros: {what}."]
    off = [100 * abs(share - row.sparsity) for row in rows if row.sparsity for share in row.measured_sparsity or ()]
    if not off:
        return []
    return [f"sparsity: the {what} is within {max(0.01, math.ceil(100 * max(off)) / 100):.2f} points of it."]


def _width(columns: Iterable[Collection[str]]) -> int:
    """Of columns on the page, each with its bar and the spaces round it."""
    return sum(max(map(len, map(_escaped, column))) + 3 for column in columns)


def _github(table: WideTable) -> str:
    lines = [tuple(map(_escaped, line)) for line in (table.header, *table.body)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = [f"|{'|'.join('-' * (width + 2) for width in widths)}|"]
    header, *body = [
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines
    ]
    return "\n".join([header, *rule, *body]) + "\n"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _two_decimals(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
