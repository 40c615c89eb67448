"""Objectives: the loss of a batch, with or without a teacher.

An objective is called as objective(model, inputs) and returns a scalar, the mean over the batch. With `whole` it
returns what `inputs`, a part of that batch, adds to the mean: sums over the part, divided by the counts of the whole
(examples, live tokens, masked positions), so that the losses of the parts add up to the loss of the batch. A mean of
the parts' means would be another number: parts differ in size, in length and in masked positions.

The teacher is held by the objective, outside the student: it is never trained, never saved and never broadcast with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.compression.distillation import combine_losses, soft_target_loss, span_soft_target_loss
from harness.data.masking import IGNORED_LABEL
from harness.training.chunked_head import head_loss
from harness.training.model_inputs import inputs_for
from harness.training.pretraining_heads import heads_of

Inputs = Mapping[str, Tensor]


class Objective(Protocol):
    """The loss of a batch, or a part's share of it; `inputs` are the collator's tensors on the model's device."""

    def __call__(self, model: nn.Module, inputs: Inputs, whole: Inputs | None = None) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """A frozen teacher and how much it counts (Prune OFA: 0.5 cross-entropy + 0.5 soft targets, T = 2)."""

    teacher: nn.Module
    ce_weight: float
    kd_weight: float
    temperature: float

    def __post_init__(self) -> None:
        self.teacher.requires_grad_(False)

    def ask(self, question: Callable[[nn.Module], Any], device: torch.device) -> Any:
        """What the teacher says: on the batch's device, in evaluation mode (no dropout), without gradient."""
        if next(self.teacher.parameters()).device != device:
            self.teacher.to(device)
        if self.teacher.training:
            self.teacher.eval()
        with torch.no_grad():
            return question(self.teacher)


@dataclass(frozen=True, kw_only=True)
class ClassificationObjective:
    """Cross-entropy over classes, mixed with the teacher's soft targets where there is a teacher."""

    distillation: Distillation | None = None

    def __call__(self, model: nn.Module, inputs: Inputs, whole: Inputs | None = None) -> Tensor:
        logits = model(**inputs_for(model, inputs)).logits
        hard = functional.cross_entropy(logits, inputs["labels"])
        kd = self.distillation
        if kd is None:
            return _share(hard, inputs, whole)
        teacher_logits = kd.ask(lambda teacher: teacher(**inputs_for(teacher, inputs)).logits, logits.device)
        soft = soft_target_loss(logits, teacher_logits, temperature=kd.temperature)
        mixed = combine_losses(hard, soft, ce_weight=kd.ce_weight, kd_weight=kd.kd_weight)
        return _share(mixed, inputs, whole)


@dataclass(frozen=True, kw_only=True)
class QuestionAnsweringObjective:
    """Mean cross-entropy of answer start and end, mixed with the teacher's; padding takes no part in either."""

    distillation: Distillation | None = None

    def __call__(self, model: nn.Module, inputs: Inputs, whole: Inputs | None = None) -> Tensor:
        output = model(**inputs_for(model, inputs))
        padding = inputs["attention_mask"] != 1
        hard = (
            functional.cross_entropy(output.start_logits.masked_fill(padding, -torch.inf), inputs["start_positions"])
            + functional.cross_entropy(output.end_logits.masked_fill(padding, -torch.inf), inputs["end_positions"])
        ) / 2
        kd = self.distillation
        if kd is None:
            return _share(hard, inputs, whole)
        taught = kd.ask(lambda teacher: teacher(**inputs_for(teacher, inputs)), padding.device)
        soft = span_soft_target_loss(
            output.start_logits,
            output.end_logits,
            taught.start_logits,
            taught.end_logits,
            inputs["attention_mask"],
            temperature=kd.temperature,
        )
        mixed = combine_losses(hard, soft, ce_weight=kd.ce_weight, kd_weight=kd.kd_weight)
        return _share(mixed, inputs, whole)


