"""Masks of several matrices before a training: exact counts by matrix and together, rounds, ties."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.utils import prune

from harness.compression.ranked_masks import count_zeros, ranked_masks
from methods.lottery_ticket.rounds import round_sparsities


def zeros(masks: list[Tensor]) -> list[int]:
    return [int((~mask).sum()) for mask in masks]


def drawn(*shapes: tuple[int, ...]) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=draw) for shape in shapes]


def test_by_matrix_each_has_its_share_and_together_the_smallest_go_wherever_they_are() -> None:
    small, large = torch.tensor([[1.0, -2.0], [3.0, 4.0]]), torch.tensor([[5.0, 6.0], [-7.0, 8.0]])
    by_matrix = ranked_masks([small, large], 0.5, ranking="local")
    assert [mask.tolist() for mask in by_matrix] == [[[False, False], [True, True]], [[False, False], [True, True]]]
    together = ranked_masks([small, large], 0.5, ranking="global")
    assert [mask.tolist() for mask in together] == [[[False, False], [False, False]], [[True, True], [True, True]]]


@pytest.mark.parametrize("ranking", ["local", "global"])
def test_the_masks_are_torchs_for_the_same_counts(ranking: str) -> None:
    weights = drawn((30, 20), (17, 5))
    layers = [torch.nn.Linear(1, 1, bias=False) for _ in weights]
    for layer, weight in zip(layers, weights, strict=True):
        layer.weight = torch.nn.Parameter(weight.clone())
    if ranking == "global":
        pairs = [(layer, "weight") for layer in layers]
        prune.global_unstructured(pairs, pruning_method=prune.L1Unstructured, amount=int(0.85 * 685))
    else:
        for layer, weight in zip(layers, weights, strict=True):
            prune.l1_unstructured(layer, "weight", amount=int(0.85 * weight.numel()))
    found = ranked_masks(weights, 0.85, ranking=ranking)  # type: ignore[arg-type]
    for layer, mask in zip(layers, found, strict=True):
        assert torch.equal(mask, layer.weight_mask.bool())  # type: ignore[operator]


def test_a_count_that_a_float_product_would_miss() -> None:
    """BERT-Base: 0.9 of 84,934,656 is 76,441,190.4. A share made of a count gives that count again."""
    assert count_zeros(0.9, 84_934_656) == 76_441_190
    masks = ranked_masks([torch.arange(1.0, 101.0)], 0.29, ranking="local")
    assert zeros(masks) == [29]  # 0.29 * 100 is 28.999999999999996


@pytest.mark.oracle("O39")
@pytest.mark.parametrize(
    ("of", "amount", "expected"),
    [
        ("original", 0.1, [100, 200, 300, 400, 500, 600, 700, 800, 900]),
        ("remaining", 0.2, [200, 360, 488, 590, 672, 738, 790, 832, 866, 893, 914]),
    ],
)
@pytest.mark.parametrize("ranking", ["local", "global"])
def test_the_zeros_of_a_thousand_weights_round_by_round(
    of: str, amount: float, expected: list[int], ranking: str
) -> None:
    """Weights are drawn anew in every round, as training does: what was removed stays removed all the same."""
    draw = torch.Generator().manual_seed(1)
    weight, found = torch.randn(40, 25, generator=draw), []
    kept = torch.ones_like(weight, dtype=torch.bool)
    last = 1 - (1 - amount) ** len(expected) if of == "remaining" else amount * len(expected)
    for share in round_sparsities(last, amount=amount, of=of):
        rounding = "nearest" if of == "remaining" else "down"
        (mask,) = ranked_masks([weight], share, ranking=ranking, rounding=rounding)  # type: ignore[arg-type]
        assert not (mask & ~kept).any()
        kept = mask
        found.append(int((~mask).sum()))
        weight = torch.randn(40, 25, generator=draw) * mask
    assert found == expected


def test_the_last_round_takes_what_is_left_to_any_sparsity() -> None:
    assert round_sparsities(0.85, amount=0.1, of="original") == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85]
    assert round_sparsities(0.9, amount=0.1, of="original") == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert round_sparsities(0.97, amount=0.5, of="remaining") == [0.5, 0.75, 0.875, 0.9375, 0.96875, 0.97]
    assert round_sparsities(0.05, amount=0.1, of="original") == [0.05]
    assert round_sparsities(0.0, amount=0.1, of="original") == [0.0]


def test_a_sliver_is_no_round_of_its_own() -> None:
    """0.9375 and a half of a thousandth: the fourth round goes there at once."""
    assert round_sparsities(0.938, amount=0.5, of="remaining") == [0.5, 0.75, 0.875, 0.938]
    assert round_sparsities(0.9395, amount=0.5, of="remaining") == [0.5, 0.75, 0.875, 0.9375, 0.9395]


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(ValueError, match="weights is empty: no matrix would be pruned"):
        ranked_masks([], 0.5, ranking="local")
    with pytest.raises(ValueError, match="ranking='layer': expected one of local, global"):
        ranked_masks(drawn((2, 2)), 0.5, ranking="layer")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rounding='up': expected one of down, nearest"):
        count_zeros(0.5, 10, "up")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"sparsity=1.0: expected a fraction in \[0, 1\)"):
        ranked_masks(drawn((2, 2)), 1.0, ranking="local")
    with pytest.raises(ValueError, match="amount=1.0: expected a sparsity in"):
        round_sparsities(0.5, amount=1.0, of="original")
    with pytest.raises(ValueError, match="of='rest': expected original or remaining"):
        round_sparsities(0.5, amount=0.1, of="rest")
