"""Movement pruning by hand: the gradients of weights and scores, the masks, the schedules, the penalty."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from harness.compression.mask import num_zeros
from harness.compression.movement import (
    attach_scores,
    cubic_step,
    num_kept,
    num_kept_on_the_way,
    penalty,
    penalty_weight,
    threshold_mask,
    top_mask,
)
from harness.compression.sparsify import masked_names, remove_masks


def scored_linear(weight: list[list[float]]) -> nn.Module:
    linear = nn.Linear(len(weight[0]), len(weight), bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(weight))
    return nn.Sequential(linear)


@pytest.mark.oracle("O37")
def test_gradients_of_weight_and_scores_and_the_mask_after_one_step() -> None:
    """W = [1, -2], S = 0, x = [1, 1], L = (y - 3)^2 / 2: y = -1, dL/dW' = [-4, -4], dL/dS = dL/dW' * W = [-4, 8]."""
    model = scored_linear([[1.0, -2.0]])
    (mask,) = attach_scores(model, ["0"]).values()
    y = model(torch.ones(2))
    assert y.item() == -1
    ((y - 3) ** 2 / 2).sum().backward()
    assert mask.scores.grad is not None
    assert mask.scores.grad.tolist() == [[-4.0, 8.0]]
    (weight,) = [p for name, p in model.named_parameters() if name.endswith("original")]
    assert weight.grad is not None
    assert weight.grad.tolist() == [[-4.0, -4.0]]
    with torch.no_grad():
        mask.scores -= 0.1 * mask.scores.grad
    torch.testing.assert_close(mask.scores.detach(), torch.tensor([[0.4, -0.8]]))
    assert top_mask(mask.scores, num_kept(0.5, 2)).tolist() == [[True, False]]


@pytest.mark.oracle("O37")
def test_a_masked_weight_has_no_gradient_and_its_score_has_one() -> None:
    """With M = [1, 0]: y = 1, dL/dW' = [-2, -2]; dL/dW = M * dL/dW' = [-2, 0], dL/dS = dL/dW' * W = [-2, 4]."""
    model = scored_linear([[1.0, -2.0]])
    (mask,) = attach_scores(model, ["0"]).values()
    mask.mask[0, 1] = False
    ((model(torch.ones(2)) - 3) ** 2 / 2).sum().backward()
    (weight,) = [p for name, p in model.named_parameters() if name.endswith("original")]
    assert weight.grad is not None
    assert mask.scores.grad is not None
    assert weight.grad.tolist() == [[-2.0, 0.0]]
    assert mask.scores.grad.tolist() == [[-2.0, 4.0]]


@pytest.mark.oracle("O37")
@pytest.mark.parametrize(
    ("share", "numel", "kept"), [(1.0, 7, 7), (0.5, 7, 3), (0.15, 589_824, 88_473), (0.29, 100, 29), (0.0, 7, 0)]
)
def test_the_kept_share_is_floored(share: float, numel: int, kept: int) -> None:
    """0.15 of 589,824 is 88,473.6; 0.29 of 100 is 29, though the float product is below."""
    assert num_kept(share, numel) == kept


@pytest.mark.parametrize(("sparsity", "numel"), [(0.9, 768 * 768), (0.9, 768 * 3072), (0.85, 768 * 3072), (0.29, 100)])
def test_the_way_ends_with_the_zeros_of_every_other_method(sparsity: float, numel: int) -> None:
    """0.9 of 2,359,296 is 2,123,366.4: 2,123,366 zeros, so 235,930 are kept, where floor(0.1 numel) is one fewer."""
    assert numel - num_kept_on_the_way(1 - sparsity, numel, sparsity=sparsity) == num_zeros(sparsity, numel)
    counts = [num_kept_on_the_way(1 - sparsity * n / 1000, numel, sparsity=sparsity) for n in range(1001)]
    assert counts[0] == numel
    assert counts == sorted(counts, reverse=True)


def test_top_mask_keeps_the_largest_with_their_sign_and_drops_ties_from_the_lowest_index() -> None:
    scores = torch.tensor([[-3.0, 0.5], [2.0, -0.1]])
    assert top_mask(scores, 2).tolist() == [[False, True], [True, False]]
    assert top_mask(torch.zeros(4), 1).tolist() == [False, False, False, True]
    assert top_mask(torch.tensor([1.0, 0.0, 0.0, 0.0]), 3).tolist() == [True, False, True, True]
    assert top_mask(scores, 4).all()
    assert not top_mask(scores, 0).any()


def test_top_mask_equals_a_sort_on_scores_without_ties() -> None:
    scores = torch.randn(40, 30, generator=torch.Generator().manual_seed(0))
    for kept in (1, 119, 600, 1199):
        wanted = torch.zeros(1200, dtype=torch.bool)
        wanted[scores.flatten().argsort(descending=True)[:kept]] = True
        assert torch.equal(top_mask(scores, kept).flatten(), wanted)


