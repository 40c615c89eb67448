"""docs/report.md: its commands are run, its exit codes and sections are those there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from grid_world import ROOT

from harness.cli.main import main

PAGE = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) == 3


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_writes_the_page_that_it_names(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, *words = shlex.split(command)
    assert program == "harness"
    (tmp_path / "results").symlink_to(ROOT / "results")
    monkeypatch.chdir(tmp_path)
    assert main(words) == 0
    assert (tmp_path / words[words.index("--out") + 1]).read_text(encoding="utf-8").startswith("<!doctype html>")


def test_every_section_of_the_report_is_on_the_page() -> None:
    parts = ROOT / "paper_tables" / "report" / "page"
    on_report = set(re.findall(r'<a href="#\w+">([^<]+)</a>', (parts / "page.html.jinja").read_text(encoding="utf-8")))
    table = PAGE.partition("## What is on it")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| ([A-Z][\w ]+) \|", table, re.MULTILINE)) == on_report
