"""Markdown, which is also what a terminal shows: at most 100 columns wide."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby

from paper_tables.tables.grid import Grid, grids, shown
from paper_tables.tables.table import Table
from paper_tables.tables.words import escaped, printable, width


def to_markdown(table: Table) -> str:
    """Headings, grids, footnotes and remarks."""
    parts = grids_to_markdown(grids(table))
    listed = remarks_to_markdown(table.footnotes, table.remarks)
    return "\n".join(filter(None, [parts or "No results: there is no score to show.\n", listed]))


def grids_to_markdown(found: Iterable[Grid]) -> str:
    titled = groupby(found, key=lambda grid: grid.title)
    return "\n".join(f"## {escaped(title)}\n\n" + "\n".join(map(grid_to_markdown, group)) for title, group in titled)


def remarks_to_markdown(footnotes: Iterable[tuple[str, str]], remarks: Iterable[str]) -> str:
    lines = [f"- [{mark}] {sentence(text)}\n" for mark, text in footnotes]
    return "".join([*lines, *(f"- {sentence(remark)}\n" for remark in remarks)])


def sentence(text: str) -> str:
    """Harmless in a sentence, which has brackets, stars and pipes of its own.

    A backslash too: of a name that has one before a tag it would take the escape of the tag for its own.
    """
    return re.sub(r"[\\<>&`]|(?<=])\(", r"\\\g<0>", printable(text))


def grid_to_markdown(grid: Grid) -> str:
    """Without its title."""
    lines = [tuple(map(escaped, grid.header)), *(tuple(map(shown, line)) for line in grid.body)]
    widths = [max(map(width, column)) for column in zip(*lines, strict=True)]
    rule = f"|{'|'.join('-' * (each + 2) for each in widths)}|"
    header, *body = [f"| {' | '.join(map(_padded, line, widths))} |" for line in lines]
    return "\n".join([header, rule, *body]) + "\n"


def _padded(text: str, to: int) -> str:
    return text + " " * (to - width(text))
