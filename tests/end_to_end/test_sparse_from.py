"""A sparse checkpoint of one's own, from a folder to a row of the table."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
import tiny_world
import torch
from safetensors.torch import load_file

from harness.cli import main as cli
from harness.inputs.families import BERT, DISTILBERT
from harness.store.store import Store
from harness.studies.study import read_study


@pytest.mark.slow
@pytest.mark.parametrize("family", [BERT, DISTILBERT], ids=lambda family: family.name)
def test_ones_own_checkpoint_is_locked_transferred_quantized_and_tabulated(
    tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], family: Any
) -> None:
    base = tiny.model if family is BERT else tiny_world.make_distilbert(tmp_path / "base")
    folder = tiny_world.make_sparse(tmp_path / "mine", base, 0.7)
    arguments = tiny_world.grid_arguments(base, tiny.data, tmp_path / "runs", transfer__epochs=1)
    arguments += ["--sparse-from", f"mine={folder}", "--tasks", "sst2", "--quantization", "none,int8"]
    assert cli.main(arguments) == 0
    store = Store(tmp_path / "runs")
    plan = read_study(store, tiny_world.STUDY).plan
    assert plan.counts() == {"dense": 1, "evaluation": 3, "sparse_checkpoint": 1, "transfer": 1, "quantization": 1}
    given = load_file(folder / "model.safetensors")
    (transfer,) = [i for i, s in plan.stages.items() if s.kind == "transfer"]
    moved = load_file(store.stage(transfer).artifact_path / "model.safetensors")
    for name in family.encoder_matrices(tiny_world.NUM_LAYERS):
        assert torch.equal(moved[f"{name}.weight"] == 0, given[f"{name}.weight"] == 0), name
        assert not torch.equal(moved[f"{name}.weight"], given[f"{name}.weight"]), name

    capsys.readouterr()
    assert cli.main(["tables", "--store", str(store.root), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    # floor(.7 * 1024) = 716 and floor(.7 * 2048) = 1433 zeros: 2 * (4 * 716 + 2 * 1433) of 16,384 are .6995.
    assert [(row["method"], row["sparsity"], row["bits"]) for row in rows] == [
        ("dense", "0.00", "32"),
        ("sparse-from:mine", "0.6995", "32"),
        ("sparse-from:mine", "0.6995", "8"),
    ]
    assert cli.main(["tables", "--store", str(store.root)]) == 0
    table = capsys.readouterr().out
    assert table.count("| mine ") == 2
    assert "not pruned here but taken from mine; 11,460 of 16,384 encoder weights are zero." in table
    # The same command again starts nothing; the folder changed is another checkpoint.
    assert cli.main([*arguments, "--dry-run"]) == 0
    assert "0 to run" in capsys.readouterr().out
