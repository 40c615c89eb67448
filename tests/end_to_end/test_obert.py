"""oBERT on the tiny world, on the task and upstream, from `harness grid` to int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_world
import torch
from safetensors.torch import load_file

from harness.cli import main as cli
from harness.compression.mask import num_zeros
from harness.inputs.families import BERT
from harness.store.store import Store
from harness.studies.study import read_study

pytestmark = pytest.mark.slow
ENCODER = BERT.encoder_matrices(tiny_world.NUM_LAYERS)
SHARED = {"num_gradients": 6, "gradient_batch": 4, "block_size": 16}
SETTINGS = {
    **{
        f"{kind}.{name}": value
        for kind in ("obert:pruning", "obert-upstream:pruning")
        for name, value in SHARED.items()
    },
    "obert:pruning.epochs": 3.0,
    "obert:pruning.batch_size": 8,
    "obert:pruning.learning_rate": 0.003,
    "obert-upstream:pruning.steps": 24,
    "obert-upstream:pruning.batch_size": 8,
}


@pytest.fixture(scope="module")
def finished(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, Any], Path]]:
    """Record and artifact of each training stage by kind."""
    root = tmp_path_factory.mktemp("store")
    chosen = ["--methods", "obert,obert-upstream", "--tasks", "sst2", "--sparsities", "0.9", "--quantization", "int8"]
    arguments = tiny_world.grid_arguments(tiny.model, tiny.data, root, **SETTINGS)
    assert cli.main([*arguments, *chosen]) == 0
    store, found = Store(root), {}
    plan = read_study(store, tiny_world.STUDY).plan
    for stage_id, spec in plan.stages.items():
        stage, parent = store.stage(stage_id), plan.stages.get(spec.parents.get("model", ""))
        name = f"{spec.kind} of {parent.kind}" if parent is not None else spec.kind
        if stage.artifact_path.is_dir():
            found[name] = (stage.read_record(), stage.artifact_path)
    return found


def pattern(artifact: Path) -> dict[str, torch.Tensor]:
    weights = load_file(artifact / "model.safetensors")
    return {name: weights[f"{name}.weight"] == 0 for name in [*ENCODER, "bert.pooler.dense"]}


@pytest.mark.parametrize("kind", ["obert:pruning", "obert-upstream:pruning"])
def test_the_sparsity_is_exact_over_all_matrices(finished: dict[str, Any], kind: str) -> None:
    record, artifact = finished[kind]
    zeros = {name: int(where.sum()) for name, where in pattern(artifact).items()}
    assert sum(zeros[name] for name in ENCODER) == num_zeros(0.9, tiny_world.ENCODER_WEIGHTS)
    assert zeros["bert.pooler.dense"] == num_zeros(0.9, 32 * 32)
    assert len({zeros[name] for name in ENCODER}) > 2  # one ranking for all
    result = record["result"]
    assert "masked 12 of 12 encoder matrices" in result["did"]
    assert result["cycles"]["sparsities"][-1] == 0.9
    events = {"obert:pruning": [2, 7, 12, 17, 22, 26, 31], "obert-upstream:pruning": [1, *range(2, 23, 2)]}
    assert result["cycles"]["events"] == events[kind]


@pytest.mark.oracle("O44")
def test_the_pattern_is_kept_by_transfer_and_by_quantization(finished: dict[str, Any]) -> None:
    for chain in (
        ("obert:pruning", "quantization of obert:pruning"),
        ("obert-upstream:pruning", "transfer of obert-upstream:pruning", "quantization of transfer"),
    ):
        first, *later = (pattern(finished[name][1]) for name in chain)
        assert later
        for after in later:
            assert all(bool((after[name] | ~first[name]).all()) for name in first)
        locked = finished[chain[-1]][0]["result"]["sparsity"]["pattern_sha256"]
        assert locked == finished[chain[0]][0]["result"]["sparsity"]["pattern_sha256"]


def test_upstream_distils_from_the_prepared_teacher_and_is_measured_on_held_out_pairs(finished: dict[str, Any]) -> None:
    record, _ = finished["obert-upstream:pruning"]
    assert record["parents"].keys() == {"pairs", "teacher"}
    assert record["result"]["metrics"]["mlm_positions"] > 0
