"""The built site: strict, whole, and of this host alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from grid_world import ROOT
from markdown_it import MarkdownIt

from handbook import tree

pytest.importorskip("mkdocs")
pytestmark = pytest.mark.slow
COUNTED = ("pre", "li", "ul", "ol", "table", "tr", "h2", "h3", "img")
FETCHED = re.compile(
    r"<(?:script|img|iframe|source)[^>]+src=\"?(?:https?:)?//|<link[^>]+href=\"?(?:https?:)?//[^>]*stylesheet"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Warnings are errors: links and anchors that lead nowhere, pages that the menu leaves out."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Counts(HTMLParser):
    """How many of each element a page's text has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in COUNTED:
            self.found[tag] += 1


def page_of(site: Path, name: str) -> str:
    """The HTML of a page of the tree: README.md is its folder's index."""
    path = Path(name)
    return (site / path.with_name("index.html" if path.name == "README.md" else f"{path.stem}.html")).read_text()


def test_every_page_is_on_the_site_as_a_forge_shows_it(site: Path) -> None:
    """As many lists, tables, code blocks, headings and pictures as CommonMark has, which a forge reads."""
    commonmark = MarkdownIt("commonmark").enable("table")
    for name in tree.pages():
        theirs = Counts(commonmark.render((ROOT / name).read_text(encoding="utf-8"))).found
        article = re.search(r"<article.*?</article>", page_of(site, name), re.DOTALL)
        assert article, name
        assert Counts(article[0]).found == theirs, name
        assert sum(theirs.values()) > 0, name


def test_nothing_is_fetched_from_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 70
    assert [page.name for page in pages if FETCHED.search(page.read_text(encoding="utf-8"))] == []
    styles = [
        path for path in site.rglob("*.css") if re.search(r"url\([\"']?https?:", path.read_text(encoding="utf-8"))
    ]
    assert styles == []


def test_pictures_that_pages_show_came_along(site: Path) -> None:
    pictures = [name for name in tree.linked_files(tree.pages()) if name.endswith(".png")]
    assert "results/quick/quick-tiny-narrow.png" in pictures
    assert [name for name in pictures if (site / name).read_bytes() != (ROOT / name).read_bytes()] == []


def test_the_reference_of_python_has_a_heading_for_each_public_name(site: Path) -> None:
    from handbook import python_api

    for page, names in (
        ("docs/reference/python.md", {**python_api.face(), **python_api.raised()}),
        ("docs/reference/plugin.md", {**python_api.for_authors(), **python_api.for_tests()}),
    ):
        text = page_of(site, page)
        headings = {
            re.sub(r"<[^>]+>", "", found) for found in re.findall(r"<h[23][^>]*>(.*?)</h[23]>", text, re.DOTALL)
        }
        words = {word for heading in headings for word in heading.split()}
        assert [name for name in names if name not in words] == []
    signature = re.sub(r"<[^>]+>", "", page_of(site, "docs/reference/python.md"))
    assert "pruning_seeds" in signature
    assert "UsageError" in signature
