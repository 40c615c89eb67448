"""docs/statistics.md: its commands run, what it quotes is printed, and its numbers are those of the code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from grid_world import ROOT, Ran

from paper_tables.statistics.power import smallest_detectable

PAGE = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w.]+)`:\n\n```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]
QUOTED = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the page's commands run: the committed results and the page's own files."""
    (tmp_path / "results").symlink_to(ROOT / "results")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_has_commands_a_file_and_a_quotation() -> None:
    assert (len(COMMANDS), list(FILES), len(QUOTED)) == (5, ["mine.toml"], 1)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_runs(run_harness: Callable[[list[str]], Ran], folder: Path, command: str) -> None:
    program, *words = shlex.split(command)
    assert program == "harness"
    done = run_harness(words)
    assert (done.code, done.err) == (0, "")
    assert all(len(line) <= 100 for line in done.out.splitlines() if "--json" not in words)
    if "--out" in words:
        assert done.out.split() == ["claims/reduced-claims.md", "claims/reduced-claims.json"]
        assert all((folder / name).is_file() for name in done.out.split())


def test_what_the_page_quotes_is_printed(run_harness: Callable[[list[str]], Ran], folder: Path) -> None:
    assert QUOTED[0] in run_harness(shlex.split(COMMANDS[0])[1:]).out


def test_the_users_claims_of_the_page_are_answered(run_harness: Callable[[list[str]], Ran], folder: Path) -> None:
    """The quick study has no dense int8 cell, and five seeds of the other; the reduced one has one seed of either."""
    said = [run_harness(shlex.split(command)[1:]).out for command in COMMANDS[-2:]]
    assert all("## int8-keeps-dense-accuracy: cannot say" in each for each in said)
    assert "n = 1: three seeds are needed" in said[0]
    assert "The study has no cell of dense int8 with one of dense fp32 beside it." in said[1]
    assert re.search(r"more-sparsity-costs-nothing +\| (held|not held|cannot say) +\| [-+]\d", said[1])


def test_what_five_and_ten_seeds_can_show_is_what_the_page_says() -> None:
    said = [f"{smallest_detectable(1.0, n):.2f} s(d)" for n in (5, 10)]
    assert all(each in PAGE for each in said)
