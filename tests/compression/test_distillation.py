"""Soft-target losses, against hand values, limits and a slow loop over probabilities."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness.compression.distillation import (
    combine_losses,
    soft_target_loss,
    span_soft_target_loss,
    token_soft_target_loss,
)

TEACHER = torch.tensor([[2 * math.log(3), 0.0], [0.0, 0.0]], dtype=torch.float64)


@pytest.mark.oracle("O17")
def test_two_rows_by_hand() -> None:
    # At T=2 the teacher's first row is [3/4, 1/4], the student's [1/2, 1/2]:
    # KL = 3/4 ln(3/2) + 1/4 ln(1/2) = .130812, times 4 = .5232481; the second row agrees.
    student = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    soft = soft_target_loss(student, TEACHER, temperature=2.0)
    assert soft.item() == pytest.approx(0.2616241, abs=1e-7)
    assert soft_target_loss(student[:1], TEACHER[:1], temperature=2.0).item() == pytest.approx(0.5232481, abs=1e-7)
    assert soft_target_loss(student[1:], TEACHER[1:], temperature=2.0).item() == pytest.approx(0.0, abs=1e-12)
    soft.backward()
    assert torch.allclose(student.grad, torch.tensor([[-0.25, 0.25], [0.0, 0.0]], dtype=torch.float64), atol=1e-12)


@pytest.mark.oracle("O17")
def test_half_hard_half_soft_by_hand() -> None:
    student = torch.zeros(2, 2, dtype=torch.float64)
    hard = cross_entropy(student, torch.zeros(2, dtype=torch.long))
    assert hard.item() == pytest.approx(math.log(2))
    soft = soft_target_loss(student, TEACHER, temperature=2.0)
    assert combine_losses(hard, soft, ce_weight=0.5, kd_weight=0.5).item() == pytest.approx(0.4773856, abs=1e-7)


@pytest.mark.oracle("O18")
def test_token_loss_divides_by_live_positions_only() -> None:
    student, teacher = _random(1, 4, 7, seed=0), _random(1, 4, 7, seed=1)
    attention_mask = torch.tensor([[1, 1, 1, 0]])
    found = token_soft_target_loss(student, teacher, attention_mask, temperature=2.0)
    assert found.item() == pytest.approx(_slow(student[0, :3], teacher[0, :3], 2.0), rel=1e-12)

    padded_otherwise = student.clone()
    padded_otherwise[0, 3] += 5 * torch.arange(7)
    assert torch.equal(token_soft_target_loss(padded_otherwise, teacher, attention_mask, temperature=2.0), found)
    live_otherwise = student.clone()
    live_otherwise[0, 1, 0] += 1
    assert token_soft_target_loss(live_otherwise, teacher, attention_mask, temperature=2.0) != found


@pytest.mark.oracle("O19")
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 10.0])
def test_a_student_equal_to_its_teacher_has_no_loss_and_no_gradient(temperature: float) -> None:
    student = _random(5, 3, seed=2).requires_grad_()
    loss = soft_target_loss(student, student.detach(), temperature=temperature)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-12)
    assert student.grad.abs().max() < 1e-12


@pytest.mark.oracle("O19")
def test_a_constant_added_to_a_row_changes_nothing() -> None:
    student, teacher = _random(4, 6, seed=3), _random(4, 6, seed=4)
    shifted = soft_target_loss(student + _random(4, 1, seed=5), teacher - _random(4, 1, seed=6), temperature=2.0)
    assert shifted.item() == pytest.approx(soft_target_loss(student, teacher, temperature=2.0).item(), rel=1e-12)


@pytest.mark.oracle("O19")
def test_high_temperature_turns_the_loss_into_half_the_mean_squared_centred_difference() -> None:
    student, teacher = _random(8, 5, seed=7), _random(8, 5, seed=8)
    difference = student - teacher
    centred = difference - difference.mean(dim=1, keepdim=True)
    limit = (centred.square().sum(dim=1) / (2 * 5)).mean().item()
    assert soft_target_loss(student, teacher, temperature=1e3).item() == pytest.approx(limit, rel=2e-3)
    assert soft_target_loss(student, teacher, temperature=1e5).item() == pytest.approx(limit, rel=2e-5)


@pytest.mark.oracle("O19")
def test_a_single_class_has_no_soft_loss_but_a_graph() -> None:
    student = _random(4, 1, seed=9).requires_grad_()
    loss = soft_target_loss(student, _random(4, 1, seed=10), temperature=2.0)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(student.grad, torch.zeros(4, 1, dtype=torch.float64))


def test_loss_equals_a_slow_loop() -> None:
    student, teacher = _random(6, 4, seed=11), _random(6, 4, seed=12)
    found = soft_target_loss(student, teacher, temperature=3.0).item()
    assert found == pytest.approx(_slow(student, teacher, 3.0), rel=1e-12)


def test_no_gradient_reaches_the_teacher() -> None:
    student, teacher = _random(2, 3, seed=13).requires_grad_(), _random(2, 3, seed=14).requires_grad_()
    soft_target_loss(student, teacher, temperature=2.0).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def test_half_precision_logits_are_compared_in_fp32() -> None:
    student, teacher = _random(3, 4, seed=15).bfloat16(), _random(3, 4, seed=16).bfloat16()
    loss = soft_target_loss(student, teacher, temperature=2.0)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(_slow(student.double(), teacher.double(), 2.0), rel=1e-5)


def test_span_loss_is_the_loss_of_the_live_positions() -> None:
    student, teacher = [_random(2, 5, seed=s) for s in (17, 18)], [_random(2, 5, seed=s) for s in (19, 20)]
    attention_mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    rows = [(s[0, :3], t[0, :3]) for s, t in zip(student, teacher, strict=True)]
    rows += [(s[1], t[1]) for s, t in zip(student, teacher, strict=True)]
    expected = sum(_slow(s[None], t[None], 2.0) for s, t in rows) / 4  # two rows, start and end
    found = span_soft_target_loss(*student, *teacher, attention_mask, temperature=2.0)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_span_loss_does_not_depend_on_padding_and_the_released_form_does() -> None:
    short = [_random(2, 3, seed=s) for s in (21, 22, 23, 24)]
    long = [torch.cat([logits, _random(2, 4, seed=25 + i)], dim=1) for i, logits in enumerate(short)]
    masks = torch.ones(2, 3), torch.cat([torch.ones(2, 3), torch.zeros(2, 4)], dim=1)
    found = [
        [span_soft_target_loss(*logits, mask, temperature=2, mask_padding=masked).item() for masked in (True, False)]
        for logits, mask in zip((short, long), masks, strict=True)
    ]
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
    assert found[0][1] == pytest.approx(found[0][0], rel=1e-12)
    assert found[1][1] != pytest.approx(found[0][1], rel=1e-3)


def test_span_gradient_is_finite_and_zero_at_padding() -> None:
    student = [_random(2, 4, seed=s).requires_grad_() for s in (31, 32)]
    attention_mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]])
    span_soft_target_loss(*student, *student[::-1], attention_mask, temperature=2.0).backward()
    for logits in student:
        assert torch.isfinite(logits.grad).all()
        assert torch.equal(logits.grad[attention_mask == 0], torch.zeros(3, dtype=torch.float64))
        assert logits.grad.abs().sum() > 0


def test_a_weight_of_zero_leaves_its_term_out() -> None:
    hard, soft, broken = torch.tensor(3.0), torch.tensor(5.0), torch.tensor(float("nan"))
    assert combine_losses(hard, broken, ce_weight=1.0, kd_weight=0.0).item() == 3.0
    assert combine_losses(broken, soft, ce_weight=0.0, kd_weight=2.0).item() == 10.0


def test_impossible_arguments_are_refused() -> None:
    logits = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"\[2, 3\] and teacher logits \[2, 4\]: expected equal shapes of 2"):
        soft_target_loss(logits, torch.zeros(2, 4), temperature=2.0)
    with pytest.raises(ValueError, match=r"temperature=0\.0: expected a number above 0"):
        soft_target_loss(logits, logits, temperature=0.0)
    with pytest.raises(ValueError, match="of 3 dimensions"):
        token_soft_target_loss(logits, logits, torch.ones(2, 3), temperature=2.0)
    with pytest.raises(ValueError, match="no rows to average over"):
        token_soft_target_loss(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), torch.zeros(1, 2), temperature=2.0)
    with pytest.raises(ValueError, match=r"attention_mask \[2, 5\]: expected the batch and length of the logits"):
        span_soft_target_loss(logits, logits, logits, logits, torch.ones(2, 5), temperature=2.0)
    with pytest.raises(ValueError, match="a row without a live token"):
        span_soft_target_loss(logits, logits, logits, logits, torch.tensor([[1, 1, 1], [0, 0, 0]]), temperature=2.0)
    with pytest.raises(ValueError, match="at least one of them above 0"):
        combine_losses(torch.tensor(1.0), torch.tensor(1.0), ce_weight=0.0, kd_weight=0.0)
    with pytest.raises(ValueError, match="expected weights >= 0"):
        combine_losses(torch.tensor(1.0), torch.tensor(1.0), ce_weight=-0.5, kd_weight=1.5)


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _slow(student: Tensor, teacher: Tensor, temperature: float) -> float:
    """Row by row, class by class, from plain exponentials."""
    total = 0.0
    for student_row, teacher_row in zip(student.tolist(), teacher.tolist(), strict=True):
        q = [math.exp(z / temperature) for z in student_row]
        p = [math.exp(z / temperature) for z in teacher_row]
        for q_class, p_class in zip(q, p, strict=True):
            total += p_class / sum(p) * math.log((p_class / sum(p)) / (q_class / sum(q)))
    return temperature**2 * total / len(student)
