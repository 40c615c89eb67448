"""Legend: what the signs in a table's cells mean, naming only signs that occur."""

from __future__ import annotations

import math
from collections.abc import Sequence

from paper_tables.numbers.pairs import is_of_one_pruning
from paper_tables.numbers.rows import SAME_ZEROS, Row, method_title
from paper_tables.tables.measures import MEASURES
from paper_tables.tables.table import MISSING, Table
from paper_tables.tables.words import BEYOND_NOISE, NOT_IN_STUDY, OF_PAPER, numbers_text, printable, usual_seeds

_ZEROS = "counted share of zeros in the prunable encoder matrices"


def legend(table: Table) -> list[str]:
    """Sentences, in the order in which a reader needs them."""
    rows = table.rows()
    cells = [cell for line in table.lines() for cell in line.cells]
    if not cells:
        return []
    found = _of_cells(rows)
    if any(cell.paper for line in table.lines() if not line.is_quoted for cell in line.cells):
        found.append(f"{OF_PAPER}: the value printed in the paper (arXiv 2111.05754); ours minus it, in points.")
        if any(row.value is not None for row in rows) and any(row.published is None for row in rows):
            found.append(
                "No difference stands where a cell is not the paper's own: recipe, model, data or metric differ."
            )
    if any(BEYOND_NOISE in cell.paper for cell in cells):
        found.append(_BEYOND)
    if any(cell.kind == MISSING for cell in cells):
        found.append("missing: no result yet.")
    if any(line.is_quoted for line in table.lines()):
        found.append("quoted: published, not reproduced here.")
    found.append("KD: whether the training on the task distilled; na: the question does not arise.")
    found += [f"{c.title}: {MEASURES[c.measure].meaning}." for c in table.columns if c.measure]
    return found + _of_zeros(rows)


_BEYOND = (
    f"{BEYOND_NOISE}: further from the paper's value than seeds explain (95 %, t, three seeds or more): their spread "
    "in ours, and in the paper's mean the largest published standard deviation of that model, task and metric, or ours."
)


def _of_cells(rows: Sequence[Row]) -> list[str]:
    found = []
    if seeds := usual_seeds(rows):
        found.append(f"Each cell: mean in percent over {seeds} seed{'' if seeds == 1 else 's'}.")
    if any(row.value is not None and (row.missing or row.n != seeds) for row in rows):
        found.append("In parentheses: the number of seeds with a result, where it is another.")
    return found + _of_spreads([row for row in rows if row.spread is not None])


def _of_spreads(rows: Sequence[Row]) -> list[str]:
    """What the spreads are over, and that those of one pruning say nothing of another one."""
    groups: dict[str, dict[str, None]] = {}
    for row in rows:
        seeds = numbers_text(seed.seed for seed in row.seeds if seed.value is not None)
        over = f"{row.spread_over} ({seeds})"
        if row.spread_over == "transfer seeds" and is_of_one_pruning(row):
            over += " of one pruning, conditional on it"
        groups.setdefault(over, {})[printable(method_title(row.method))] = None
    found = [f"±: sample standard deviation over {over}: {', '.join(groups[over])}." for over in sorted(groups)]
    if any(row.n == 2 for row in rows):
        found.append("Of two seeds it is 0.71 of their range, and no interval is given.")
    return found


def _of_zeros(rows: Sequence[Row]) -> list[str]:
    if any(map(zeros_are_off, rows)):
        return [f"zeros: {_ZEROS}."]
    off = [100 * abs(share - row.sparsity) for row in rows if row.sparsity for share in row.measured_sparsity or ()]
    if not off:
        return []
    return [f"sparsity: the {_ZEROS} is within {max(0.01, math.ceil(100 * max(off)) / 100):.2f} points of it."]


def zeros_are_off(row: Row) -> bool:
    """Whether the zeros that were counted in it are not the sparsity it names, to the tenth of a point."""
    return any(abs(share - row.sparsity) >= SAME_ZEROS for share in row.measured_sparsity or ())


def zeros_text(rows: Sequence[Row]) -> str:
    """Counted share of zeros over the cells of one line: "85.00%", or a range where the cells differ."""
    ranges = [row.measured_sparsity for row in rows if row.measured_sparsity is not None]
    if not ranges:
        return NOT_IN_STUDY
    low, high = f"{min(low for low, _ in ranges):.2%}", f"{max(high for _, high in ranges):.2%}"
    return low if low == high else f"{low} to {high}"
