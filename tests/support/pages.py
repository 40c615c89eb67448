"""The commands and snippets of a page, as CommonMark has them: fenced or indented, in order."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from grid_world import ROOT
from markdown_it import MarkdownIt

SHELL = ("sh", "bash", "console")
FILES = ("toml", "yaml", "python")  # what a page shows whole: a file, or a snippet
PROGRAMS = ("harness", "make", "python", "pip", "for")  # with which a command begins that is set in by four spaces
_MARKDOWN = MarkdownIt("commonmark").enable("table")
_NAMED = re.compile(r"`(?P<name>[\w./]+)`:")


class Piece(NamedTuple):
    """language: "sh" of one command line or loop, else that of a snippet. name: of the file that it is, or ""."""

    page: str
    language: str
    text: str
    name: str = ""

    @property
    def first_line(self) -> str:
        return self.text.partition("\n")[0]


def pieces(page: str) -> list[Piece]:
    """Of the page at this path, from the root of the tree."""
    found: list[Piece] = []
    before = ""
    for token in _MARKDOWN.parse((ROOT / page).read_text(encoding="utf-8")):
        if token.type == "fence" and token.info in FILES:
            named = _NAMED.fullmatch(before)
            found.append(Piece(page, token.info, token.content, named["name"] if named else ""))
        elif token.type == "fence" and token.info in SHELL and (named := _NAMED.fullmatch(before)):
            found.append(Piece(page, token.info, token.content, named["name"]))
        elif token.type == "fence" and token.info in SHELL:
            found += [Piece(page, "sh", line) for line in _lines(token.content, prompt=token.info == "console")]
        elif token.type == "code_block":
            lines = _lines(token.content)
            found += [Piece(page, "sh", line) for line in lines if line.split(maxsplit=1)[0] in PROGRAMS]
        if token.type == "inline":
            before = token.content
    return found


def _lines(text: str, *, prompt: bool = False) -> Iterator[str]:
    """Command lines: one on several lines as one, a loop whole; of a console what stands behind the prompt."""
    joined = re.sub(r"\s*\\\n\s*", " ", text)
    if joined.startswith("for "):
        yield joined.strip()
        return
    for line in joined.splitlines():
        if line.strip() and (line.startswith("$ ") or not prompt):
            yield line.removeprefix("$ ")


def unrolled(text: str) -> list[str]:
    """The command lines of a loop, once for each word that it goes through; any other line as it is."""
    if not text.startswith("for "):
        return [text]
    head, *body, _ = text.splitlines()
    _, name, _, *words = head.removesuffix("; do").split()
    return [line.strip().replace(f"${name}", word) for word in words for line in body]


def commands(line: str) -> list[list[str]]:
    """The words of each command of a line, without comments."""
    words = shlex.split(line.replace(";", " ; "), comments=True)
    found: list[list[str]] = [[]]
    for word in words:
        if word == ";":
            found.append([])
        else:
            found[-1].append(word)
    return [each for each in found if each]
