"""Families: where the matrices of an architecture are, and which of them may be pruned.

A family names its matrices one by one. No pattern is matched against module names: in the authors' release such a
match left DistilBERT's `pre_classifier` out and let the tied vocabulary projector in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where the matrices of an architecture are.

    layers: module path of layer i, with {i}; linears: the prunable Linear modules inside a layer, in order.
    fp32_outputs: those whose output feeds a residual sum or the context product and stays fp32 under quantization
    (Q8BERT; the authors' configuration excludes "output.dense" and "value").
    pooler: module path of the pooler's Linear, or None.
    pretraining_heads, task_heads: top-level modules of the masked-LM and next-sentence head, and of the tasks' heads;
    the only ones (with the pooler) that a pre-trained folder may lack.
    architecture: keys of config.json that two models must share for one's weights to fit the other.
    """

    name: str
    backbone: str
    layers: str
    linears: tuple[str, ...]
    fp32_outputs: tuple[str, ...]
    pooler: str | None
    pretraining_heads: tuple[str, ...]
    task_heads: tuple[str, ...]
    architecture: tuple[str, ...]

    def encoder_matrices(self, num_layers: int) -> list[str]:
        """Module names of the prunable encoder matrices, in layer order: 6 a layer for BERT."""
        layers = [f"{self.backbone}.{self.layers.format(i=i)}" for i in range(num_layers)]
        return [f"{layer}.{linear}" for layer in layers for linear in self.linears]

    def may_be_new(self, parameter_name: str) -> bool:
        """Whether a parameter that a pre-trained folder lacks may be drawn at random: heads and pooler only."""
        heads = (*self.pretraining_heads, *self.task_heads, f"{self.backbone}.pooler")
        return any(parameter_name.startswith(f"{head}.") for head in heads)

    def keeps_fp32_output(self, module_name: str) -> bool:
        """Whether a quantised Linear's output must not be requantised: heads, and what `fp32_outputs` names."""
        return module_name in self.task_heads or any(module_name.endswith(f".{name}") for name in self.fp32_outputs)


BERT = Family(
    name="bert",
    backbone="bert",
    layers="encoder.layer.{i}",
    linears=(
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    ),
    fp32_outputs=("attention.self.value", "attention.output.dense", "output.dense"),
    pooler="pooler.dense",
    pretraining_heads=("cls",),
    task_heads=("classifier", "qa_outputs"),
    architecture=(
        "num_hidden_layers",
        "hidden_size",
        "num_attention_heads",
        "intermediate_size",
        "hidden_act",
        "vocab_size",
        "max_position_embeddings",
        "type_vocab_size",
    ),
)

DISTILBERT = Family(
    name="distilbert",
    backbone="distilbert",
    layers="transformer.layer.{i}",
    linears=(
        "attention.q_lin",
        "attention.k_lin",
        "attention.v_lin",
        "attention.out_lin",
        "ffn.lin1",
        "ffn.lin2",
    ),
    fp32_outputs=("attention.v_lin", "attention.out_lin", "ffn.lin2"),
    pooler=None,
    pretraining_heads=("vocab_transform", "vocab_layer_norm", "vocab_projector"),
    task_heads=("pre_classifier", "classifier", "qa_outputs"),
    architecture=("n_layers", "dim", "n_heads", "hidden_dim", "activation", "vocab_size", "max_position_embeddings"),
)

FAMILIES: Mapping[str, Family] = {"bert": BERT, "distilbert": DISTILBERT}


def num_layers(config: Mapping[str, Any]) -> Any:
    return config.get("num_hidden_layers", config.get("n_layers"))
