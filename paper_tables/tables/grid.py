"""Grid: a table as rectangles of text that fit a page. A wide table becomes several below each other, task by task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby, pairwise
from typing import NamedTuple

from paper_tables.tables.table import EMPTY, Block, Column, Line, Table
from paper_tables.tables.words import OF_PAPER, escaped, sparsity_texts, width

WIDTH = 100  # of a terminal


class GridCell(NamedTuple):
    """text: not escaped. marks: of its footnotes."""

    text: str
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grid:
    """One rectangle: every line of the body is as long as the header. title: of the block that it is of."""

    title: str
    header: tuple[str, ...]
    body: tuple[tuple[GridCell, ...], ...]


def grids(table: Table, room: int | None = WIDTH) -> list[Grid]:
    """The blocks of a table as grids at most `room` wide in Markdown; None: each block is one, however wide."""
    shares = sparsity_texts(line.sparsity for line in table.lines())
    return [grid for block in table.blocks for grid in _of_block(table, block, shares, room)]


def shown(cell: GridCell) -> str:
    """The cell with its marks, as Markdown and so a terminal shows it."""
    return " ".join([escaped(cell.text), *(f"[{mark}]" for mark in cell.marks)])


def _of_block(table: Table, block: Block, shares: dict[float, str], room: int | None) -> list[Grid]:
    header = ("method", "sparsity", *(["zeros"] if table.has_zeros else []), "KD", "bits")
    lead = [row for line in block.lines for row in _lead(line, shares[line.sparsity], table.has_zeros)]
    used_columns = _used(table, block)
    columns = [_column(block.lines, index) for index in used_columns]
    titled = [table.columns[index] for index in used_columns]
    parts = [list(range(len(columns)))]
    if room is not None:
        used = _width([header, *(tuple(map(shown, row)) for row, _ in lead)])
        parts = _parts(titled, columns, room - 1 - used)
    found = [_grid(block.heading, header, lead, part, titled, columns) for part in parts]
    return [grid for grid in found if grid.body] or found[:1]


def _used(table: Table, block: Block) -> list[int]:
    """The columns in which the block has anything; all of them where it has nothing at all."""
    found = range(len(table.columns))
    return [i for i in found if any(line.cells[i].kind != EMPTY for line in block.lines)] or list(found)


def _grid(
    title: str,
    header: Sequence[str],
    lead: Sequence[tuple[Sequence[GridCell], bool]],
    part: Sequence[int],
    columns: Sequence[Column],
    cells: Sequence[Sequence[GridCell]],
) -> Grid:
    """Published lines without a number of these columns are left out."""
    kept = []
    for number, (begin, is_ours) in enumerate(lead):
        own = [cells[index][number] for index in part]
        if is_ours or any(cell.text for cell in own):
            kept.append((*begin, *own))
    return Grid(title, (*header, *(columns[index].title for index in part)), tuple(kept))


def _lead(line: Line, share: str, zeros: bool) -> list[tuple[tuple[GridCell, ...], bool]]:
    """Of the one or two rows of a line: what stands before its cells, and whether it is ours."""
    texts = (share, *([line.zeros] if zeros else []), line.transfer_kd, line.bits)
    ours = (GridCell(line.label, line.marks), *map(GridCell, texts))
    if line.is_quoted:
        return [(ours, False)]
    return [(ours, True), ((GridCell(OF_PAPER), *[GridCell("")] * len(texts)), False)]


def _column(lines: Iterable[Line], index: int) -> list[GridCell]:
    """As many cells as `_lead` gives lines."""
    found = []
    for line in lines:
        cell = line.cells[index]
        published = GridCell(cell.paper, cell.paper_marks)
        found += [published] if line.is_quoted else [GridCell(cell.text, cell.marks), published]
    return found


def _parts(columns: Sequence[Column], cells: Sequence[Sequence[GridCell]], room: int) -> list[list[int]]:
    """Indices of the columns of each grid. Those of one task stay together, unless they alone are too wide."""
    widths = [
        _width([(escaped(column.title),), *((shown(cell),) for cell in found)])
        for column, found in zip(columns, cells, strict=True)
    ]
    groups: list[list[int]] = []
    for _, group in groupby(range(len(columns)), key=lambda index: columns[index].group):
        together = list(group)
        groups += [together] if sum(widths[index] for index in together) <= room else [[index] for index in together]
    return [
        [index for group in groups[begin:end] for index in group]
        for begin, end in _fitting([sum(widths[index] for index in group) for group in groups], room)
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


def _width(lines: Sequence[Sequence[str]]) -> int:
    """Of columns on the page, each with its bar and the spaces round it."""
    return sum(max(map(width, column)) + 3 for column in zip(*lines, strict=True))
