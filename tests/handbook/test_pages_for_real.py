"""docs/own-model.md and docs/export.md with real stages, on encoders that train in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pages import Piece, commands, pieces
from tiny_world import grid_arguments

from harness.cli.main import main

pytestmark = pytest.mark.slow


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
    """The page's own grid goes first, on the tiny world and without measuring time, which takes its minutes."""
    monkeypatch.chdir(tmp_path)
    export, load, grid, plots = pieces("docs/export.md")
    assert "--measures packing,latency" in grid.text
    assert "--only speed" in plots.text
    short = {"dense__epochs": 1.0, "transfer__epochs": 1.0, "quantization__epochs": 1.0, "student_pruning__steps": 8}
    tiny_grid = grid_arguments(tiny.model, tiny.data, Path("runs"), **short)
    ((_, _, _, _, *axes),) = commands(grid.text)  # harness grid --preset quick ..
    assert main([*tiny_grid, "--study", "quick", *axes[:-1], "packing"]) == 0
    run(export)
    assert (tmp_path / "DIR" / "int8.safetensors").is_file()
    loaded = run(load)["loaded"]
    assert loaded.cell.quantization == "int8"
    capsys.readouterr()
    assert main(commands(plots.text)[0][1:]) == 4  # no time was measured here, and it says how to
    assert "nothing was measured. harness grid .. --measures latency does it." in capsys.readouterr().err
