"""Table: a finished table as data, of which formats are renderings. Its texts are final, but nothing is escaped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from paper_tables.numbers.published import PublishedNumber
from paper_tables.numbers.rows import Row

OURS, MISSING, QUOTED, EMPTY = "ours", "missing", "quoted", "empty"  # what a cell is


@dataclass(frozen=True)
class Cell:
    """One number of ours above one that was published; either may be absent.

    text: ours, as 81.25±0.21, "missing", "quoted" or "-". paper: the published one and how far ours is above it.
    row: behind ours; None for a cell that the study does not have, and for a measure. number: the published one.
    marks, paper_marks: of the footnotes at either.
    kind: OURS, MISSING (planned or asked for, without a result), QUOTED (published alone), EMPTY.
    """

    text: str
    kind: str
    paper: str = ""
    row: Row | None = None
    number: PublishedNumber | None = None
    marks: tuple[str, ...] = ()
    paper_marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """The cells of one (model, method, sparsity, transfer_kd, bits), one for each column of the table.

    label: the method as printed. zeros: counted share of zeros as printed. is_quoted: published by others alone.
    source: of a quoted one.
    """

    model: str
    method: str
    sparsity: float
    transfer_kd: str
    bits: str
    label: str
    zeros: str
    cells: tuple[Cell, ...]
    marks: tuple[str, ...] = ()
    is_quoted: bool = False
    source: str = ""


@dataclass(frozen=True)
class Block:
    """Lines under one heading, all of one model."""

    heading: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Column:
    """title: as printed. task and metric, or a measure by its name."""

    title: str
    task: str = ""
    metric: str = ""
    measure: str = ""

    @property
    def group(self) -> str:
        """Columns of one group stay together: the metrics of a task."""
        return self.task or self.measure


@dataclass(frozen=True)
class Table:
    """footnotes: (mark, text), in the order of their marks. remarks: sentences below: what signs mean, what is best.

    has_zeros: whether counted zeros get a column, since they are not the sparsity that the lines name.
    """

    name: str
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    footnotes: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()
    has_zeros: bool = False

    def lines(self) -> Iterator[Line]:
        for block in self.blocks:
            yield from block.lines

    def rows(self) -> list[Row]:
        """Those behind its cells."""
        return [cell.row for line in self.lines() for cell in line.cells if cell.row is not None]
