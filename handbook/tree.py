"""The pages of the tree, under the paths that they have there: a link between two of them works here as on a forge."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What a reader of the site finds, as globs from the root.
PAGES = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "methods/**/*.md",
    "results/*/*.md",
    "results/*/choices/*.md",
)
STYLE = "docs/site.css"
_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


def pages(root: Path = ROOT) -> list[str]:
    """The path of every page, from the root."""
    return sorted({path.relative_to(root).as_posix() for pattern in PAGES for path in root.glob(pattern)})


def links(text: str) -> Iterator[str]:
    """The targets of a page's links and pictures, but for those in code."""
    for found in _LINK.finditer(_FENCE.sub("", text)):
        yield found["target"]


def linked_files(names: Iterable[str], root: Path = ROOT) -> list[str]:
    """What these pages link to in the tree and is no page: pictures and data, which the site takes along."""
    found = set()
    for name in names:
        for target in links((root / name).read_text(encoding="utf-8")):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target.partition("#")[0]))
            if not path.endswith(".md") and (root / path).is_file():
                found.add(path)
    return sorted(found)
