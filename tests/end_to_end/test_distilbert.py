"""The DistilBERT family through every stage: other module names, no pooler, no next-sentence head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_world
import torch
from safetensors.torch import load_file
from transformers import DistilBertConfig, DistilBertForMaskedLM, set_seed

from harness.cli import main as cli
from harness.compression.distillation import token_soft_target_loss
from harness.inputs.families import DISTILBERT
from harness.store.store import Store
from harness.studies.study import read_study
from harness.training.objectives import Distillation, PretrainingObjective

ENCODER = DISTILBERT.encoder_matrices(tiny_world.NUM_LAYERS)


@pytest.mark.slow
def test_a_distilbert_is_pruned_transferred_and_quantized(tiny: Any, tmp_path: Path) -> None:
    model = tiny_world.make_distilbert(tmp_path / "model")
    arguments = tiny_world.grid_arguments(model, tiny.data, tmp_path / "runs")
    assert cli.main([*arguments, "--methods", "prune-ofa", "--quantization", "none,int8"]) == 0
    store = Store(tmp_path / "runs")
    stages = read_study(store, tiny_world.STUDY).plan.stages
    records = {i: store.stage(i).read_record() for i in stages}
    (pruned,) = [i for i, s in stages.items() if s.kind == "student_pruning"]
    assert records[pruned]["result"]["did"][0] == "masked 12 of 12 encoder matrices"
    assert "nsp_accuracy" not in records[pruned]["result"]["metrics"]
    zeros = {
        name: load_file(store.stage(pruned).artifact_path / "model.safetensors")[f"{name}.weight"] == 0
        for name in ENCODER
    }
    assert sorted({int(z.sum()) for z in zeros.values()}) == [870, 1740]  # floor(.85 * 1024), floor(.85 * 2048)
    for stage_id, spec in stages.items():
        if spec.kind == "transfer":
            weights = load_file(store.stage(stage_id).artifact_path / "model.safetensors")
            assert all(torch.equal(weights[f"{name}.weight"] == 0, zeros[name]) for name in ENCODER)
        if spec.kind == "quantization":
            codes = load_file(store.stage(stage_id).artifact_path / "int8.safetensors")
            assert all(bool((codes[f"{name}.codes"][zeros[name]] == 0).all()) for name in ENCODER)
            # Residual branches and the value stay fp32; query, key and the first feed-forward matrix do not.
            requantised = {key.removesuffix(".output_scale") for key in codes if key.endswith(".output_scale")}
            assert requantised == {name for name in ENCODER if name.endswith(("q_lin", "k_lin", "lin1"))}


def test_the_masked_lm_loss_is_the_librarys_own_with_and_without_a_teacher() -> None:
    set_seed(0)
    config = DistilBertConfig(
        vocab_size=50, dim=16, n_layers=2, n_heads=2, hidden_dim=32, dropout=0.0, attention_dropout=0.0
    )
    student, teacher = DistilBertForMaskedLM(config), DistilBertForMaskedLM(config)
    ids = torch.randint(5, 50, (3, 12))
    attention = torch.ones_like(ids)
    attention[0, 8:] = 0
    labels = torch.where((torch.rand(3, 12) < 0.3) & (attention == 1), ids, -100)
    batch = {
        "input_ids": ids,
        "token_type_ids": torch.zeros_like(ids),  # the collator makes them; DistilBERT must not see them
        "attention_mask": attention,
        "labels": labels,
        "next_sentence_label": torch.zeros(3, dtype=torch.long),
    }
    output = student(input_ids=ids, attention_mask=attention, labels=labels)
    assert PretrainingObjective()(student, batch).item() == pytest.approx(output.loss.item(), rel=1e-5)
    kd = Distillation(teacher=teacher, ce_weight=0.4, kd_weight=0.6, temperature=2.0)
    with torch.no_grad():
        taught = teacher(input_ids=ids, attention_mask=attention).logits
    soft = token_soft_target_loss(output.logits, taught, attention, temperature=2.0)
    expected = 0.4 * output.loss + 0.6 * soft
    assert PretrainingObjective(distillation=kd)(student, batch).item() == pytest.approx(expected.item(), rel=1e-5)
