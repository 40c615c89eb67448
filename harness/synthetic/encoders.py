"""Tiny encoders, generated: a configuration, weights drawn from a seed, and the world's vocabulary.

They know nothing: teacher preparation on the corpus is their pre-training. Weights: `harness.synthetic.weights`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.identity import sha256_of
from harness.synthetic.vocabulary import vocabulary

ENCODER_VERSION = 2  # raised with every change of a weight
SEED = 3  # the only draw tried for these shapes
POSITIONS = 128
TOKENIZER_CONFIG = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": POSITIONS}


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A BERT encoder's shape."""

    layers: int
    width: int
    heads: int
    feed_forward: int

    def config(self) -> dict[str, Any]:
        """What its config.json says."""
        return {
            "model_type": "bert",
            "architectures": ["BertModel"],
            "vocab_size": len(vocabulary()),
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": self.feed_forward,
            "hidden_act": "gelu",
            "max_position_embeddings": POSITIONS,
            "type_vocab_size": 2,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "initializer_range": self.spread,
            "layer_norm_eps": 1e-12,
            "pad_token_id": 0,
        }

    @property
    def spread(self) -> float:
        """Standard deviation of the first weights; 0.02 is made for a width of 768 and hardly moves a narrow model."""
        return 1 / math.sqrt(self.width)


ENCODERS: Mapping[str, Encoder] = {
    "tiny-wide": Encoder(layers=3, width=96, heads=4, feed_forward=384),
    "tiny-narrow": Encoder(layers=3, width=96, heads=4, feed_forward=192),
}


def weights_content_id(name: str) -> str:
    return sha256_of(["encoder", ENCODER_VERSION, SEED, ENCODERS[name].config(), vocabulary()])


def tokenizer_content_id() -> str:
    return sha256_of(["tokenizer", TOKENIZER_CONFIG, vocabulary()])
