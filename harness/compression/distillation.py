"""Soft-target losses between a student and its teacher, and their mix with the ordinary loss.

Pure functions of logits. Running the teacher (eval mode, no gradient, outside the student) belongs to the training
loop. All logarithms are natural; a divergence is KL(teacher || student), times temperature^2 so that the size of the
gradient does not depend on the temperature (Hinton et al. 2015, section 2).
"""

from __future__ import annotations

import torch
from torch import Tensor


def soft_target_loss(student: Tensor, teacher: Tensor, *, temperature: float, weights: Tensor | None = None) -> Tensor:
    """KL(teacher || student) at `temperature`, in nats, averaged over rows, times temperature**2; a scalar.

    student, teacher: logits [rows, classes], same shape; no gradient reaches the teacher.
    weights: [rows], a factor of each row's divergence; the sum is divided by the number of rows, not of weights.
    temperature: dimensionless, > 0. Zero exactly when both distributions agree, so always for one class: the softmax
    of a single logit is 1, and a regression head learns nothing from this term (Prune OFA).
    Raises ValueError on unequal shapes, other than two dimensions, no rows, other weights, or temperature <= 0.
    """
    _check_logits(student, teacher, num_dims=2, temperature=temperature)
    divergence = _divergence(student, teacher, temperature)
    if weights is not None:
        if weights.shape != student.shape[:1]:
            raise ValueError(f"weights {list(weights.shape)}: expected one for each of {student.shape[0]} rows.")
        divergence = divergence.sum(dim=1) * weights
    return divergence.sum() / student.shape[0] * temperature**2


def squared_error_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over rows of (student - teacher)**2, in at least fp32; a scalar. What a regression distils by.

    student, teacher: one number a row, [rows, 1], same shape; no gradient reaches the teacher. Zero exactly when both
    agree. Raises ValueError on unequal shapes, other than two dimensions, more columns than one, or no rows.
    """
    if student.dim() != 2 or student.shape[1:] != (1,):
        raise ValueError(f"outputs {list(student.shape)}: expected one number a row.")
    _check_logits(student, teacher, num_dims=2, temperature=1.0)
    wide = torch.float64 if student.dtype == torch.float64 else torch.float32
    return (student.to(wide) - teacher.detach().to(wide)).square().mean()


def token_soft_target_loss(student: Tensor, teacher: Tensor, attention_mask: Tensor, *, temperature: float) -> Tensor:
    """`soft_target_loss` over the live tokens of a batch: every position whose attention_mask is 1.

    student, teacher: logits [batch, length, vocabulary]. attention_mask: [batch, length], 1 = token, 0 = padding.
    Special tokens and unmasked tokens count, labels play no role; the sum is divided by the number of live positions
    (Prune OFA). The authors' release selects positions only if the vocabulary size is the configured one
    and otherwise divides by the batch size, a loss `length` times too big; here the selection is unconditional.
    Raises ValueError on unequal shapes, temperature <= 0 or a batch without a live token.
    """
    _check_logits(student, teacher, num_dims=3, temperature=temperature)
    live = _live_positions(attention_mask, student.shape[:2])
    return soft_target_loss(student[live], teacher[live], temperature=temperature)


def span_soft_target_loss(
    student_start: Tensor,
    student_end: Tensor,
    teacher_start: Tensor,
    teacher_end: Tensor,
    attention_mask: Tensor,
    *,
    temperature: float,
    mask_padding: bool = True,
) -> Tensor:
    """Mean of the soft-target losses of answer starts and answer ends; a scalar, rows of the batch averaged.

    All logits and attention_mask: [batch, length]; the distribution runs over the positions of a row.
    mask_padding True: padding takes no part (its logits count as -inf in student and teacher), so the loss does not
    depend on how far a batch is padded. False: the authors' release, which runs the softmax over padding too and
    relies on rows of one fixed length.
    Raises ValueError on unequal shapes, temperature <= 0, or a row that is all padding.
    """
    live = _live_positions(attention_mask, student_start.shape)
    if not mask_padding:
        live = torch.ones_like(live)
    elif not bool(live.any(dim=1).all()):
        raise ValueError("attention_mask has a row without a live token: no distribution over its positions exists.")
    total = torch.zeros((), device=student_start.device)
    for student, teacher in ((student_start, teacher_start), (student_end, teacher_end)):
        _check_logits(student, teacher, num_dims=2, temperature=temperature)
        padding = ~live
        divergence = _divergence(
            student.masked_fill(padding, -torch.inf), teacher.masked_fill(padding, -torch.inf), temperature, live=live
        )
        total = total + divergence.sum() / student.shape[0] * temperature**2
    return total / 2


def combine_losses(hard: Tensor, soft: Tensor, *, ce_weight: float, kd_weight: float) -> Tensor:
    """ce_weight * hard + kd_weight * soft (Prune OFA, with 0.5 and 0.5).

    hard, soft: scalars. A term of weight 0 is left out, so that not even a NaN in it gets through.
    Raises ValueError on a negative weight or when both weights are 0.
    """
    if ce_weight < 0 or kd_weight < 0 or ce_weight + kd_weight == 0:
        raise ValueError(
            f"ce_weight={ce_weight}, kd_weight={kd_weight}: expected weights >= 0, at least one of them above 0."
        )
    if kd_weight == 0:
        return ce_weight * hard
    if ce_weight == 0:
        return kd_weight * soft
    return ce_weight * hard + kd_weight * soft


def _divergence(student: Tensor, teacher: Tensor, temperature: float, *, live: Tensor | None = None) -> Tensor:
    """Terms p_t (log p_t - log p_s) of the divergence, at least fp32; 0 where `live` is False (there -inf - -inf)."""
    log_student = _log_probabilities(student, temperature)
    log_teacher = _log_probabilities(teacher.detach(), temperature)
    difference = log_teacher - log_student
    if live is not None:
        difference = difference.masked_fill(~live, 0.0)
    return log_teacher.exp() * difference


def _log_probabilities(logits: Tensor, temperature: float) -> Tensor:
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return torch.log_softmax(wide / temperature, dim=-1)


def _check_logits(student: Tensor, teacher: Tensor, *, num_dims: int, temperature: float) -> None:
    if student.shape != teacher.shape or student.dim() != num_dims:
        raise ValueError(
            f"student logits {list(student.shape)} and teacher logits {list(teacher.shape)}: expected equal shapes of "
            f"{num_dims} dimensions."
        )
    if student.shape[0] == 0:
        raise ValueError("no rows to average over: the batch or the selection is empty.")
    if temperature <= 0:
        raise ValueError(f"temperature={temperature}: expected a number above 0.")


def _live_positions(attention_mask: Tensor, shape: torch.Size) -> Tensor:
    if attention_mask.shape != shape:
        raise ValueError(
            f"attention_mask {list(attention_mask.shape)}: expected the batch and length of the logits, {list(shape)}."
        )
    return attention_mask == 1
