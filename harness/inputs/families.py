"""Families: where the matrices of an architecture are, which of them may be pruned, and what shape they have.

A family names its matrices one by one. No pattern is matched against module names: in the authors' release such a
match left DistilBERT's `pre_classifier` out and let the tied vocabulary projector in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ShapeInSizes = tuple[str, ...]  # a tensor's shape in names of sizes: ("feed_forward", "width")


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where the matrices of an architecture are.

    layers: module path of layer i, with {i}; linears: the prunable Linear modules inside a layer, in order, with the
    shape of their weights; norms: its layer norms. embeddings: tensors before the first layer.
    fp32_outputs: those whose output feeds a residual sum or the context product and stays fp32 under quantization
    (Q8BERT; the authors' configuration excludes "output.dense" and "value").
    pooler: module path of the pooler's Linear, or None.
    pretraining_heads, task_heads: top-level modules of the masked-LM and next-sentence head, and of the tasks' heads;
    the only ones (with the pooler) that a pre-trained folder may lack.
    architecture: keys of config.json that two models must share for one's weights to fit the other, each with the
    library's value where it is left out. sizes: which of them gives which size. aliases: other names of such keys.
    """

    name: str
    backbone: str
    layers: str
    linears: Mapping[str, ShapeInSizes]
    norms: tuple[str, ...]
    embeddings: Mapping[str, ShapeInSizes]
    fp32_outputs: tuple[str, ...]
    pooler: str | None
    pretraining_heads: tuple[str, ...]
    task_heads: tuple[str, ...]
    architecture: Mapping[str, Any]
    sizes: Mapping[str, str]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def encoder_matrices(self, num_layers: int) -> list[str]:
        """Module names of the prunable encoder matrices, in layer order: 6 a layer for BERT."""
        layers = [f"{self.backbone}.{self.layers.format(i=i)}" for i in range(num_layers)]
        return [f"{layer}.{linear}" for layer in layers for linear in self.linears]

    def setting(self, config: Mapping[str, Any], key: str) -> Any:
        """What config.json says of a key of `architecture`, under either name; the library's value where it does not.

        Nothing is known of its type.
        """
        other = next((name for name, meant in self.aliases.items() if meant == key), key)
        return config.get(key, config.get(other, self.architecture[key]))

    def tensors(self, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """Names, without the backbone's before them, and shapes of the encoder's tensors; the pooler is left out.

        sizes: by the names of `sizes`.
        """
        width = (sizes["width"],)
        found = {name: tuple(sizes[size] for size in shape) for name, shape in self.embeddings.items()}
        for i in range(sizes["layers"]):
            layer = self.layers.format(i=i)
            for linear, shape in self.linears.items():
                rows, columns = (sizes[size] for size in shape)
                found[f"{layer}.{linear}.weight"], found[f"{layer}.{linear}.bias"] = (rows, columns), (rows,)
            for norm in self.norms:
                found[f"{layer}.{norm}.weight"] = found[f"{layer}.{norm}.bias"] = width
        return found

    def pooler_tensors(self, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the pooler's tensors, as `tensors`; a folder may lack them."""
        if self.pooler is None:
            return {}
        width = sizes["width"]
        return {f"{self.pooler}.weight": (width, width), f"{self.pooler}.bias": (width,)}

    def bare(self, name: str) -> str:
        """A tensor's name without the backbone's before it, as a bare encoder stores it."""
        return name.removeprefix(f"{self.backbone}.")

    def is_of_a_head(self, name: str) -> bool:
        """Whether a tensor belongs to a head: of pre-training or of a task."""
        return name.partition(".")[0] in (*self.pretraining_heads, *self.task_heads)

    def may_be_new(self, parameter_name: str) -> bool:
        """Whether a parameter that a pre-trained folder lacks may be drawn at random: heads and pooler only."""
        return self.is_of_a_head(parameter_name) or parameter_name.startswith(f"{self.backbone}.pooler.")

    def keeps_fp32_output(self, module_name: str) -> bool:
        """Whether a quantised Linear's output must not be requantised: heads, and what `fp32_outputs` names."""
        return module_name in self.task_heads or any(module_name.endswith(f".{name}") for name in self.fp32_outputs)


BERT = Family(
    name="bert",
    backbone="bert",
    layers="encoder.layer.{i}",
    linears={
        "attention.self.query": ("width", "width"),
        "attention.self.key": ("width", "width"),
        "attention.self.value": ("width", "width"),
        "attention.output.dense": ("width", "width"),
        "intermediate.dense": ("feed_forward", "width"),
        "output.dense": ("width", "feed_forward"),
    },
    norms=("attention.output.LayerNorm", "output.LayerNorm"),
    embeddings={
        "embeddings.word_embeddings.weight": ("vocabulary", "width"),
        "embeddings.position_embeddings.weight": ("positions", "width"),
        "embeddings.token_type_embeddings.weight": ("token_types", "width"),
        "embeddings.LayerNorm.weight": ("width",),
        "embeddings.LayerNorm.bias": ("width",),
    },
    fp32_outputs=("attention.self.value", "attention.output.dense", "output.dense"),
    pooler="pooler.dense",
    pretraining_heads=("cls",),
    task_heads=("classifier", "qa_outputs"),
    architecture={
        "num_hidden_layers": 12,
        "hidden_size": 768,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
    },
    sizes={
        "layers": "num_hidden_layers",
        "width": "hidden_size",
        "heads": "num_attention_heads",
        "feed_forward": "intermediate_size",
        "vocabulary": "vocab_size",
        "positions": "max_position_embeddings",
        "token_types": "type_vocab_size",
    },
)

DISTILBERT = Family(
    name="distilbert",
    backbone="distilbert",
    layers="transformer.layer.{i}",
    linears={
        "attention.q_lin": ("width", "width"),
        "attention.k_lin": ("width", "width"),
        "attention.v_lin": ("width", "width"),
        "attention.out_lin": ("width", "width"),
        "ffn.lin1": ("feed_forward", "width"),
        "ffn.lin2": ("width", "feed_forward"),
    },
    norms=("sa_layer_norm", "output_layer_norm"),
    embeddings={
        "embeddings.word_embeddings.weight": ("vocabulary", "width"),
        "embeddings.position_embeddings.weight": ("positions", "width"),
        "embeddings.LayerNorm.weight": ("width",),
        "embeddings.LayerNorm.bias": ("width",),
    },
    fp32_outputs=("attention.v_lin", "attention.out_lin", "ffn.lin2"),
    pooler=None,
    pretraining_heads=("vocab_transform", "vocab_layer_norm", "vocab_projector"),
    task_heads=("pre_classifier", "classifier", "qa_outputs"),
    architecture={
        "n_layers": 6,
        "dim": 768,
        "n_heads": 12,
        "hidden_dim": 3072,
        "activation": "gelu",
        "vocab_size": 30522,
        "max_position_embeddings": 512,
    },
    sizes={
        "layers": "n_layers",
        "width": "dim",
        "heads": "n_heads",
        "feed_forward": "hidden_dim",
        "vocabulary": "vocab_size",
        "positions": "max_position_embeddings",
    },
    aliases={"hidden_size": "dim", "num_attention_heads": "n_heads", "num_hidden_layers": "n_layers"},
)

FAMILIES: Mapping[str, Family] = {"bert": BERT, "distilbert": DISTILBERT}
