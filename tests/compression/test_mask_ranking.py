"""The fast ranking against a stable sort: the same mask, bit for bit, over shapes, types, ties and every count."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness.compression import mask
from harness.compression.mask import global_magnitude_masks, magnitude_mask, num_kept, num_zeros

SHAPES = [(1,), (2,), (3,), (1, 7), (5, 1), (16, 16), (13, 17), (64, 33), (2, 3, 5), (257, 129)]
SPARSITIES = (0.0, 0.01, 0.3, 0.5, 0.85, 0.9, 0.999)
SPECIAL = torch.tensor([0.0, -0.0, 1e-45, -1e-45, 1e-38, 3.4e38, -3.4e38, 1.0, -1.0, 0.5])


def sorted_mask(weight: Tensor, k: int) -> Tensor:
    """Everything but the first k of a stable sort by magnitude: what the tie rule says, in its own words."""
    wide = weight if weight.dtype == torch.float64 else weight.float()
    kept = torch.ones(weight.numel(), dtype=torch.bool)
    kept[torch.sort(wide.reshape(-1).abs(), stable=True).indices[:k]] = False
    return kept.reshape(weight.shape)


def drawn(kind: str, shape: tuple[int, ...], seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    normal = torch.randn(shape, generator=draw)
    return {
        "normal": normal,
        "few values": normal.mul(2).round(),
        "half zeros": torch.where(torch.rand(shape, generator=draw) < 0.5, 0.0, normal),
        "all equal": torch.full(shape, -0.25),
        "all zero": torch.zeros(shape),
        "extremes": SPECIAL[torch.randint(0, len(SPECIAL), shape, generator=draw)],
        "float64": normal.double() * 1e-200,
        "one float in fp32": 1 + normal.double() * 1e-12,
        "bf16": normal.bfloat16(),
        "fp16": normal.half(),
    }[kind]


KINDS = ("normal", "few values", "half zeros", "all equal", "all zero", "extremes", "float64", "one float in fp32")


@pytest.mark.parametrize("kind", [*KINDS, "bf16", "fp16"])
def test_a_mask_is_that_of_a_stable_sort(kind: str) -> None:
    for seed, shape in enumerate(SHAPES):
        weight = drawn(kind, shape, seed)
        for sparsity in SPARSITIES:
            k = num_zeros(sparsity, weight.numel())
            found = magnitude_mask(weight, sparsity)
            assert torch.equal(found, sorted_mask(weight, k)), (shape, sparsity)
            assert num_kept(found) == weight.numel() - k


@pytest.mark.parametrize("kind", KINDS)
def test_every_count_from_none_to_all_but_one(kind: str) -> None:
    weight = drawn(kind, (7, 9), seed=3)
    for k in range(weight.numel()):
        assert torch.equal(magnitude_mask(weight, k / weight.numel()), sorted_mask(weight, k)), k


@pytest.mark.parametrize("kind", KINDS)
def test_the_threshold_rule_is_kthvalues(kind: str) -> None:
    for seed, shape in enumerate(SHAPES):
        weight = drawn(kind, shape, seed)
        for sparsity in SPARSITIES[1:]:
            k = int(sparsity * weight.numel())
            magnitude = weight.abs().flatten()
            expected = magnitude > magnitude.kthvalue(k).values if k else torch.ones_like(magnitude, dtype=torch.bool)
            assert torch.equal(magnitude_mask(weight, sparsity, tie_rule="threshold"), expected.reshape(shape))


@pytest.mark.parametrize("kind", KINDS)
def test_one_ranking_over_matrices_is_a_stable_sort_of_them_in_a_row(kind: str) -> None:
    weights = [drawn(kind, shape, seed) for seed, shape in enumerate(SHAPES)]
    numel = sum(weight.numel() for weight in weights)
    for sparsity in SPARSITIES:
        row = sorted_mask(torch.cat([weight.flatten() for weight in weights]), num_zeros(sparsity, numel))
        found = torch.cat([each.flatten() for each in global_magnitude_masks(weights, sparsity)])
        assert torch.equal(found, row), sparsity


@pytest.mark.parametrize(
    "view",
    [lambda w: w.T, lambda w: w[::2, 1::3], lambda w: w[0:1].expand(6, -1), lambda w: w.flip(1)],
    ids=["transposed", "strided", "expanded", "flipped"],
)
def test_a_weight_that_does_not_lie_in_one_piece_is_ranked_by_its_own_indices(view: object) -> None:
    weight = view(drawn("few values", (20, 30), seed=5))  # type: ignore[operator]
    before = weight.clone()
    for sparsity in SPARSITIES:
        k = num_zeros(sparsity, weight.numel())
        assert torch.equal(magnitude_mask(weight, sparsity), sorted_mask(before, k))
    assert torch.equal(weight, before)


def test_a_full_size_matrix_with_and_without_ties() -> None:
    weight = torch.randn(768, 3072, generator=torch.Generator().manual_seed(1)) * 0.042
    for each in (weight, weight.bfloat16()):
        k = num_zeros(0.9, each.numel())
        assert torch.equal(magnitude_mask(each, 0.9), sorted_mask(each, k))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("at", [0, 17, 34])
@pytest.mark.parametrize("sparsity", [0.0, 0.5])
def test_one_entry_that_is_not_finite_is_found_wherever_it_is(bad: float, at: int, sparsity: float) -> None:
    weight = drawn("normal", (5, 7), seed=0)
    weight.view(-1)[at] = bad
    with pytest.raises(ValueError, match="not finite"):
        magnitude_mask(weight, sparsity)
    with pytest.raises(ValueError, match="not finite"):
        global_magnitude_masks([torch.ones(3), weight], sparsity)


def test_no_matrix_is_ranked_by_kthvalue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its fifteen-fold time is what the partition is for; a benchmark measures it, this holds the road."""

    def refused(*arguments: object, **options: object) -> None:
        raise AssertionError("kthvalue")

    monkeypatch.setattr(Tensor, "kthvalue", refused)
    monkeypatch.setattr(Tensor, "sort", refused)
    assert mask.magnitude_mask(torch.arange(10.0), 0.5).tolist() == [False] * 5 + [True] * 5
    assert mask.magnitude_mask(torch.arange(10.0), 0.5, tie_rule="threshold").sum() == 5
