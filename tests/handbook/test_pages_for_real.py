"""docs/own-model.md and docs/export.md with real stages, on encoders that train in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pages import Piece, commands, pieces
from tiny_world import grid_arguments

from harness.cli.main import main
from harness.runtimes.sessions import RUNTIMES
from harness.stages import latency
from harness.store.store import Store
from harness.studies.study import read_study

pytestmark = pytest.mark.slow
CHOSEN = ("torch fp32", "torch csr", "onnxruntime int8")  # one for every cell, and the sparse form


def run(piece: Piece, *more: str) -> dict[str, Any]:
    """What a snippet leaves; a command ends with 0."""
    left: dict[str, Any] = {}
    if piece.language == "python":
        exec(piece.text, left)
        return left
    ((_, *words),) = commands(piece.text)
    assert main([*words, *more]) == 0, piece.text
    return left


def test_a_model_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the data of docs/own-data.md, as the page says."""
    monkeypatch.chdir(tmp_path)
    run(next(piece for piece in pieces("docs/own-data.md") if piece.language == "python"))
    for piece in pieces("docs/own-model.md"):
        run(piece, *(["--executor", "debug"] if " grid " in piece.text and "--dry-run" not in piece.text else []))
    assert "| finetune-pruning | 0.50     | yes | 32   | " in capsys.readouterr().out
    assert (tmp_path / "small-sparse" / "model.safetensors").is_file()


def test_a_model_that_ships(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's own grid goes first, on the tiny world; time is measured of small calls, in three of the runtimes."""
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(latency, "RUNTIMES", [each for each in RUNTIMES if each.name in CHOSEN])
    export, load, grid, plots = pieces("docs/export.md")
    short = {"dense__epochs": 1.0, "transfer__epochs": 1.0, "quantization__epochs": 1.0, "student_pruning__steps": 8}
    tiny_grid = grid_arguments(tiny.model, tiny.data, Path("runs"), **short)
    ((_, _, _, _, *axes),) = commands(grid.text)  # harness grid --preset quick ..
    assert axes[-2:] == ["--measures", "packing,latency"]
    calls = ["--set", "latency.sizes=1x8", "--set", "latency.seconds=0.01"]
    assert main([*tiny_grid, "--study", "quick", *axes, *calls]) == 0
    store = Store(tmp_path / "runs")
    plan = read_study(store, "quick").plan
    measured = [
        (plan.stages[i].parameters["arithmetic"], each["runtime"], each["examples"], each["tokens"])
        for i, spec in plan.stages.items()
        if spec.kind == "latency"
        for each in store.stage(i).read_record()["result"]["latency"]["measured"]
    ]
    sparse, dense, int8 = ("fp32", "torch csr"), ("fp32", "torch fp32"), ("int8", "onnxruntime int8")
    assert sorted(measured) == [(*each, 1, 8) for each in (sparse, dense, dense, int8, int8)]
    capsys.readouterr()
    assert main(commands(plots.text)[0][1:]) == 0
    assert sorted(path.suffix for path in Path("figures").glob("*-speed.*")) == [".png", ".svg"]
    run(export)
    assert (tmp_path / "DIR" / "int8.safetensors").is_file()
    loaded = run(load)["loaded"]
    assert loaded.cell.quantization == "int8"
