"""The shape of an encoder: what planning needs to estimate work and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from harness.inputs.encoder_folder import read_sizes
from harness.inputs.models import BaseModel, config_of

FP32_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a BERT-like encoder; widths in numbers of features."""

    layers: int
    width: int
    feed_forward: int
    vocabulary: int
    positions: int

    @property
    def encoder_weights(self) -> int:
        """Weights of the prunable matrices: four of attention and two of the feed-forward part in every layer."""
        return self.layers * (4 * self.width**2 + 2 * self.width * self.feed_forward)

    @property
    def vocabulary_head_weights(self) -> int:
        """Of the masked-LM head: its transform and the decoder (tied to the embeddings, multiplied all the same)."""
        return self.width**2 + self.width * self.vocabulary

    @property
    def parameters(self) -> int:
        """Encoder, embeddings and a pooler; biases and layer norms (below 1 %) are left out."""
        return self.encoder_weights + (self.vocabulary + self.positions) * self.width + self.width**2


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
    sizes = read_sizes(*found, f"model {model.alias!r}: {where}")
    return Shape(**{size.name: sizes[size.name] for size in fields(Shape)})
