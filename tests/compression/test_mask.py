"""Magnitude masks: hand-made rankings, counts from the paper's architectures, torch's own pruning as second opinion."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from harness.compression.mask import TieRule, global_magnitude_masks, magnitude_mask, num_zeros


@pytest.mark.oracle("O4")
def test_half_of_ten_weights_keeps_the_five_largest() -> None:
    weight = torch.arange(1, 11) / 10
    signed = weight * torch.tensor([1, -1] * 5)
    assert magnitude_mask(signed, 0.5).tolist() == [False] * 5 + [True] * 5


@pytest.mark.oracle("O5")
def test_ties_are_pruned_from_the_lowest_index_and_the_threshold_rule_prunes_them_all() -> None:
    weight = torch.tensor([1.0, 1, 1, 1, 2, 3, 4, 5, 6, 7])
    assert (~magnitude_mask(weight, 0.2)).nonzero().flatten().tolist() == [0, 1]
    assert (~magnitude_mask(weight, 0.2, tie_rule="threshold")).nonzero().flatten().tolist() == [0, 1, 2, 3]


def test_ties_among_larger_and_smaller_weights_go_by_flat_index() -> None:
    weight = torch.tensor([[3.0, -1.0], [2.0, 1.0]])  # |w| order: 3, 2, then the tie at 1
    assert magnitude_mask(weight, 0.25).tolist() == [[True, False], [True, True]]
    assert magnitude_mask(torch.tensor([2.0, 0.5, -2.0, 2.0]), 0.5).tolist() == [False, False, True, True]


def test_equal_weights_everywhere_still_give_the_exact_count() -> None:
    assert magnitude_mask(torch.zeros(10), 0.3).tolist() == [False] * 3 + [True] * 7


@pytest.mark.oracle("O6")
def test_29_percent_of_100_is_29_and_28_under_the_float_product() -> None:
    weight = torch.randperm(100, generator=torch.Generator().manual_seed(0)) + 1.0
    layer = nn.Linear(100, 1, bias=False)
    layer.weight.data.copy_(weight)
    prune.l1_unstructured(layer, "weight", amount=0.29)
    assert int((layer.weight == 0).sum()) == 29
    assert int((~magnitude_mask(weight, 0.29)).sum()) == 29
    assert int((~magnitude_mask(weight, 0.29, tie_rule="threshold")).sum()) == 28


@pytest.mark.oracle("O7")
def test_zero_counts_of_bert_matrices() -> None:
    assert num_zeros(0.9, 768 * 768) == 530_841
    assert num_zeros(0.9, 768 * 3072) == 2_123_366
    assert num_zeros(0.9, 1024 * 1024) == 943_718
    assert num_zeros(0.9, 1024 * 4096) == 3_774_873


@pytest.mark.oracle("O7")
@pytest.mark.parametrize(
    ("num_layers", "hidden", "kept_at_90", "kept_at_85"),
    [(12, 768, 8_493_504, 12_740_232), (24, 1024, 30_199_056, 45_298_560), (6, 768, 4_246_752, 6_370_116)],
    ids=["bert-base", "bert-large", "distilbert"],
)
def test_live_weights_of_whole_encoders(num_layers: int, hidden: int, kept_at_90: int, kept_at_85: int) -> None:
    sizes = [hidden * hidden] * 4 + [4 * hidden * hidden] * 2
    for sparsity, kept in ((0.9, kept_at_90), (0.85, kept_at_85)):
        assert num_layers * sum(size - num_zeros(sparsity, size) for size in sizes) == kept


@pytest.mark.oracle("O7")
def test_mask_of_a_full_size_matrix_has_the_counted_zeros() -> None:
    weight = torch.randn(768, 768, generator=torch.Generator().manual_seed(1)) * 0.042
    assert int((~magnitude_mask(weight, 0.9)).sum()) == 530_841


@pytest.mark.oracle("O8")
@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.85, 0.9, 0.999])
def test_local_mask_equals_torch_l1_pruning(sparsity: float) -> None:
    layer = nn.Linear(64, 48)
    weight = _tie_free((48, 64), seed=2)
    layer.weight.data.copy_(weight)
    prune.l1_unstructured(layer, "weight", amount=int(sparsity * weight.numel() + 1e-9))
    assert torch.equal(magnitude_mask(weight, sparsity), layer.weight_mask.bool())


@pytest.mark.oracle("O8")
def test_global_masks_equal_torch_global_l1_pruning() -> None:
    values = _tie_free((48 * 64 + 16 * 48,), seed=3)
    first, second = values[: 48 * 64].reshape(48, 64) * 3, values[48 * 64 :].reshape(16, 48)
    layers = nn.ModuleList([nn.Linear(64, 48), nn.Linear(48, 16)])
    for layer, weight in zip(layers, (first, second), strict=True):
        layer.weight.data.copy_(weight)
    amount = int(0.9 * values.numel() + 1e-9)
    prune.global_unstructured([(layer, "weight") for layer in layers], prune.L1Unstructured, amount=amount)
    masks = global_magnitude_masks([first, second], 0.9)
    assert [mask.shape for mask in masks] == [first.shape, second.shape]
    for mask, layer in zip(masks, layers, strict=True):
        assert torch.equal(mask, layer.weight_mask.bool())
    assert sum(int((~mask).sum()) for mask in masks) == amount


def test_global_ties_fall_on_the_earlier_matrix() -> None:
    masks = global_magnitude_masks([torch.tensor([1.0, 5.0]), torch.tensor([[1.0, 1.0], [4.0, 6.0]])], 0.34)
    assert [mask.tolist() for mask in masks] == [[False, True], [[False, True], [True, True]]]


@pytest.mark.oracle("O12")
def test_bf16_weights_get_the_exact_count_where_the_threshold_rule_overshoots() -> None:
    weight = (torch.randn(768, 768, generator=torch.Generator().manual_seed(0)) * 0.042).bfloat16()
    assert int((~magnitude_mask(weight, 0.9)).sum()) == 530_841
    overshoot = int((~magnitude_mask(weight, 0.9, tie_rule="threshold")).sum())
    assert overshoot / weight.numel() == pytest.approx(0.902, abs=5e-4)


def test_float64_is_ranked_in_float64() -> None:
    weight = torch.tensor([1 + 1e-12, 1.0], dtype=torch.float64)  # one number in fp32: the tie would prune index 0
    assert magnitude_mask(weight, 0.5).tolist() == [True, False]


def test_sparsity_zero_keeps_everything() -> None:
    weight = torch.zeros(2, 3)
    assert magnitude_mask(weight, 0.0).all()
    assert magnitude_mask(weight, 0.0, tie_rule="threshold").all()


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, float("nan")])
def test_sparsity_outside_the_unit_interval_is_refused(sparsity: float) -> None:
    with pytest.raises(ValueError, match=r"expected a fraction in \[0, 1\)"):
        num_zeros(sparsity, 10)
    with pytest.raises(ValueError, match=r"expected a fraction in \[0, 1\)"):
        magnitude_mask(torch.ones(4), sparsity, tie_rule="threshold")


def test_a_percentage_is_answered_with_the_fraction_to_write() -> None:
    with pytest.raises(ValueError, match=r"sparsity=85: .* For 85 percent write 0\.85\."):
        num_zeros(85, 10)


def test_weights_that_cannot_be_ranked_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        magnitude_mask(torch.tensor([1.0, float("nan")]), 0.5)
    with pytest.raises(ValueError, match="at least one matrix"):
        global_magnitude_masks([], 0.5)
    with pytest.raises(ValueError, match="tie_rule='random': expected one of exact, threshold"):
        magnitude_mask(torch.ones(2), 0.5, tie_rule="random")  # type: ignore[arg-type]


def _tie_free(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Distinct magnitudes with random signs."""
    generator = torch.Generator().manual_seed(seed)
    numel = torch.Size(shape).numel()
    magnitude = (torch.randperm(numel, generator=generator) + 1.0) / numel
    sign = torch.randint(0, 2, (numel,), generator=generator) * 2 - 1
    return (magnitude * sign).reshape(shape)


