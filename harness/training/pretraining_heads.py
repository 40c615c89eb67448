"""Where a family's pre-training model keeps its masked-LM head, and its next-sentence head if it has one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from harness.training.model_inputs import inputs_for


class Encoded(NamedTuple):
    """hidden: [batch, length, width]. pairs: next-sentence logits [batch, 2], None in a family without that head."""

    hidden: Tensor
    pairs: Tensor | None


class PretrainingHeads(Protocol):
    """How to run a family's pre-training model in two parts, so that the vocabulary head can run on chosen rows."""

    def encode(self, model: Any, inputs: Mapping[str, Tensor]) -> Encoded: ...

    def before_decoder(self, model: Any, hidden: Tensor) -> Tensor:
        """The head up to its last Linear: [rows, width] -> [rows, width]."""

    def decoder(self, model: Any) -> nn.Linear:
        """The last Linear, width to vocabulary; its weight is tied to the word embeddings."""


class BertHeads:
    """BertForPreTraining."""

    def encode(self, model: Any, inputs: Mapping[str, Tensor]) -> Encoded:
        body = model.bert(**inputs_for(model.bert, inputs))
        return Encoded(body.last_hidden_state, model.cls.seq_relationship(body.pooler_output))

    def before_decoder(self, model: Any, hidden: Tensor) -> Tensor:
        transformed: Tensor = model.cls.predictions.transform(hidden)
        return transformed

    def decoder(self, model: Any) -> nn.Linear:
        decoder: nn.Linear = model.cls.predictions.decoder
        return decoder


class DistilBertHeads:
    """DistilBertForMaskedLM: no pooler, no token types, no next-sentence head."""

    def encode(self, model: Any, inputs: Mapping[str, Tensor]) -> Encoded:
        return Encoded(model.distilbert(**inputs_for(model.distilbert, inputs)).last_hidden_state, None)

    def before_decoder(self, model: Any, hidden: Tensor) -> Tensor:
        transformed: Tensor = model.vocab_layer_norm(model.activation(model.vocab_transform(hidden)))
        return transformed

    def decoder(self, model: Any) -> nn.Linear:
        decoder: nn.Linear = model.vocab_projector
        return decoder


HEADS: Mapping[str, PretrainingHeads] = {"bert": BertHeads(), "distilbert": DistilBertHeads()}


def heads_of(model: Any) -> PretrainingHeads:
    return HEADS[model.config.model_type]
