"""Small models with a sparse encoder in 8 bits, as a quantization stage leaves them, without a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import family_toys
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    set_seed,
)

from harness.compression.quantization import dequantize_linears, freeze, quantize_linears
from harness.inputs.families import FAMILIES
from harness.stages.fine_tuning import quantisable
from harness.training.model_inputs import inputs_for
from harness.training.modifiers import Matrices

VOCABULARY = 60
BERT_CONFIG = BertConfig(
    vocab_size=VOCABULARY,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    max_position_embeddings=64,
)
DISTILBERT_CONFIG = DistilBertConfig(
    vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=64
)
TOYS = {
    "bert": lambda: BertForSequenceClassification(BERT_CONFIG),
    "distilbert": lambda: DistilBertForSequenceClassification(DISTILBERT_CONFIG),
    "bert answering questions": lambda: BertForQuestionAnswering(BERT_CONFIG),
    "roberta": lambda: of_family("roberta", AutoModelForSequenceClassification),
    "electra": lambda: of_family("electra", AutoModelForSequenceClassification),
    "deberta-v2": lambda: of_family("deberta-v2", AutoModelForSequenceClassification),
    "modernbert answering questions": lambda: of_family("modernbert", AutoModelForQuestionAnswering),
}


def of_family(name: str, loader: Any) -> Any:
    config = family_toys.TOYS[name].config(VOCABULARY)
    return loader.from_config(config, attn_implementation=family_toys.TOYS[name].attention)


def toy(name: str, *, sparsity: float = 0.9) -> Any:
    """A model in evaluation mode, its encoder matrices with this share of zeros; weights large enough to matter."""
    set_seed(3)
    model = TOYS[name]()
    for matrix in matrices_of(model).encoder:
        weight = model.get_submodule(matrix).weight.data
        weight.mul_(8)
        count = int(sparsity * weight.numel())
        weight.view(-1)[weight.abs().view(-1).argsort()[:count]] = 0
    return model.eval()


def matrices_of(model: Any) -> Matrices:
    return Matrices.of(model, FAMILIES[model.config.model_type])


def batch(model: nn.Module, examples: int, tokens: int, *, seed: int = 0) -> dict[str, Tensor]:
    """Random tokens, later rows padded further; what the model takes of it."""
    draw = np.random.default_rng(seed)
    ids = torch.from_numpy(draw.integers(5, VOCABULARY, (examples, tokens)))
    attention = torch.ones_like(ids)
    for row in range(examples):
        attention[row, max(2, tokens - row) :] = 0
    inputs = {"input_ids": ids, "attention_mask": attention, "token_type_ids": torch.zeros_like(ids)}
    return inputs_for(model, inputs)


def quantise(model: Any) -> dict[str, Tensor]:
    """The model's codes, scales and ranges, these observed on a few batches; its weights become codes times scale."""
    family = FAMILIES[model.config.model_type]
    names = quantisable(model, matrices_of(model), family)
    quantize_linears(model, names, fp32_output_names=[name for name in names if family.keeps_fp32_output(name)])
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        for seed in range(4):
            model(**batch(model, 8, 24, seed=seed))
    frozen = freeze(model.eval())
    dequantize_linears(model, frozen)
    return frozen


def save(model: Any, folder: Path, frozen: dict[str, Tensor] | None = None) -> Path:
    """The folder as a stage's artifact has it, without a tokenizer."""
    model.save_pretrained(folder)
    if frozen is not None:
        save_file(frozen, folder / "int8.safetensors")
    return folder
