"""docs/results.md says nothing that a committed page does not say: tables line by line, pictures, commands that run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from harness.cli.main import main

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "results.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]


def tables() -> list[tuple[Path, list[str]]]:
    """Each table with the page that it is said to be from: the last one that is linked before it."""
    found: list[tuple[Path, list[str]]] = []
    page, before = PAGE, ""
    for line in TEXT.splitlines():
        for link in re.findall(r"\]\((\.\./results/[^)]+\.md)\)", line):
            page = (PAGE.parent / link).resolve()
        if line.startswith("|"):
            if not before.startswith("|"):
                found.append((page, []))
            found[-1][1].append(line)
        before = line
    return found


def test_there_are_tables_of_both_encoders_and_of_real_text() -> None:
    pages = {page.name for page, _ in tables()}
    assert {"quick.md", "quick-claims.md", "quick-wide.md", "quick-wide-claims.md", "reduced-claims.md"} <= pages


@pytest.mark.parametrize(("page", "lines"), tables(), ids=[f"{n} {page.stem}" for n, (page, _) in enumerate(tables())])
def test_every_line_of_a_table_stands_in_the_page_that_it_is_from(page: Path, lines: list[str]) -> None:
    committed = page.read_text(encoding="utf-8").splitlines()
    assert page.is_relative_to(ROOT / "results")
    assert [line for line in lines if line not in committed] == []
    assert len(lines) > 2


def test_every_page_and_picture_that_is_named_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)", TEXT)
    assert any(link.endswith(".png") for link in links)
    assert [link for link in links if not (PAGE.parent / link).exists()] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_trace_runs(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    program, *words = shlex.split(command)
    assert program == "harness"
    assert main(words) == 0
    assert "records, each above those it was made from:" in capsys.readouterr().out


def test_the_readme_takes_its_table_and_picture_from_here() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = {Path(link).name for link in re.findall(r"!\[[^\]]*\]\(([^)]+\.png)\)", readme)}
    assert pictures
    assert all(picture in TEXT for picture in pictures)
    excerpt = [line for line in readme.splitlines() if line.startswith(("| dense ", "| finetune-", "| prune-ofa "))]
    assert len(excerpt) == 7
    assert set(excerpt) <= set(TEXT.splitlines())