@dataclass(frozen=True, kw_only=True)
class PretrainingObjective:
    """Masked-LM plus next-sentence cross-entropy of a pre-training model, mixed with the teacher's soft targets.

    Cross-entropy: mean over the masked positions (0 if there is none), plus mean over pairs. Soft targets: over every
    live token, masked or not, plus over pairs, both with weight 1 (Prune OFA, student pruning). Without a teacher the
    vocabulary head runs on the masked positions only; with one it runs on the live tokens in chunks. Neither changes
    the value.
    """

    distillation: Distillation | None = None

    def __call__(self, model: nn.Module, inputs: Inputs, whole: Inputs | None = None) -> Tensor:
        heads = heads_of(model)
        encoded = heads.encode(model, inputs)
        counts = _TokenCounts.of(inputs if whole is None else whole)
        kd = self.distillation
        if kd is None:
            tokens = _masked_language_model_loss(model, encoded.hidden, inputs["labels"], counts)
            taught_pairs = None
        else:
            live = inputs["attention_mask"] == 1
            taught = kd.ask(lambda teacher: _teach(teacher, inputs, live), live.device)
            student = heads.before_decoder(model, encoded.hidden[live]), heads.decoder(model)
            tokens = _distilled_tokens(kd, student, taught, inputs["labels"][live], counts)
            taught_pairs = taught.pairs
        if encoded.pairs is None:
            return tokens
        pairs = functional.cross_entropy(encoded.pairs, inputs["next_sentence_label"])
        if kd is not None and taught_pairs is not None:
            soft_pairs = soft_target_loss(encoded.pairs, taught_pairs, temperature=kd.temperature)
            pairs = combine_losses(pairs, soft_pairs, ce_weight=kd.ce_weight, kd_weight=kd.kd_weight)
        return tokens + _share(pairs, inputs, whole)


def _share(mean: Tensor, inputs: Inputs, whole: Inputs | None) -> Tensor:
    """A mean over the examples of `inputs` as their share of the mean over the examples of `whole`."""
    if whole is None:
        return mean
    return mean * (len(inputs["attention_mask"]) / len(whole["attention_mask"]))


class _TokenCounts(NamedTuple):
    """What the token losses of a batch are divided by: its masked positions and its live tokens."""

    masked: int
    live: int

    @classmethod
    def of(cls, inputs: Inputs) -> _TokenCounts:
        return cls(
            masked=int((inputs["labels"] != IGNORED_LABEL).sum()), live=int((inputs["attention_mask"] == 1).sum())
        )


class _Taught(NamedTuple):
    """What a teacher says of a batch: next-sentence logits, hidden rows before its decoder, and the decoder."""

    pairs: Tensor | None
    hidden: Tensor
    decoder: nn.Linear


def _teach(teacher: nn.Module, inputs: Inputs, live: Tensor) -> _Taught:
    heads = heads_of(teacher)
    encoded = heads.encode(teacher, inputs)
    return _Taught(encoded.pairs, heads.before_decoder(teacher, encoded.hidden[live]), heads.decoder(teacher))


def _masked_language_model_loss(model: nn.Module, hidden: Tensor, labels: Tensor, counts: _TokenCounts) -> Tensor:
    """Cross-entropy of the masked positions over their count; the vocabulary head runs on them alone."""
    heads = heads_of(model)
    masked = labels != IGNORED_LABEL
    logits = heads.decoder(model)(heads.before_decoder(model, hidden[masked]))
    return functional.cross_entropy(logits, labels[masked], reduction="sum") / max(1, counts.masked)


def _distilled_tokens(
    kd: Distillation, student: tuple[Tensor, nn.Linear], taught: _Taught, labels: Tensor, counts: _TokenCounts
) -> Tensor:
    """Cross-entropy of the masked positions mixed with the soft targets of all live ones, [rows], in chunks."""

    def chunk_loss(logits: Tensor, rows: slice) -> Tensor:
        teacher = functional.linear(taught.hidden[rows], taught.decoder.weight, taught.decoder.bias)
        soft = soft_target_loss(logits, teacher, temperature=kd.temperature) * (len(logits) / counts.live)
        hard = functional.cross_entropy(logits, labels[rows], ignore_index=IGNORED_LABEL, reduction="sum")
        return combine_losses(hard / max(1, counts.masked), soft, ce_weight=kd.ce_weight, kd_weight=kd.kd_weight)

    hidden, decoder = student
    return head_loss(hidden, decoder.weight, decoder.bias, chunk_loss)
