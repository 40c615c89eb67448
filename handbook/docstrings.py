"""Docstrings as this project writes them, made into Markdown for the reference of Python.

A line that begins `name: ..` or `one, other: ..` tells a parameter or a field; a list entry each. `Raises ..` begins a
paragraph of its own.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

from handbook.markdown import plain

_FIELD = re.compile(r"(?P<names>[a-z_]\w*(, [a-z_]\w*)*): (?P<rest>.*)", re.DOTALL)
_CODE = re.compile(r"(`[^`]+`)")


class Docstrings(griffe.Extension):
    """An extension of griffe, which reads the source for mkdocstrings."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    return "\n\n".join(
        part if part.startswith("    ") else "\n\n".join(map(_told, _parts(part))) for part in text.split("\n\n")
    )


def _parts(paragraph: str) -> list[str]:
    """A paragraph cut before every line that tells a field or an error."""
    parts: list[str] = []
    for line in paragraph.split("\n"):
        if not parts or _FIELD.match(line) or line.startswith("Raises "):
            parts.append(line)
        else:
            parts[-1] += f" {line.strip()}"
    return parts


def _told(part: str) -> str:
    found = _FIELD.fullmatch(part)
    if not found:
        return _spelled(part)
    names = ", ".join(f"`{name}`" for name in found["names"].split(", "))
    return f"- {names}: {_spelled(found['rest'])}"


def _spelled(text: str) -> str:
    """Marks are shown as they are, but for code."""
    return "".join(part if part.startswith("`") else plain(part) for part in _CODE.split(text))
