"""The shape of an encoder: what planning needs to estimate work and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.inputs.encoder_folder import read_sizes
from harness.inputs.models import BaseModel, config_of

FP32_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of an encoder; widths in numbers of features.

    positions: those that a token can have. layer_weights: of the prunable matrices of a layer; 0: those of BERT's,
    four of attention and two of the feed-forward part. embedding: width of the word embeddings; 0: the encoder's.
    """

    layers: int
    width: int
    feed_forward: int
    vocabulary: int
    positions: int
    layer_weights: int = 0
    embedding: int = 0

    def __post_init__(self) -> None:
        of_bert = 4 * self.width**2 + 2 * self.width * self.feed_forward
        object.__setattr__(self, "layer_weights", self.layer_weights or of_bert)
        object.__setattr__(self, "embedding", self.embedding or self.width)

    @property
    def encoder_weights(self) -> int:
        """Weights of the prunable matrices of all layers."""
        return self.layers * self.layer_weights

    @property
    def vocabulary_head_weights(self) -> int:
        """Of the masked-LM head: its transform and the decoder (tied to the embeddings, multiplied all the same)."""
        return self.width * self.embedding + self.embedding * self.vocabulary

    @property
    def parameters(self) -> int:
        """Encoder, embeddings and a pooler; biases and layer norms (below 1 %) are left out."""
        return self.encoder_weights + (self.vocabulary + self.positions) * self.embedding + self.width**2


# From the config.json of the pinned commits in `harness.inputs.models`.
HUB_SHAPES: Mapping[str, Shape] = {
    "bert-base": Shape(layers=12, width=768, feed_forward=3072, vocabulary=30522, positions=512),
    "bert-large": Shape(layers=24, width=1024, feed_forward=4096, vocabulary=30522, positions=512),
    "distilbert": Shape(layers=6, width=768, feed_forward=3072, vocabulary=30522, positions=512),
}


def shape_of(model: BaseModel) -> Shape:
    """A model's shape, from its configuration where that is here. Raises UsageError naming each bad size."""
    found = config_of(model)
    if found is None:
        return HUB_SHAPES[model.alias]
    where = "its configuration" if model.folder is None else model.folder / "config.json"
    config, family = found
    sizes = read_sizes(config, family, f"model {model.alias!r}: {where}")
    return Shape(
        **{size: sizes[size] for size in ("layers", "width", "feed_forward", "vocabulary")},
        positions=family.usable_positions(config),
        layer_weights=family.layer_weights(sizes),
        embedding=sizes.get("embedding", 0),
    )
