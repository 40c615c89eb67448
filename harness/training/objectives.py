"""Objectives: the loss of a batch, with or without a teacher.

objective(model, inputs) returns a scalar, the mean over the batch. With `full_batch` it returns what `inputs`, a
micro-batch of it, adds to that mean: sums over the micro-batch divided by the counts of the full batch (examples, live
tokens, masked positions), so that the losses of the micro-batches add up to the loss of the batch. A mean of their
means would be another number: micro-batches differ in size, in length and in masked positions.

The objective holds the teacher, outside the student: the teacher is never trained, saved or broadcast with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.compression.distillation import (
    combine_losses,
    soft_target_loss,
    span_soft_target_loss,
    squared_error_loss,
)
from harness.data.masking import IGNORED_LABEL
from harness.training.chunked_head import head_loss, product_type
from harness.training.model_inputs import inputs_for
from harness.training.pretraining_heads import heads_of

Inputs = Mapping[str, Tensor]
T = TypeVar("T")


class Objective(Protocol):
    """The loss of a batch, or a micro-batch's share of it; `inputs`: the collator's tensors, on the model's device."""

    def __call__(self, model: nn.Module, inputs: Inputs, full_batch: Inputs | None = None) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """A frozen teacher and the weight of its soft targets (Prune OFA: 0.5 cross-entropy + 0.5 soft targets, T = 2)."""

    teacher: nn.Module
    ce_weight: float
    kd_weight: float
    temperature: float

    def __post_init__(self) -> None:
        self.teacher.requires_grad_(False)

    def run_teacher(self, forward: Callable[[nn.Module], T], device: torch.device) -> T:
        """forward(teacher), on the batch's device, in evaluation mode (no dropout), without gradient."""
        if next(self.teacher.parameters()).device != device:
            self.teacher.to(device)
        if self.teacher.training:
            self.teacher.eval()
        with torch.no_grad():
            return forward(self.teacher)


@dataclass(frozen=True, kw_only=True)
class ClassificationObjective:
    """Cross-entropy over classes, mixed with the teacher's soft targets where there is a teacher."""

    distillation: Distillation | None = None

    def __call__(self, model: nn.Module, inputs: Inputs, full_batch: Inputs | None = None) -> Tensor:
        logits = model(**inputs_for(model, inputs)).logits
        hard = functional.cross_entropy(logits, inputs["labels"])
        kd = self.distillation
        if kd is None:
            return as_share_of_batch(hard, inputs, full_batch)
        teacher_logits = kd.run_teacher(lambda teacher: teacher(**inputs_for(teacher, inputs)).logits, logits.device)
        soft = soft_target_loss(logits, teacher_logits, temperature=kd.temperature)
        mixed = combine_losses(hard, soft, ce_weight=kd.ce_weight, kd_weight=kd.kd_weight)
        return as_share_of_batch(mixed, inputs, full_batch)


@dataclass(frozen=True, kw_only=True)
class RegressionObjective:
    """Mean squared error, mixed with that to the teacher's output where there is a teacher.

    `ce_weight` is the weight of the error to the data's numbers; a temperature has no part in it.
    """

    distillation: Distillation | None = None

    def __call__(self, model: nn.Module, inputs: Inputs, full_batch: Inputs | None = None) -> Tensor:
        outputs = model(**inputs_for(model, inputs)).logits
        hard = squared_error_loss(outputs, inputs["scores"].unsqueeze(1))
        kd = self.distillation
        if kd is None:
            return as_share_of_batch(hard, inputs, full_batch)
        taught = kd.run_teacher(lambda teacher: teacher(**inputs_for(teacher, inputs)).logits, outputs.device)
        soft = squared_error_loss(outputs, taught)
        mixed = combine_losses(hard, soft, ce_weight=kd.ce_weight, kd_weight=kd.kd_weight)
        return as_share_of_batch(mixed, inputs, full_batch)


