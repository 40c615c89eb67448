"""Second-order pruning: the inverse against direct ones, scores and updates by hand, the ranking by count."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness.compression.mask import num_zeros
from harness.compression.second_order import (
    BlockFisherInverse,
    compensated,
    lowest,
    num_to_prune,
    prune_by_curvature,
    saliency,
)


def inverse_of(gradients: Tensor, *, block_size: int, dampening: float, at_once: int = 4) -> BlockFisherInverse:
    """Of gradients [m, numel], added a few at a time."""
    made = BlockFisherInverse(
        gradients.shape[1],
        block_size=block_size,
        dampening=dampening,
        num_gradients=len(gradients),
        dtype=gradients.dtype,
    )
    for some in gradients.split(at_once):
        made.add(some)
    return made


def direct(gradients: Tensor, *, block_size: int, dampening: float) -> Tensor:
    """The dense inverse in fp64 [numel, numel]: F in full, entries across blocks set to 0, inverted as one matrix."""
    wide = gradients.double()
    fisher = wide.T @ wide / len(wide)
    block = torch.arange(wide.shape[1]) // block_size
    fisher = torch.where(block[:, None] == block[None, :], fisher, 0.0)
    return torch.linalg.inv(fisher + dampening * torch.eye(len(fisher), dtype=torch.float64))


def whole(inverse: BlockFisherInverse) -> Tensor:
    """The inverse [numel, numel], column by column through its product with unit vectors."""
    unit = torch.eye(inverse.numel, dtype=inverse.blocks.dtype)
    return torch.stack([inverse.times(column) for column in unit], dim=1)


@pytest.mark.oracle("O40")
def test_two_weights_by_hand() -> None:
    """g = [1, 1], lambda = 1: F = [[2, 1], [1, 2]], F^-1 = [[2, -1], [-1, 2]] / 3; the second goes, the first grows."""
    inverse = inverse_of(torch.tensor([[1.0, 1.0]]), block_size=2, dampening=1.0)
    torch.testing.assert_close(inverse.blocks, torch.tensor([[[2.0, -1.0], [-1.0, 2.0]]]) / 3)
    weight = torch.tensor([1.0, 0.5])
    torch.testing.assert_close(saliency(weight, inverse), torch.tensor([0.75, 0.1875]))
    (new,), (mask,) = prune_by_curvature([weight], [torch.ones(2, dtype=torch.bool)], [inverse], 0.5)
    assert mask.tolist() == [True, False]
    assert new.tolist() == [pytest.approx(1.25), 0.0]


@pytest.mark.oracle("O40")
@pytest.mark.parametrize("at_once", [1, 3, 7])
@pytest.mark.parametrize("numel", [5, 12])
def test_in_fp64_the_updates_give_the_direct_inverse(numel: int, at_once: int) -> None:
    """m = 7, B = 5; of 12 entries the last block has two."""
    gradients = torch.randn(7, numel, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = whole(inverse_of(gradients, block_size=5, dampening=0.01, at_once=at_once))
    torch.testing.assert_close(found, direct(gradients, block_size=5, dampening=0.01), rtol=1e-11, atol=1e-11)


@pytest.mark.oracle("O40")
@pytest.mark.parametrize("at_once", [1, 4])
def test_in_fp32_the_error_is_within_five_in_ten_millions(at_once: int) -> None:
    """m = 64, B = 50, lambda = 1e-7, gradients of a thousandth: error over the largest entry, and of the diagonal."""
    gradients = 1e-3 * torch.randn(64, 130, generator=torch.Generator().manual_seed(1))
    inverse = inverse_of(gradients, block_size=50, dampening=1e-7, at_once=at_once)
    true = direct(gradients, block_size=50, dampening=1e-7)
    assert float((whole(inverse).double() - true).abs().max() / true.abs().max()) < 5e-7
    assert float((inverse.diagonal().double() / true.diagonal() - 1).abs().max()) < 1e-6


@pytest.mark.oracle("O41")
def test_the_independent_sum_is_implemented_and_not_the_joint_solution() -> None:
    """g = [1, 1, 0], [0, 1, 1], lambda = 1, m = 2, w = [1, .5, .5]; the second and third go.

    Jointly: minimise dw^T F dw / 2 with dw_2 = dw_3 = -.5, so dw_1 = -F_11^-1 (F_12 dw_2 + F_13 dw_3) = .25 / 1.5.
    """
    gradients = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]], dtype=torch.float64)
    weight = torch.tensor([1.0, 0.5, 0.5], dtype=torch.float64)
    found = compensated(weight, torch.tensor([False, True, True]), inverse_of(gradients, block_size=3, dampening=1.0))
    assert found.tolist() == [pytest.approx(1.1212, abs=5e-5), 0.0, 0.0]
    fisher = torch.linalg.inv(direct(gradients, block_size=3, dampening=1.0))
    joint = 1.0 - float(fisher[0, 1:] @ (-weight[1:]) / fisher[0, 0])
    assert joint == pytest.approx(1.1667, abs=5e-5)


def test_for_one_weight_of_a_block_the_update_is_the_constrained_minimum() -> None:
    """Solved by another road: the weights that are left follow from F dw = 0 in their rows."""
    draw = torch.Generator().manual_seed(2)
    gradients = torch.randn(9, 8, dtype=torch.float64, generator=draw)
    weight = torch.randn(8, dtype=torch.float64, generator=draw)
    pruned = torch.tensor([False, True, False, False, False, False, True, False])  # one in each block of four
    found = compensated(weight, pruned, inverse_of(gradients, block_size=4, dampening=0.1))
    fisher = torch.linalg.inv(direct(gradients, block_size=4, dampening=0.1))
    rest = ~pruned
    moved = torch.linalg.solve(fisher[rest][:, rest], fisher[rest][:, pruned] @ weight[pruned])
    torch.testing.assert_close(found[rest], weight[rest] + moved)
    assert found[pruned].tolist() == [0.0, 0.0]


@pytest.mark.oracle("O43")
def test_a_large_dampening_ranks_as_magnitude_does() -> None:
    draw = torch.Generator().manual_seed(3)
    gradients, weight = torch.randn(16, 60, generator=draw), torch.randn(60, generator=draw)
    by_size = weight.abs().argsort()
    assert saliency(weight, inverse_of(gradients, block_size=10, dampening=1e8)).argsort().equal(by_size)
    assert not saliency(weight, inverse_of(gradients, block_size=10, dampening=1e-2)).argsort().equal(by_size)


def test_one_ranking_over_all_matrices_has_the_exact_count_and_no_entry_returns() -> None:
    draw = torch.Generator().manual_seed(4)
    weights = [torch.randn(6, 7, generator=draw), 3 * torch.randn(5, 9, generator=draw)]
    masks = [torch.ones_like(weight, dtype=torch.bool) for weight in weights]
    shares = []
    for sparsity in (0.29, 0.7, 0.7, 0.9):
        gradients = [
            torch.randn(8, w.numel(), generator=draw) * mask.flatten() for w, mask in zip(weights, masks, strict=True)
        ]
        inverses = [inverse_of(gradient, block_size=10, dampening=0.1) for gradient in gradients]
        before = masks
        weights, masks = prune_by_curvature(weights, masks, inverses, sparsity)
        assert sum(int((~mask).sum()) for mask in masks) == num_zeros(sparsity, 42 + 45)
        assert all(not bool((new & ~old).any()) for new, old in zip(masks, before, strict=True))
        assert all(bool(((weight == 0) == ~mask).all()) for weight, mask in zip(weights, masks, strict=True))
        shares.append([float((~mask).float().mean()) for mask in masks])
    assert shares[0][0] > shares[0][1]  # the ranking is global: of smaller weights more go


def test_what_was_pruned_before_neither_moves_nor_moves_others() -> None:
    draw = torch.Generator().manual_seed(5)
    mask = torch.tensor([True, False, True, True, False, True])
    weight = torch.randn(6, generator=draw) * mask
    gradients = torch.randn(7, 6, generator=draw) * mask
    pruned = torch.tensor([True, False, False, False, False, False])
    found = compensated(weight, pruned, inverse_of(gradients, block_size=6, dampening=0.5))
    alone = compensated(weight[mask], pruned[mask], inverse_of(gradients[:, mask], block_size=4, dampening=0.5))
    torch.testing.assert_close(found[mask], alone)
    assert found[~mask].tolist() == [0.0, 0.0]


def test_ties_go_by_order_of_matrices_and_lowest_index_and_pruned_entries_are_no_part() -> None:
    scores = [torch.tensor([[2.0, 1.0]]), torch.tensor([1.0, 1.0, 0.0])]
    masks = [torch.tensor([[True, True]]), torch.tensor([True, True, False])]
    assert [found.tolist() for found in lowest(scores, masks, 2)] == [[[False, True]], [True, False, False]]
    assert [found.tolist() for found in lowest(scores, masks, 0)] == [[[False, False]], [False, False, False]]
    with pytest.raises(ValueError, match="count=5: expected 0 to the 4 entries"):
        lowest(scores, masks, 5)
    with pytest.raises(ValueError, match="not finite"):
        lowest([scores[0] / 0.0, scores[1]], masks, 1)


def test_a_lower_sparsity_than_there_is_prunes_nothing() -> None:
    masks = [torch.tensor([True, False, False, False])]
    assert [num_to_prune(masks, sparsity) for sparsity in (0.0, 0.5, 0.75, 0.76)] == [0, 0, 0, 0]
    assert num_to_prune([torch.ones(4, dtype=torch.bool)], 0.75) == 3


def test_the_bytes_are_four_for_each_weight_and_entry_of_a_block() -> None:
    made = BlockFisherInverse(600, block_size=50, dampening=1.0, num_gradients=1)
    assert made.blocks.nbytes == 4 * 600 * 50


def test_bad_sizes_and_a_wrong_number_of_gradients_are_refused() -> None:
    with pytest.raises(ValueError, match="dampening=0: expected sizes of 1 or more, and a dampening above 0"):
        BlockFisherInverse(4, block_size=2, dampening=0, num_gradients=1)
    made = BlockFisherInverse(4, block_size=2, dampening=1.0, num_gradients=2)
    made.add(torch.ones(1, 4))
    with pytest.raises(ValueError, match="1 gradients of 2 were added"):
        made.diagonal()
    with pytest.raises(ValueError, match="gradient 3 of 2"):
        made.add(torch.ones(2, 4))


@pytest.mark.parametrize("bad", [torch.inf, torch.nan, 1e6])
def test_an_inverse_that_lost_its_precision_is_named(bad: float) -> None:
    """1e7 - 1e14 * 1e12 / (1 + 1e19): what is left, 1e-12, is below what fp32 can tell from 1e7."""
    made = BlockFisherInverse(1, block_size=1, dampening=1e-7, num_gradients=1)
    made.add(torch.full((1, 1), bad))
    with pytest.raises(ValueError, match="not positive: .* Raise the dampening"):
        made.diagonal()
