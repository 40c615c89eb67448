"""docs/merging.md: its commands, in order, do what the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from filled_stores import finish, make_study
from grid_world import ROOT

from harness.cli.main import main

PAGE = ROOT / "docs" / "merging.md"


def test_every_command_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    finish(Path("ann"), make_study(Path("ann"), seeds=(0, 1)), who="ann")
    finish(Path("bob"), make_study(Path("bob"), seeds=(2,)), who="bob")
    other = {"metrics": {"mlm_accuracy": 0.5, "mlm_correct": 2, "mlm_positions": 4}, "training": {"tokens_seen": 1000}}
    finish(
        Path("eve"),
        make_study(Path("eve"), seeds=(3,)),
        who="eve",
        result=lambda spec: other if spec.kind == "student_pruning" else {},
    )
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) == 6
    for line in lines:
        told = re.search(r"# exits (\d)", line)
        code = main(shlex.split(line, comments=True)[1:])
        assert (line, code) == (line, int(told[1]) if told else 0), capsys.readouterr()
    out = capsys.readouterr().out
    assert "sst2 accuracy: " in out
    assert "over 3 seeds" in out
