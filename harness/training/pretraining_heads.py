"""A pre-training model in two parts, so that the vocabulary head can run on chosen rows.

Where a family's model keeps its masked-LM head, and its next-sentence head if it has one, is data of `Family`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn
from transformers.activations import get_activation

from harness.inputs.family import Family
from harness.training.model_inputs import family_of_model, inputs_for


class Encoded(NamedTuple):
    """hidden: [batch, length, width]. pairs: next-sentence logits [batch, 2], None in a family without that head."""

    hidden: Tensor
    pairs: Tensor | None


@dataclass(frozen=True)
class PretrainingHeads:
    """How to run a family's pre-training model: BertForPreTraining, or the family's model for masked LM."""

    family: Family

    def encode(self, model: Any, inputs: Mapping[str, Tensor]) -> Encoded:
        """Raises AttributeError where the model lacks a module that its family names, as the other two."""
        backbone = model.get_submodule(self.family.backbone)
        body = backbone(**inputs_for(backbone, inputs))
        if self.family.next_sentence is None:
            return Encoded(body.last_hidden_state, None)
        return Encoded(body.last_hidden_state, model.get_submodule(self.family.next_sentence)(body.pooler_output))

    def before_decoder(self, model: Any, hidden: Tensor) -> Tensor:
        """The head up to its last Linear: [rows, width] -> [rows, width], or the width of the word embeddings."""
        for step in self.family.masked_lm_transform:
            hidden = _step(model, step)(hidden)
        return hidden

    def decoder(self, model: Any) -> nn.Linear:
        """The last Linear, width to vocabulary; its weight is tied to the word embeddings."""
        decoder: nn.Linear = model.get_submodule(self.family.masked_lm_decoder)
        return decoder


def _step(model: nn.Module, step: str) -> Callable[[Tensor], Tensor]:
    """A module of the model, or the library's function of that name: "gelu()"."""
    function: Callable[[Tensor], Tensor] = (
        get_activation(step.removesuffix("()")) if step.endswith("()") else model.get_submodule(step)
    )
    return function


def heads_of(model: Any) -> PretrainingHeads:
    return PretrainingHeads(family_of_model(model))
