"""HTML: tables as fragments, or a page of its own without script, link or request. Everything is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby

from paper_tables.tables.grid import Grid, GridCell, grids
from paper_tables.tables.table import Table
from paper_tables.tables.words import OF_PAPER, printable

_STYLE = (
    "body{font-family:sans-serif;margin:2rem;color:#111;background:#fff}"
    "table{border-collapse:collapse;margin:0 0 1.5rem}caption{text-align:left;font-weight:bold;padding:.4rem 0}"
    "th,td{padding:.2rem .6rem;text-align:right;white-space:nowrap}th:first-child{text-align:left}"
    "thead th{border-top:2px solid;border-bottom:1px solid}tbody tr:last-child>*{border-bottom:2px solid}"
    ".paper{color:#555}li{max-width:60rem}"
)


def to_html(table: Table) -> str:
    """A fragment: a table element for each block, then footnotes and remarks as a list."""
    remarks = [*(f"[{mark}] {text}" for mark, text in table.footnotes), *table.remarks]
    return grids_to_html(grids(table, room=None)) + remarks_to_html(remarks)


def html_page(title: str, fragments: Iterable[str]) -> str:
    """A whole document around fragments."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{''.join(fragments)}</body>\n</html>\n"
    )


def grids_to_html(found: Iterable[Grid]) -> str:
    return "".join(
        f"<h2>{escape(title)}</h2>\n{''.join(map(_table, group))}"
        for title, group in groupby(found, key=lambda grid: grid.title)
    )


def remarks_to_html(remarks: Sequence[str]) -> str:
    listed = "".join(f"<li>{escape(printable(remark))}</li>\n" for remark in remarks)
    return f"<ul>\n{listed}</ul>\n" if remarks else ""


def _table(grid: Grid) -> str:
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in grid.header)
    body = "".join(map(_row, grid.body))
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n"


def _row(cells: Sequence[GridCell]) -> str:
    first, *others = cells
    kind = ' class="paper"' if first.text == OF_PAPER else ""
    texts = "".join(f"<td>{_cell(cell)}</td>" for cell in others)
    return f'<tr{kind}><th scope="row">{_cell(first)}</th>{texts}</tr>\n'


def _cell(cell: GridCell) -> str:
    return escape(cell.text) + (f"<sup>{escape(','.join(cell.marks))}</sup>" if cell.marks else "")
