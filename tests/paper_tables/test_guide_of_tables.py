"""docs/tables.md: every command on it runs, and its table file is one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from harness.cli.main import main

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (harness .*)$", GUIDE, flags=re.MULTILINE)
# What is missing or not shared in the committed studies; all others end with 0.
QUOTED = ("Movement pruning (quoted)", "Soft movement pruning (quoted)")
ENDS_WITH_4 = {"--store nothing", "--compare results/reduced:reduced"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "results").symlink_to(ROOT / "results")
    (table,) = re.findall(r"^```toml\n(.*?)^```", GUIDE, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.toml").write_text(table, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 12


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_runs(command: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(shlex.split(command)[1:])
    assert code == (4 if any(words in command for words in ENDS_WITH_4) else 0)
    printed = capsys.readouterr().out
    assert printed
    assert all(len(line) <= 100 for line in printed.splitlines() if line.startswith("|"))


def test_ones_own_table_has_its_line_its_choice_and_its_quotes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tables", "--store", "results/quick", "--study", "quick", "--table", "mine.toml"]) == 0
    text = capsys.readouterr().out
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert rows == ["method", "dense", "finetune-pruning", "prune-ofa", "prune-ofa", "method", *QUOTED]
    assert "85.55±4.93 [a]" in text  # the committed study: dense on sst2
    assert text.count("[a]") == 4  # dense and two of prune-ofa, and the footnote itself
    assert "86.20" in text
    assert "40.0x" in text


def test_two_runs_write_the_same_bytes(place: Path) -> None:
    words = ["tables", "--store", "results/quick", "--study", "quick", "--table", "all", "--out"]
    for out in ("one", "two"):
        assert main([*words, out]) == 0
    files = sorted(path.name for path in (place / "one").iterdir())
    assert len(files) == 6 * 4
    for name in files:
        assert (place / "one" / name).read_bytes() == (place / "two" / name).read_bytes()
        assert str(place) not in (place / "one" / name).read_text(encoding="utf-8")
