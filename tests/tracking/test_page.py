"""docs/tracking.md: its commands are run, its package works, and what it says of names is so."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from grid_world import ROOT, Ran
from tracked_store import filled, install_trackers

from harness.store.store import Store
from harness.studies.study import read_study
from harness.tracking.trackers import BUILT_IN

Run = Callable[[Sequence[str]], Ran]
PAGE = (ROOT / "docs" / "tracking.md").read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]


def run_line(line: str, run_harness: Run, monkeypatch: pytest.MonkeyPatch) -> Ran:
    words = shlex.split(line)
    while "=" in words[0]:
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    assert words[0] == "harness"
    return run_harness([*words[1:], *(["--executor", "debug"] if words[1] == "grid" else [])])


def test_commands_for_tensorboard(run_harness: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    lines = [line for line in COMMANDS if "tensorboard" in line]
    assert len(lines) == 3
    for line in lines:
        ran = run_line(line, run_harness, monkeypatch)
        assert (line, ran.code) == (line, 0), ran
        assert "warning" not in ran.err
        if line.endswith("--to tensorboard"):
            shown = ran.out.partition("to look at it: ")[2].strip()
            assert shown == f"tensorboard --logdir {tmp_path / 'runs' / 'trackers' / 'tensorboard'}"
            assert "tensorboard --logdir runs/trackers/tensorboard" in PAGE
    stages = read_study(Store(Path("runs")), "quick").plan.stages
    for folder in ("runs/trackers", "elsewhere"):
        assert len(list(Path(folder, "tensorboard", "quick").iterdir())) == len(stages)


@pytest.mark.slow
def test_commands_for_the_others(run_harness: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("wandb", "mlflow", "alembic", "trackio"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    filled(Path("runs"), methods=["dense"])
    lines = [line for line in COMMANDS if "tensorboard" not in line]
    assert len(lines) == 2
    for line in lines:
        ran = run_line(line, run_harness, monkeypatch)
        assert (line, ran.code, "warning" in ran.err) == (line, 0, False), ran
    assert [each["name"] for each in json.loads(ran.out)["trackers"]] == ["mlflow", "trackio"]


def test_its_package_is_a_tracker(run_harness: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = filled(tmp_path / "runs")
    install_trackers(tmp_path / "site", monkeypatch, "lines")
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "site" / "tracker_lines.py").write_text(code)
    ran = run_harness(["track", "--to", "lines", "--store", str(tmp_path / "runs")])
    sys.modules.pop("tracker_lines", None)
    assert ran.code == 0, ran
    lines = (tmp_path / "runs" / "trackers" / "lines" / "mine.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == [study.plan.label(i) for i in study.plan.stages]


def test_its_table_has_every_tracker_with_its_extra() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `pip install 'encoder-compression-harness\[(\w+)\]'` \|", PAGE, re.MULTILINE)
    assert rows == [(name, tracker.extra) for name, tracker in BUILT_IN.items()]


def test_every_extra_is_one_of_the_package() -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for tracker in BUILT_IN.values():
        brought = " ".join(extras[tracker.extra]).replace("-skinny", "")
        assert [name for name in tracker.packages if name not in brought] == []
