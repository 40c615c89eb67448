"""The module lists of the families against the library's own models (published shapes, no weights in memory)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForPreTraining,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
)

from harness.inputs.families import FAMILIES
from harness.stages.fine_tuning import quantisable
from harness.training.modifiers import Matrices

BASE = BertConfig()
LARGE = BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
DISTIL = DistilBertConfig()
CONFIGS = {"bert-base": BASE, "bert-large": LARGE, "distilbert": DISTIL}


def built(loader: Any, config: Any) -> nn.Module:
    with torch.device("meta"):
        return loader.from_config(config)


@pytest.mark.oracle("O10")
@pytest.mark.parametrize(
    ("name", "matrices", "weights", "with_pooler"),
    [("bert-base", 72, 84_934_656, 73), ("bert-large", 144, 301_989_888, 145), ("distilbert", 36, 42_467_328, 36)],
)
def test_the_prunable_matrices_are_the_published_ones(name: str, matrices: int, weights: int, with_pooler: int) -> None:
    config = CONFIGS[name]
    model = built(AutoModelForPreTraining, config)
    found = Matrices.of(model, FAMILIES[config.model_type])
    assert len(found.encoder) == matrices
    assert sum(model.get_submodule(n).weight.numel() for n in found.encoder) == weights
    assert len(found.masked(with_pooler=True)) == with_pooler
    # What is left out among the Linears are heads: the masked-LM transform and decoder, and next-sentence.
    others = {n for n, m in model.named_modules() if isinstance(m, nn.Linear)} - set(found.masked(with_pooler=True))
    assert all(FAMILIES[config.model_type].may_be_new(f"{n}.weight") for n in others)


@pytest.mark.parametrize("loader", [AutoModelForSequenceClassification, AutoModelForQuestionAnswering])
@pytest.mark.parametrize("name", ["bert-base", "distilbert"])
def test_every_linear_of_a_task_model_is_quantised_and_residual_branches_stay_fp32(loader: Any, name: str) -> None:
    config = CONFIGS[name]
    family, model = FAMILIES[config.model_type], built(loader, config)
    names = quantisable(model, Matrices.of(model, family), family)
    assert set(names) == {n for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    kept = [n for n in names if family.keeps_fp32_output(n)]
    # value, attention output and feed-forward output of every layer, and the head (DistilBERT has two modules there).
    heads = [n for n in names if n in family.task_heads]
    assert len(kept) == 3 * (config.num_hidden_layers) + len(heads)
    last = "output.dense" if name == "bert-base" else "ffn.lin2"
    assert sum(n.endswith(last) for n in kept) >= config.num_hidden_layers
