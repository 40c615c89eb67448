"""The parameters of a toy training, as `training_arguments` takes them; a test changes what it is about."""

from __future__ import annotations

from typing import Any

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
