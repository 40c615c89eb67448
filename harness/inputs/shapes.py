"""The shape of an encoder: what planning needs to estimate work and bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError
from harness.inputs.models import BaseModel

FP32_BYTES = 4
# The names that BERT and DistilBERT give the same thing, and the library's default where config.json does not say.
_NAMES: Mapping[str, tuple[tuple[str, str], tuple[int, int]]] = {
    "layers": (("num_hidden_layers", "n_layers"), (12, 6)),
    "width": (("hidden_size", "dim"), (768, 768)),
    "feed_forward": (("intermediate_size", "hidden_dim"), (3072, 3072)),
    "vocabulary": (("vocab_size", "vocab_size"), (30522, 30522)),
    "positions": (("max_position_embeddings", "max_position_embeddings"), (512, 512)),
}


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
    """A model's shape, from its config.json where it has a folder here. Raises UsageError naming each bad size."""
    if model.generated is not None:
        from harness.synthetic.encoders import ENCODERS, POSITIONS

        made = ENCODERS[model.generated]
        return Shape(
            layers=made.layers,
            width=made.width,
            feed_forward=made.feed_forward,
            vocabulary=made.config()["vocab_size"],
            positions=POSITIONS,
        )
    if model.folder is None:
        return HUB_SHAPES[model.alias]
    config: dict[str, Any] = json.loads((model.folder / "config.json").read_bytes())
    column = 1 if config["model_type"] == "distilbert" else 0
    sizes, problems = {}, []
    for name, (keys, defaults) in _NAMES.items():
        sizes[name] = config.get(keys[column], config.get(keys[0], defaults[column]))
        if type(sizes[name]) is not int or sizes[name] < 1:
            problems.append(
                f"model {model.alias!r}: {model.folder / 'config.json'} gives {keys[column]} = {sizes[name]!r}. "
                "Expected a whole number above 0."
            )
    if problems:
        raise UsageError(problems)
    return Shape(**sizes)