# |w| = .1, .2, .. .9, 1 without .3 and .9, which are pruned: of the others .1, .2 and .4 are the smallest.
PRUNED = torch.tensor([False, False, True, False, False, False, False, False, True, False])


@pytest.mark.parametrize("tie_rule", ["exact", "threshold"])
def test_what_is_pruned_is_among_the_zeros_and_the_others_are_ranked(tie_rule: TieRule) -> None:
    weight = torch.arange(1, 11) / 10
    kept = magnitude_mask(weight.reshape(2, 5), 0.5, tie_rule=tie_rule, pruned=PRUNED.reshape(2, 5))
    assert (~kept).flatten().nonzero().flatten().tolist() == [0, 1, 2, 3, 8]
    assert torch.equal(~magnitude_mask(weight, 0.2, tie_rule=tie_rule, pruned=PRUNED), PRUNED)


def test_a_pruned_weight_goes_before_a_live_zero() -> None:
    weight = torch.tensor([0.0, 0.0, 5.0, 0.0])
    pruned = torch.tensor([False, False, True, False])
    assert magnitude_mask(weight, 0.25, pruned=pruned).tolist() == [True, True, False, True]
    assert magnitude_mask(weight, 0.5, pruned=pruned).tolist() == [False, True, False, True]


def test_one_ranking_over_all_that_is_left() -> None:
    """Of 1 to 8, with 8 and 3 pruned, four go: those two, 1 and 2."""
    weights = [torch.tensor([8.0, 1.0, 5.0, 6.0]), torch.tensor([[2.0, 7.0], [3.0, 4.0]])]
    pruned = [torch.tensor([True, False, False, False]), torch.tensor([[False, False], [True, False]])]
    first, second = global_magnitude_masks(weights, 0.5, pruned=pruned)
    assert first.tolist() == [False, False, True, True]
    assert second.tolist() == [[False, True], [False, True]]


def test_a_sparsity_for_which_a_pruned_weight_would_have_to_return_is_refused() -> None:
    weight = torch.arange(1.0, 11.0)
    with pytest.raises(ValueError, match="2 entries are pruned already, and 1 are to be: a weight would"):
        magnitude_mask(weight, 0.1, pruned=PRUNED)
    with pytest.raises(ValueError, match="2 entries are pruned already, and 1 are to be"):
        global_magnitude_masks([weight], 0.1, pruned=[PRUNED])
    # Under the release's rule ties may have taken more than their share before: they stay, and none is added.
    assert torch.equal(~magnitude_mask(weight, 0.1, tie_rule="threshold", pruned=PRUNED), PRUNED)
