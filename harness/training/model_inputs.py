"""Which of a batch's tensors a model takes: labels never, only what its forward names, and token types where its family
has some: a RoBERTa's forward names them, and fails on a second text's.

A DistilBERT student knows no token types; its BERT teacher must get them all the same, so each picks its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache

from torch import Tensor, nn
from transformers import PreTrainedModel

from harness.inputs.declared_families import family_in
from harness.inputs.family import Family

TOKEN_TYPES = "token_type_ids"
LABELS = ("labels", "next_sentence_label", "start_positions", "end_positions")


def inputs_for(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a batch that `model.forward` names, without labels, and without token types it has none of."""
    names = _named(type(model).forward) - {*LABELS}
    if isinstance(model, PreTrainedModel) and not family_of_model(model).token_types:
        names -= {TOKEN_TYPES}
    return {name: tensor for name, tensor in inputs.items() if name in names}


def family_of_model(model: PreTrainedModel) -> Family:
    """The family of a model of the library's, from its configuration. Raises KeyError for one that nobody declared."""
    return family_in({"model_type": model.config.model_type, **vars(model.config)})


@cache
def _named(forward: Callable[..., object]) -> frozenset[str]:
    return frozenset(inspect.signature(forward).parameters)
