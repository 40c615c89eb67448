"""methods/README.md is the catalogue as it is, and every method has a page."""

from __future__ import annotations

import re
from pathlib import Path

import methods_page
import pytest

from harness.planning.method_registry import BUILT_IN, get_method

FOLDERS = sorted({target.partition(":")[0].partition(".")[2] for target in BUILT_IN.values()})


def test_the_table_of_the_page_is_that_of_the_catalogue() -> None:
    text = methods_page.PAGE.read_text(encoding="utf-8")
    assert text == methods_page.page_with(text, methods_page.table()), "python tests/support/methods_page.py"


def page_of(module: str) -> str:
    folder = methods_page.ROOT / "methods" / module
    return (folder / "README.md" if folder.is_dir() else folder.with_suffix(".md")).read_text(encoding="utf-8")


@pytest.mark.parametrize("module", FOLDERS)
def test_every_method_has_a_page_that_says_where_it_comes_from_and_what_it_costs(module: str) -> None:
    names = [name for name, target in BUILT_IN.items() if target.partition(":")[0] == f"methods.{module}"]
    text = page_of(module)
    for name in names:
        assert re.search(rf"[`, ]{name}[`, ]", text)
        for number in re.findall(r"\d{4}\.\d{5}", get_method(name).source):
            assert number in text
    assert "cost" in text.lower()
    assert re.search("recipe|settings", text.lower())


@pytest.mark.parametrize("module", FOLDERS)
def test_every_page_says_in_a_part_of_its_own_where_we_differ(module: str) -> None:
    parts = re.findall(
        r"^(?:## |\*\*)Where we differ\b(.*?)(?=^## |^\*\*|\Z)", page_of(module), re.MULTILINE | re.DOTALL
    )
    assert len(parts) == 1
    assert len(parts[0].split()) > 10


@pytest.mark.parametrize(
    "page", sorted(methods_page.ROOT.glob("methods/**/*.md")), ids=lambda page: f"{page.parent.name}/{page.name}"
)
def test_links_of_the_pages_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert link.startswith("https://") or (page.parent / link).exists(), link
