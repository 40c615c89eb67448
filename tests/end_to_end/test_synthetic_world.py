"""The quick preset's own models and data, from `harness grid` to a score, with far too few steps to learn anything."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from harness.cli import main as cli
from harness.store.store import Store
from harness.studies.study import read_study
from harness.synthetic.encoders import ENCODERS
from harness.synthetic.source import num_rows
from harness.synthetic.weights import weights

SETTINGS = {
    "teacher_preparation.steps": 3,
    "student_pruning.steps": 8,
    "dense.epochs": 1.0,
    "dense.learning_rate": 1e-9,
    "task_pruning.epochs": 1.0,
    "transfer.epochs": 1.0,
    "task.sst2.train_examples": 256,
    "evaluation_pairs": 16,
}


@pytest.mark.slow
def test_an_encoder_without_pre_training_is_trained_on_the_corpus_first(tmp_path: Path) -> None:
    settings = {key if "." in key else f"common.{key}": value for key, value in SETTINGS.items()}
    arguments = ["grid", "--preset", "quick", "--models", "tiny-wide", "--tasks", "sst2", "--seeds", "0"]
    arguments += ["--sparsities", "0.85", "--methods", "dense,finetune-pruning,prune-ofa", "--executor", "debug"]
    arguments += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    assert cli.main([*arguments, "--store", str(tmp_path)]) == 0

    store = Store(tmp_path)
    plan = read_study(store, "quick").plan
    by_kind = {spec.kind: spec for spec in plan.stages.values()}
    (prepared,) = (stage_id for stage_id, spec in plan.stages.items() if spec.kind == "teacher_preparation")
    for kind in ("dense", "task_pruning"):
        assert by_kind[kind].parents["model"] == prepared
        assert "model" not in by_kind[kind].inputs
    # Fine-tuned with next to no learning rate, the dense model is what pre-training left, and not what was drawn.
    (dense,) = (stage_id for stage_id, spec in plan.stages.items() if spec.kind == "dense")
    name = "encoder.layer.0.intermediate.dense.weight"
    tuned, left = (
        load_file(store.stage(stage).artifact_path / "model.safetensors")[f"bert.{name}"] for stage in (dense, prepared)
    )
    drawn = torch.from_numpy(weights(ENCODERS["tiny-wide"])[name])
    assert (tuned - left).abs().max() < 1e-6
    assert (tuned - drawn).abs().max() > 1e-4
    assert AutoModel.from_pretrained(store.stage(dense).artifact_path).config.hidden_size == 96
    for spec in plan.stages.values():
        if spec.kind == "evaluation":
            score = store.stage(spec.stage_id).read_record()["result"]["metrics"]["sst2"]
            assert score["num_examples"] == num_rows("validation")
    assert cli.main([*arguments, "--store", str(tmp_path)]) == 0  # and nothing is made again
    assert all(len(store.stage(stage_id).attempts()) == 1 for stage_id in plan.stages)
