"""Markdown as text: tables, code, and what would be read as marks, shown as it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def plain(text: str) -> str:
    """A text as it is written, with no mark of Markdown or HTML in it."""
    for mark in ("\\", "`", "*", "_", "<", "[", "|"):
        text = text.replace(mark, f"&#{ord(mark)};")
    return text


def code(text: object) -> str:
    """A word of code, within a line or a cell; empty where there is none."""
    shown = str(text).replace("|", "&#124;")
    if not shown:
        return ""
    return f"<code>{shown.replace('<', '&lt;').replace('_', '&#95;').replace('*', '&#42;')}</code>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are Markdown; a line each."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace(chr(10), ' ') for cell in line)} |\n" for line in lines)


def block(text: str, language: str = "text") -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"


def sections(*parts: str) -> str:
    """Parts of a page, a blank line between two; empty ones are left out."""
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"
