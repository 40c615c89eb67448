"""LaTeX: booktabs tables for `\\input`, to be compiled by any LaTeX: what is not ASCII is a command."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from paper_tables.tables.grid import Grid, GridCell, grids
from paper_tables.tables.table import Table
from paper_tables.tables.words import OF_PAPER

PREAMBLE = "% needs \\usepackage{booktabs}\n"
_COMMANDS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    "'": r"\char39{}",
    "`": r"\char96{}",
    "-": "{-}",  # two of them would join
    "[": "{[}",  # behind the end of a line it would begin an option
    "]": "{]}",
    "*": "{*}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "†": r"$\dagger$",
}


def to_latex(table: Table) -> str:
    """One table environment for each heading."""
    found = list(grids(table))
    remarks = [*(f"[{mark}] {text}" for mark, text in table.footnotes), *table.remarks]
    return PREAMBLE + grids_to_latex(found) + remarks_to_latex(remarks)


def grids_to_latex(found: Iterable[Grid]) -> str:
    titled = [(title, list(group)) for title, group in groupby(found, key=lambda grid: grid.title)]
    return "".join(_environment(title, group) for title, group in titled)


def remarks_to_latex(remarks: Sequence[str]) -> str:
    if not remarks:
        return ""
    lines = "".join(f"\\item {escaped(remark)}\n" for remark in remarks)
    return f"\\begin{{itemize}}\\small\n{lines}\\end{{itemize}}\n"


def escaped(text: str) -> str:
    """Every special character as a command, any other that is not printable ASCII as its code."""
    return re.sub(r"[^A-Za-z0-9 ]", lambda found: _character(found[0]), text)


def _character(character: str) -> str:
    if character in _COMMANDS:
        return _COMMANDS[character]
    return character if " " < character < "\x7f" else rf"\texttt{{u+{ord(character):04x}}}"


def _environment(title: str, found: Sequence[Grid]) -> str:
    tabulars = "\n\\par\\medskip\n".join(map(_tabular, found))
    return f"\\begin{{table}}\n\\centering\\small\n\\caption{{{escaped(title)}}}\n{tabulars}\n\\end{{table}}\n"


def _tabular(grid: Grid) -> str:
    lines = [_line(map(escaped, grid.header)), "\\midrule"]
    for row in grid.body:
        lines.append(_line(map(_cell, row)))
    columns = "l" + "r" * (len(grid.header) - 1)
    body = "\n".join(lines)
    return f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}"


def _line(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _cell(cell: GridCell) -> str:
    text = escaped(cell.text)
    text = f"\\quad {text}" if cell.text == OF_PAPER else text
    return f"{text}\\textsuperscript{{{','.join(cell.marks)}}}" if cell.marks else text
