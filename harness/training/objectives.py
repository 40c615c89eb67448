"""Objectives: the loss of a batch, with or without a teacher.

An objective is called as objective(model, inputs) and returns a scalar, the mean over the batch. The teacher is held
by the objective, outside the student: it is never trained, never saved and never broadcast with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.compression.distillation import combine_losses, soft_target_loss, span_soft_target_loss
from harness.data.masking import IGNORED_LABEL
from harness.training.chunked_head import head_loss

LABELS = ("labels", "next_sentence_label", "start_positions", "end_positions")


class Objective(Protocol):
    """The loss of a batch; `inputs` are the collator's tensors on the model's device."""

    def __call__(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor: ...


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
        self.teacher.to(device).eval()
        with torch.no_grad():
            return question(self.teacher)


def model_inputs(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inputs without any label."""
    return {name: tensor for name, tensor in inputs.items() if name not in LABELS}


@dataclass(frozen=True, kw_only=True)
class ClassificationObjective:
    """Cross-entropy over classes, mixed with the teacher's soft targets where there is a teacher."""

    distillation: Distillation | None = None

    def __call__(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        logits = model(**model_inputs(inputs)).logits
        hard = functional.cross_entropy(logits, inputs["labels"])
        kd = self.distillation
        if kd is None:
            return hard
        teacher_logits = kd.ask(lambda teacher: teacher(**model_inputs(inputs)).logits, logits.device)
        soft = soft_target_loss(logits, teacher_logits, temperature=kd.temperature)
        return combine_losses(hard, soft, ce_weight=kd.ce_weight, kd_weight=kd.kd_weight)


@dataclass(frozen=True, kw_only=True)
class QuestionAnsweringObjective:
    """Mean cross-entropy of answer start and end, mixed with the teacher's; padding takes no part in either."""

    distillation: Distillation | None = None

    def __call__(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        output = model(**model_inputs(inputs))
        padding = inputs["attention_mask"] != 1
        hard = (
            functional.cross_entropy(output.start_logits.masked_fill(padding, -torch.inf), inputs["start_positions"])
            + functional.cross_entropy(output.end_logits.masked_fill(padding, -torch.inf), inputs["end_positions"])
        ) / 2
        kd = self.distillation
        if kd is None:
            return hard
        taught = kd.ask(lambda teacher: teacher(**model_inputs(inputs)), padding.device)
        soft = span_soft_target_loss(
            output.start_logits,
            output.end_logits,
            taught.start_logits,
            taught.end_logits,
            inputs["attention_mask"],
            temperature=kd.temperature,
        )
        return combine_losses(hard, soft, ce_weight=kd.ce_weight, kd_weight=kd.kd_weight)


@dataclass(frozen=True, kw_only=True)
class PretrainingObjective:
    """Masked-LM plus next-sentence cross-entropy of a BertForPreTraining, mixed with the teacher's soft targets.

    Cross-entropy: mean over the masked positions (0 if there is none), plus mean over pairs. Soft targets: over every
    live token, masked or not, plus over pairs, both with weight 1 (Prune OFA, student pruning). Without a teacher the
    vocabulary head runs on the masked positions only; with one it runs on the live tokens in chunks. Neither changes
    the value.
    """

    distillation: Distillation | None = None

    def __call__(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        body = _encode(model, inputs)
        labels = inputs["labels"]
        next_sentence = model.cls.seq_relationship(body.pooler_output)  # type: ignore[union-attr, operator]
        hard_pairs = functional.cross_entropy(next_sentence, inputs["next_sentence_label"])
        kd = self.distillation
        if kd is None:
            masked = labels != IGNORED_LABEL
            logits = model.cls.predictions(body.last_hidden_state[masked])  # type: ignore[union-attr, operator]
            hard_tokens = functional.cross_entropy(logits, labels[masked], reduction="sum") / max(1, int(masked.sum()))
            return hard_tokens + hard_pairs

        live = inputs["attention_mask"] == 1
        hidden, decoder = _before_decoder(model, body.last_hidden_state[live])
        taught_pairs, taught_hidden, taught_decoder = kd.ask(lambda teacher: _teach(teacher, inputs, live), live.device)
        live_labels = labels[live]
        num_live, num_masked = len(live_labels), int((live_labels != IGNORED_LABEL).sum())

        def chunk_loss(logits: Tensor, rows: slice) -> Tensor:
            taught = functional.linear(taught_hidden[rows], taught_decoder.weight, taught_decoder.bias)
            soft = soft_target_loss(logits, taught, temperature=kd.temperature) * (len(logits) / num_live)
            hard = functional.cross_entropy(
                logits, live_labels[rows], ignore_index=IGNORED_LABEL, reduction="sum"
            ) / max(1, num_masked)
            return combine_losses(hard, soft, ce_weight=kd.ce_weight, kd_weight=kd.kd_weight)

        tokens = head_loss(hidden, decoder.weight, decoder.bias, chunk_loss)
        soft_pairs = soft_target_loss(next_sentence, taught_pairs, temperature=kd.temperature)
        pairs = combine_losses(hard_pairs, soft_pairs, ce_weight=kd.ce_weight, kd_weight=kd.kd_weight)
        return tokens + pairs


def _encode(model: nn.Module, inputs: Mapping[str, Tensor]) -> Any:
    return model.bert(**model_inputs(inputs))  # type: ignore[operator]


def _before_decoder(model: nn.Module, hidden: Tensor) -> tuple[Tensor, nn.Linear]:
    predictions: Any = model.cls.predictions  # type: ignore[union-attr]
    return predictions.transform(hidden), predictions.decoder


def _teach(teacher: nn.Module, inputs: Mapping[str, Tensor], live: Tensor) -> tuple[Tensor, Tensor, nn.Linear]:
    body = _encode(teacher, inputs)
    hidden, decoder = _before_decoder(teacher, body.last_hidden_state[live])
    return teacher.cls.seq_relationship(body.pooler_output), hidden, decoder  # type: ignore[union-attr, operator]
