"""A toy BERT and parameters of its training, as `training_arguments` takes them; a test changes what it is about."""

from __future__ import annotations

from typing import Any

from transformers import BertConfig

PARAMETERS: dict[str, Any] = {
    "batch_size": 4,
    "learning_rate": 0.01,
    "weight_decay": 0.1,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "max_grad_norm": 1.0,
    "padding": "longest",
    "seed": 0,
}
BERT_LAYER = (  # the matrices of a layer, written out: an oracle for the family's own list
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)


def toy_config(**changed: Any) -> BertConfig:
    """One layer, eight wide."""
    sizes = {
        "vocab_size": 20,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "max_position_embeddings": 8,
    }
    return BertConfig(**{**sizes, **changed})
