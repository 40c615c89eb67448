"""docs/cluster.md as a script: its files, and its commands in order."""

from __future__ import annotations

import re

from grid_world import ROOT

PAGE = ROOT / "docs" / "cluster.md"
INTERNET = "# internet"  # ends the line of a command that needs some
_FILE = re.compile(r"^`(?P<name>[\w./]+)`:\n\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| (?P<keys>`.*?`) \|", re.MULTILINE)


def files() -> dict[str, str]:
    """The text of every file of the page, by its name."""
    return {found["name"]: found["text"] for found in _FILE.finditer(PAGE.read_text(encoding="utf-8"))}


def commands() -> list[str]:
    """Every command of the page, in order; one on several lines as one."""
    blocks = _COMMANDS.findall(PAGE.read_text(encoding="utf-8"))
    return [line for block in blocks for line in re.sub(r"\s*\\\n\s*", " ", block).splitlines()]


def keys() -> list[str]:
    """The keys of a profile that the page's table explains."""
    rows = _ROW.findall(PAGE.read_text(encoding="utf-8").partition("## Models and data")[0])
    return [key for row in rows for key in re.findall(r"`(\w+)`", row)]
