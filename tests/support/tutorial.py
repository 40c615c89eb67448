"""The package that docs/new-method.md builds: its files, and its commands."""

from __future__ import annotations

import re
from pathlib import Path

from grid_world import HERE, ROOT

PAGE = ROOT / "docs" / "new-method.md"
EXAMPLE = HERE / "example_method"
_FILE = re.compile(r"^`(?P<name>[\w./]+)`:\n\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files() -> dict[str, str]:
    """The text of every file of the page, by its place in the package."""
    return {found["name"]: found["text"] for found in _FILE.finditer(PAGE.read_text(encoding="utf-8"))}


def commands() -> list[str]:
    """Every command of the page, in order."""
    return [line for block in _COMMANDS.findall(PAGE.read_text(encoding="utf-8")) for line in block.splitlines()]


def write_package(folder: Path) -> Path:
    for name, text in files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
