"""docs/figures.md: its commands are run, and what it says of names and kinds is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from harness.cli.main import main
from paper_tables.figures.pictures import FIGURE_KINDS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^(harness .*)$", "".join(re.findall(r"^```sh\n(.*?)^```$", TEXT, re.M | re.S)), re.M)


def test_the_page_names_every_kind() -> None:
    assert re.findall(r"^\| `(\w+)`", TEXT, re.M) == list(FIGURE_KINDS)


@pytest.mark.slow
def test_the_commands_of_the_page_draw_the_files_that_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").symlink_to(ROOT / "results")
    monkeypatch.chdir(tmp_path)
    assert len(COMMANDS) == 4
    for command in COMMANDS:
        assert main(shlex.split(command)[1:]) == 0
    assert {path.name for path in (tmp_path / "figures").glob("*.md")} == {"quick-tokens.md", "reduced-tokens.md"}
    stems = {path.stem for path in (tmp_path / "figures").iterdir()}
    curves = {stem for stem in stems if stem.startswith("reduced-curve-")}
    assert len(curves) == 1
    assert stems - curves == {
        *("quick-tiny-narrow", "quick-tiny-narrow-average"),
        *("reduced-minilm-l6-stored", "reduced-minilm-l6-stored-average", "reduced-tokens"),
        "quick-tokens",
        "reduced-minilm-l6-sparsity",
    }