@dataclass(frozen=True, kw_only=True)
class QuestionAnsweringObjective:
    """Mean cross-entropy of answer start and end, mixed with the teacher's; padding takes no part in either."""

    distillation: Distillation | None = None

    def __call__(self, model: nn.Module, inputs: Inputs, full_batch: Inputs | None = None) -> Tensor:
        output = model(**inputs_for(model, inputs))
        padding = inputs["attention_mask"] != 1
        hard = (
            functional.cross_entropy(output.start_logits.masked_fill(padding, -torch.inf), inputs["start_positions"])
            + functional.cross_entropy(output.end_logits.masked_fill(padding, -torch.inf), inputs["end_positions"])
        ) / 2
        kd = self.distillation
        if kd is None:
            return as_share_of_batch(hard, inputs, full_batch)
        teacher = kd.run_teacher(lambda teacher: teacher(**inputs_for(teacher, inputs)), padding.device)
        soft = span_soft_target_loss(
            output.start_logits,
            output.end_logits,
            teacher.start_logits,
            teacher.end_logits,
            inputs["attention_mask"],
            temperature=kd.temperature,
        )
        mixed = combine_losses(hard, soft, ce_weight=kd.ce_weight, kd_weight=kd.kd_weight)
        return as_share_of_batch(mixed, inputs, full_batch)


@dataclass(frozen=True, kw_only=True)
class PretrainingObjective:
    """Masked-LM plus next-sentence cross-entropy of a pre-training model, mixed with the teacher's soft targets.

    Cross-entropy: mean over the masked positions (0 if there is none), plus mean over pairs. Soft targets: over every
    live token, masked or not, plus over pairs, both with weight 1 (Prune OFA, student pruning). Where the batch has
    kd_weights, the mean over live tokens is estimated from the tokens with a weight above 0. The vocabulary head runs
    on the positions that a loss takes, in chunks where there is a teacher; that changes no value.
    """

    distillation: Distillation | None = None

    def __call__(self, model: nn.Module, inputs: Inputs, full_batch: Inputs | None = None) -> Tensor:
        heads = heads_of(model)
        encoded = heads.encode(model, inputs)
        counts = _TokenCounts.of(inputs if full_batch is None else full_batch)
        kd = self.distillation
        if kd is None:
            tokens = _masked_language_model_loss(model, encoded.hidden, inputs["labels"], counts)
            teacher_pairs = None
        else:
            positions = _HeadPositions.of(inputs)
            teacher = kd.run_teacher(
                lambda teacher: _teacher_outputs(teacher, inputs, positions), encoded.hidden.device
            )
            student = heads.before_decoder(model, positions.rows_of(encoded.hidden)), heads.decoder(model)
            tokens = _distilled_tokens(kd, student, teacher, inputs["labels"].flatten(), positions, counts)
            teacher_pairs = teacher.pairs
        if encoded.pairs is None:
            return tokens
        pairs = functional.cross_entropy(encoded.pairs, inputs["next_sentence_label"])
        if kd is not None and teacher_pairs is not None:
            soft_pairs = soft_target_loss(encoded.pairs, teacher_pairs, temperature=kd.temperature)
            pairs = combine_losses(pairs, soft_pairs, ce_weight=kd.ce_weight, kd_weight=kd.kd_weight)
        return tokens + as_share_of_batch(pairs, inputs, full_batch)


def as_share_of_batch(mean: Tensor, inputs: Inputs, full_batch: Inputs | None) -> Tensor:
    """A mean over the examples of `inputs`, as their share of the mean over the examples of `full_batch`."""
    if full_batch is None:
        return mean
    return mean * (len(inputs["attention_mask"]) / len(full_batch["attention_mask"]))


class _TokenCounts(NamedTuple):
    """What the token losses of a batch are divided by: its masked positions and its live tokens."""

    masked: int
    live: int

    @classmethod
    def of(cls, inputs: Inputs) -> _TokenCounts:
        return cls(
            masked=int((inputs["labels"] != IGNORED_LABEL).sum()), live=int((inputs["attention_mask"] == 1).sum())
        )


