"""Which of a batch's tensors a model takes: labels never, and only what its forward names.

A DistilBERT student knows no token types; its BERT teacher must get them all the same, so each picks its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache

from torch import Tensor, nn

LABELS = ("labels", "next_sentence_label", "start_positions", "end_positions")


def inputs_for(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a batch that `model.forward` names, without labels."""
    names = _named(type(model).forward)
    return {name: tensor for name, tensor in inputs.items() if name in names and name not in LABELS}


@cache
def _named(forward: Callable[..., object]) -> frozenset[str]:
    return frozenset(inspect.signature(forward).parameters)
