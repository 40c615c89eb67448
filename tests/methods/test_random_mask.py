"""The stage of the random mask on a real model: what it zeroes, what it leaves, and what the transfer makes of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_world
import torch
from safetensors.torch import load_file

from harness.compression.mask import num_zeros
from harness.progress import NEVER
from harness.stages.loading import load_for_pretraining, load_for_task
from harness.tasks import get_task
from methods.random_mask.stage import mask, zero_at_random

SPARSITY = 0.85
POOLER = "bert.pooler.dense.weight"


def masked(folder: Path, start: Path, **parameters: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """The result, and the tensors of the artifact."""
    folder.mkdir()
    context: Any = SimpleNamespace(
        parameters={"model": "tiny", "sparsity": SPARSITY, "seed": 0, "prune_pooler": True, **parameters},
        parent_artifacts={"model": start},
        artifact=folder,
        checked=NEVER.over,
    )
    return mask(context), load_file(folder / "model.safetensors")


def is_masked(name: str) -> bool:
    return ".layer." in name and name.endswith(".weight") and "LayerNorm" not in name


def test_every_encoder_matrix_has_its_exact_count_and_all_else_is_as_it_was(tiny: Any, tmp_path: Path) -> None:
    result, tensors = masked(tmp_path / "a", tiny.model)
    before = load_file(tiny.model / "model.safetensors")
    matrices = [name for name in tensors if is_masked(name)]
    assert len(matrices) == tiny_world.MATRICES
    for name, tensor in tensors.items():
        if not name.startswith("bert."):
            continue  # a head, drawn
        old = before[name.removeprefix("bert.")]
        if name in matrices or name == POOLER:
            assert int((tensor == 0).sum()) == num_zeros(SPARSITY, tensor.numel())
            assert bool((tensor == torch.where(tensor == 0, 0.0, old)).all())
            assert not bool(torch.signbit(tensor[tensor == 0]).any()), "+0.0, so that equal weights have equal bytes"
        else:
            assert tensor.equal(old)
    zeros = result.details["sparsity"]
    assert zeros["encoder_zeros"] == sum(num_zeros(SPARSITY, tensors[name].numel()) for name in matrices)
    assert result.did == [
        "masked 12 of 12 encoder matrices at random",
        "masked 1 of 1 pooler matrices at random",
    ]


def test_the_pooler_stays_dense_where_it_is_not_pruned(tiny: Any, tmp_path: Path) -> None:
    result, tensors = masked(tmp_path / "a", tiny.model, prune_pooler=False)
    assert not bool((tensors[POOLER] == 0).any())
    assert result.did[1] == "masked 0 of 1 pooler matrices at random"


def test_a_seed_repeats_bit_for_bit_and_another_is_another_mask(tiny: Any, tmp_path: Path) -> None:
    patterns = []
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        result, _ = masked(tmp_path / name, tiny.model, seed=seed)
        patterns.append(
            (result.details["sparsity"]["pattern_sha256"], (tmp_path / name / "model.safetensors").read_bytes())
        )
    assert patterns[0] == patterns[1]
    assert patterns[0][0] != patterns[2][0]


def test_the_draw_of_a_matrix_depends_on_its_name_and_not_on_the_others(tiny: Any) -> None:
    def zeros(*names: str) -> torch.Tensor:
        model = load_for_pretraining(tiny.model, seed=0, attention="eager", new_head=True)
        zero_at_random(model, names, SPARSITY, 3)
        return model.get_submodule(names[-1]).weight == 0

    first, second = (f"bert.encoder.layer.{layer}.attention.self.query" for layer in (0, 1))
    assert zeros(first, second).equal(zeros(second))
    assert not zeros(first).equal(zeros(second)), "two matrices of one shape have two masks"


def test_the_transfer_starts_from_its_zeros(tiny: Any, tmp_path: Path) -> None:
    masked(tmp_path / "a", tiny.model)
    model = load_for_task(tmp_path / "a", get_task("sst2"), seed=0, attention="eager", new_head=True)
    weight = model.bert.encoder.layer[1].output.dense.weight
    assert int((weight == 0).sum()) == num_zeros(SPARSITY, weight.numel())


@pytest.mark.slow
def test_the_controls_run_to_a_table(tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli import main as cli

    controls = "dense,dense-kd,dense-prepared,dense-continued,finetune-pruning-prepared,random-mask"
    arguments = tiny_world.grid_arguments(tiny.model, tiny.data, tmp_path, dense__epochs=1.0)
    assert cli.main([*arguments, "--tasks", "sst2", "--methods", controls, "--sparsities", "0,.5"]) == 0
    assert cli.main(["tables", "--store", str(tmp_path)]) == 0
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    found = {row[1].strip(): (row[2].strip(), row[3].strip()) for row in rows[1:]}
    assert found == {
        "dense": ("0.00", "na"),
        "dense-kd": ("0.00", "yes"),
        "dense-prepared": ("0.00", "na"),
        "dense-continued": ("0.00", "yes"),
        "finetune-pruning-prepared": ("0.50", "yes"),
        "random-mask": ("0.50", "yes"),
    }