@pytest.mark.parametrize("bad", [-1, 5])
def test_a_count_outside_the_matrix_is_refused(bad: int) -> None:
    with pytest.raises(ValueError, match="expected a count between 0 and 4"):
        top_mask(torch.zeros(2, 2), bad)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_not_finite_are_refused(bad: float) -> None:
    scores = torch.tensor([0.0, bad])
    with pytest.raises(ValueError, match="not finite"):
        top_mask(scores, 1)
    with pytest.raises(ValueError, match="not finite"):
        threshold_mask(scores, 0.1, least_kept=0.0)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="expected a fraction in"):
        num_kept(share, 10)


@pytest.mark.oracle("O38")
@pytest.mark.parametrize(
    ("step", "share"),
    [(0, 1.0), (5400, 1.0), (20_000, 0.359307), (30_000, 0.193463), (44_520, 0.15), (50_000, 0.15), (55_320, 0.15)],
)
def test_the_kept_share_of_the_squad_recipe(step: int, share: float) -> None:
    """N = 55,320, warm-up 5,400: the ramp runs from 5,400 to N - 2 * 5,400 = 44,520."""
    assert cubic_step(step, initial=1.0, final=0.15, begin=5400, end=44_520) == pytest.approx(share, abs=1e-6)


@pytest.mark.oracle("O38")
def test_soft_masks_begin_with_everything_kept_and_no_penalty() -> None:
    """sigmoid(0) = .5 is above tau = 0; the penalty is .5 * lambda(t), and lambda(0) = 0."""
    scores = [torch.zeros(4, 4), torch.zeros(8, 4)]
    assert all(threshold_mask(each, 0.0, least_kept=0.005).all() for each in scores)
    assert penalty(scores).item() == 0.5
    weights = [
        penalty_weight(
            cubic_step(step, initial=0.0, final=0.1, begin=5400, end=44_520), final_threshold=0.1, final_weight=400.0
        )
        for step in (0, 5400, 20_000, 44_520, 55_320)
    ]
    # tau(20,000) / .1 = 1 - (24,520 / 39,120)^3 = .753757
    assert weights == pytest.approx([0, 0, 400 * 0.753757, 400, 400], abs=1e-3)


def test_the_threshold_is_on_the_sigmoid_and_strict() -> None:
    """sigmoid(-2.1972) = .1000: at tau = .1 a score of -2.19 stays, one of -2.20 goes; sigmoid(0) = .5 at .5 goes."""
    assert threshold_mask(torch.tensor([-2.19, -2.20]), 0.1, least_kept=0.0).tolist() == [True, False]
    assert threshold_mask(torch.tensor([0.0, 1e-3]), 0.5, least_kept=0.0).tolist() == [False, True]


def test_half_a_percent_of_a_matrix_stays_whatever_the_threshold() -> None:
    """floor(.005 * 1000) + 1 = 6, as in the release; the largest of them."""
    scores = torch.arange(1000.0) - 5000
    kept = threshold_mask(scores, 0.1, least_kept=0.005)
    assert kept.nonzero().flatten().tolist() == [994, 995, 996, 997, 998, 999]
    assert not threshold_mask(scores, 0.1, least_kept=0.0).any()


def test_the_penalty_is_a_mean_over_matrices_whatever_their_sizes_and_pulls_through_the_sigmoid() -> None:
    """Of sigmoids .5 and .9: .7. Its gradient to an entry is s (1 - s) / (matrices * entries)."""
    small, large = torch.zeros(2, requires_grad=True), torch.full((8,), math.log(9.0), requires_grad=True)
    value = penalty([small, large])
    assert value.item() == pytest.approx(0.7)
    value.backward()
    assert small.grad is not None
    assert large.grad is not None
    torch.testing.assert_close(small.grad, torch.full((2,), 0.25 / 2 / 2))
    torch.testing.assert_close(large.grad, torch.full((8,), 0.09 / 2 / 8))
    with pytest.raises(ValueError, match="nothing to penalise"):
        penalty([])


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(ValueError, match="names is empty"):
        attach_scores(scored_linear([[1.0]]), [])


def test_masks_are_made_permanent_without_their_scores_and_without_negative_zeros() -> None:
    model = scored_linear([[1.0, -2.0], [-3.0, 4.0]])
    (mask,) = attach_scores(model, ["0"]).values()
    assert masked_names(model) == ["0"]
    mask.mask.copy_(torch.tensor([[True, False], [False, True]]))
    remove_masks(model)
    assert list(model.state_dict()) == ["0.weight"]
    assert model.state_dict()["0.weight"].tolist() == [[1.0, 0.0], [0.0, 4.0]]
    assert not torch.signbit(model.state_dict()["0.weight"]).any()


def test_the_pattern_is_kept_and_scores_learn_under_autocast() -> None:
    model = scored_linear([[1.0, -2.0]])
    (mask,) = attach_scores(model, ["0"]).values()
    mask.mask[0, 1] = False
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = model(torch.tensor([[1.0, 100.0]]))
        assert y.item() == 1.0
    y.sum().backward()
    assert mask.scores.grad is not None
    assert mask.scores.grad.tolist() == [[1.0, -200.0]]