class _HeadPositions(NamedTuple):
    """Where the vocabulary head runs while distilling: indices [rows] into the flattened batch, distilled ones first.

    num_distilled: how many of them are distilled; the rest are masked ones that are not.
    weights: [num_distilled], of their divergences; None: 1 each.
    """

    places: Tensor
    num_distilled: int
    weights: Tensor | None

    @classmethod
    def of(cls, inputs: Inputs) -> _HeadPositions:
        if "kd_weights" not in inputs:
            live = (inputs["attention_mask"] == 1).flatten().nonzero().squeeze(1)
            return cls(live, len(live), None)
        weights = inputs["kd_weights"].flatten()
        distilled = weights > 0
        masked_only = (inputs["labels"].flatten() != IGNORED_LABEL) & ~distilled
        places = torch.cat([distilled.nonzero().squeeze(1), masked_only.nonzero().squeeze(1)])
        return cls(places, int(distilled.sum()), weights[distilled])

    def rows_of(self, hidden: Tensor) -> Tensor:
        """hidden [batch, length, width] -> [rows, width]."""
        return hidden.flatten(0, 1)[self.places]

    def distilled_of(self, rows: slice) -> slice:
        """Those of the rows that are distilled."""
        return slice(min(rows.start, self.num_distilled), min(rows.stop, self.num_distilled))


class _TeacherOutputs(NamedTuple):
    """Next-sentence logits [batch, 2], hidden rows before the decoder [distilled tokens, width], and the decoder."""

    pairs: Tensor | None
    hidden: Tensor
    decoder: nn.Linear


def _teacher_outputs(teacher: nn.Module, inputs: Inputs, positions: _HeadPositions) -> _TeacherOutputs:
    heads = heads_of(teacher)
    encoded = heads.encode(teacher, inputs)
    hidden = positions.rows_of(encoded.hidden)[: positions.num_distilled]
    return _TeacherOutputs(encoded.pairs, heads.before_decoder(teacher, hidden), heads.decoder(teacher))


def _masked_language_model_loss(model: nn.Module, hidden: Tensor, labels: Tensor, counts: _TokenCounts) -> Tensor:
    """Cross-entropy of the masked positions over their count; the vocabulary head runs on them alone."""
    heads = heads_of(model)
    masked = labels != IGNORED_LABEL
    logits = heads.decoder(model)(heads.before_decoder(model, hidden[masked]))
    return functional.cross_entropy(logits, labels[masked], reduction="sum") / max(1, counts.masked)


def _distilled_tokens(
    kd: Distillation,
    student: tuple[Tensor, nn.Linear],
    teacher: _TeacherOutputs,
    labels: Tensor,
    positions: _HeadPositions,
    counts: _TokenCounts,
) -> Tensor:
    """Cross-entropy of the masked positions mixed with the soft targets of the distilled ones, in chunks of rows.

    student: hidden [rows, width] and the decoder. labels: [batch * length].
    """
    labels = labels[positions.places]
    product = product_type(teacher.hidden)
    bias = teacher.decoder.bias
    teacher_hidden, teacher_weight = teacher.hidden.to(product), teacher.decoder.weight.to(product)
    teacher_bias = None if bias is None else bias.to(product)

    def soft_targets(logits: Tensor, rows: slice) -> Tensor:
        teacher_logits = functional.linear(teacher_hidden[rows], teacher_weight, teacher_bias)
        weights = None if positions.weights is None else positions.weights[rows]
        mean = soft_target_loss(logits, teacher_logits, temperature=kd.temperature, weights=weights)
        return mean * (len(logits) / counts.live)

    def chunk_loss(logits: Tensor, rows: slice) -> Tensor:
        hard = functional.cross_entropy(logits, labels[rows], ignore_index=IGNORED_LABEL, reduction="sum")
        distilled = positions.distilled_of(rows)
        num_distilled = distilled.stop - distilled.start
        soft = soft_targets(logits[:num_distilled], distilled) if num_distilled else torch.zeros_like(hard)
        return combine_losses(hard / max(1, counts.masked), soft, ce_weight=kd.ce_weight, kd_weight=kd.kd_weight)

    hidden, decoder = student
    return head_loss(hidden, decoder.weight, decoder.bias, chunk_loss)
