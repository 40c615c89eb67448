"""Family: where the matrices of an architecture are, which of them may be pruned, and what shape they have.

A family names its matrices one by one. No pattern is matched against module names: in the authors' release such a
match left DistilBERT's `pre_classifier` out and let the tied vocabulary projector in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# A tensor's shape in names of sizes: ("feed_forward", "width"). "3*width" is three times that size: matrices that
# stand in one above each other.
ShapeInSizes = tuple[str, ...]
SIZES = ("layers", "width", "heads", "feed_forward", "vocabulary", "positions")  # those that every family has
KERNELS = ("sdpa", "eager")  # attention kernels that a recipe may name
BERT_TOKENS: Mapping[str, str] = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where the matrices of an architecture are.

    name: the model_type of config.json. backbone: the encoder's module in a model with a head.
    layers: module path of layer i, with {i}; linears: the prunable Linear modules inside a layer, in order, with the
    shape of their weights; norms: its layer norms. biases: whether these have biases. absent: norms that one layer
    lacks, by their whole path. embeddings: tensors outside the layers. projections: Linears between the embeddings and
    the first layer, each there where its two sizes differ; never pruned.
    fp32_outputs: Linears of a layer whose output feeds a residual sum or the context product and stays fp32 under
    quantization (Q8BERT; the authors' configuration excludes "output.dense" and "value").
    pooler: module path of the pooler's Linear, or None.
    pretraining_heads: top-level modules of the pre-training heads; task_heads: the Linears of the tasks' heads. The
    top-level modules of both are the only ones (with the pooler) that a pre-trained folder may lack.
    masked_lm_transform: what the masked-LM head does before its last Linear, in order: modules, and functions of the
    library as "gelu()". masked_lm_decoder: that last Linear, tied to the word embeddings. next_sentence: the Linear of
    the next-sentence head; None: there is none, and pre-training is masked LM alone.
    architecture: keys of config.json that two models must share for one's weights to fit the other, each with the
    library's value where it is left out. sizes: which of them gives which size. aliases: other names of such keys.
    fixed: which of them must have one value: with another one, the modules are others than these.
    token_types: whether the model is told which text a token is of. special_tokens: what a tokenizer calls the tokens
    around a text where its files do not say. positions_after: the key of config.json above whose number positions are
    counted; None: from 0. attention: the kernels that the library has for it.
    """

    name: str
    backbone: str
    layers: str
    linears: Mapping[str, ShapeInSizes]
    norms: tuple[str, ...]
    embeddings: Mapping[str, ShapeInSizes]
    fp32_outputs: tuple[str, ...]
    pretraining_heads: tuple[str, ...]
    task_heads: tuple[str, ...]
    masked_lm_transform: tuple[str, ...]
    masked_lm_decoder: str
    architecture: Mapping[str, Any]
    sizes: Mapping[str, str]
    pooler: str | None = None
    next_sentence: str | None = None
    biases: bool = True
    absent: tuple[str, ...] = ()
    projections: Mapping[str, ShapeInSizes] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    token_types: bool = True
    special_tokens: Mapping[str, str] = field(default_factory=lambda: dict(BERT_TOKENS))
    positions_after: str | None = None
    attention: tuple[str, ...] = KERNELS

    def encoder_matrices(self, num_layers: int) -> list[str]:
        """Module names of the prunable encoder matrices, in layer order: 6 a layer for BERT."""
        layers = [f"{self.backbone}.{self.layers.format(i=i)}" for i in range(num_layers)]
        return [f"{layer}.{linear}" for layer in layers for linear in self.linears]

    def layer_weights(self, sizes: Mapping[str, int]) -> int:
        """Weights of the prunable matrices of one layer."""
        return sum(math.prod(shape_of(shape, sizes)) for shape in self.linears.values())

    def setting(self, config: Mapping[str, Any], key: str) -> Any:
        """What config.json says of a key of `architecture`, under either name; the library's value where it does not.

        Nothing is known of its type.
        """
        other = next((name for name, meant in self.aliases.items() if meant == key), key)
        return config.get(key, config.get(other, self.architecture[key]))

    def usable_positions(self, config: Mapping[str, Any]) -> int:
        """The most tokens that a model can read: those of its positions that a token can have."""
        positions: int = self.setting(config, self.sizes["positions"])
        if self.positions_after is None:
            return positions
        return positions - self.setting(config, self.positions_after) - 1

    def tensors(self, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """Names, without the backbone's before them, and shapes of the encoder's tensors; the pooler is left out.

        sizes: by the names of `sizes`.
        """
        width = (sizes["width"],)
        found = {name: shape_of(shape, sizes) for name, shape in self.embeddings.items()}
        for projection in self.projections_of(sizes):
            found |= self._linear(projection, shape_of(self.projections[projection], sizes), biased=True)
        for i in range(sizes["layers"]):
            layer = self.layers.format(i=i)
            for linear, shape in self.linears.items():
                found |= self._linear(f"{layer}.{linear}", shape_of(shape, sizes), biased=self.biases)
            for norm in (f"{layer}.{norm}" for norm in self.norms):
                if norm not in self.absent:
                    found |= {f"{norm}.weight": width, **({f"{norm}.bias": width} if self.biases else {})}
        return found

    def projections_of(self, sizes: Mapping[str, int]) -> Iterator[str]:
        """Those that a model of these sizes has."""
        return (name for name, (rows, columns) in self.projections.items() if sizes[rows] != sizes[columns])

    @staticmethod
    def _linear(name: str, shape: tuple[int, ...], *, biased: bool) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": shape, **({f"{name}.bias": shape[:1]} if biased else {})}

    def pooler_tensors(self, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the pooler's tensors, as `tensors`; a folder may lack them."""
        if self.pooler is None:
            return {}
        width = sizes["width"]
        return self._linear(self.pooler, (width, width), biased=True)

    def bare(self, name: str) -> str:
        """A tensor's name without the backbone's before it, as a bare encoder stores it."""
        return name.removeprefix(f"{self.backbone}.")

    def is_of_a_head(self, name: str) -> bool:
        """Whether a tensor belongs to a head: of pre-training or of a task."""
        heads = (*self.pretraining_heads, *(head.partition(".")[0] for head in self.task_heads))
        return name.partition(".")[0] in heads

    def may_be_new(self, parameter_name: str) -> bool:
        """Whether a parameter that a pre-trained folder lacks may be drawn at random: heads and pooler only."""
        return self.is_of_a_head(parameter_name) or parameter_name.startswith(f"{self.backbone}.pooler.")

    def keeps_fp32_output(self, module_name: str) -> bool:
        """Whether a quantised Linear's output must not be requantised: heads, projections, `fp32_outputs`."""
        if module_name in self.task_heads or self.bare(module_name) in self.projections:
            return True
        return any(module_name.endswith(f".{name}") for name in self.fp32_outputs)


def shape_of(shape: ShapeInSizes, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """A shape in numbers."""
    return tuple(times * sizes[size] for times, size in map(times_size, shape))


def times_size(word: str) -> tuple[int, str]:
    """ "3*width" -> (3, "width"), "width" -> (1, "width")."""
    times, star, size = word.rpartition("*")
    return (int(times) if star else 1), size
