"""A drawn mask: exact counts, evenly over the places, repeated by its seed."""

from __future__ import annotations

import math

import pytest
import torch

from harness.compression.random_mask import random_mask


def drawn(shape: tuple[int, ...], sparsity: float, seed: int = 0) -> torch.Tensor:
    return random_mask(torch.Size(shape), sparsity, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("shape", "sparsity", "zeros"),
    [((4, 5), 0.85, 17), ((10, 10), 0.29, 29), ((768, 768), 0.9, 530_841), ((3, 3), 0.0, 0), ((1, 7), 0.99, 6)],
)
def test_exactly_the_share_is_gone(shape: tuple[int, ...], sparsity: float, zeros: int) -> None:
    mask = drawn(shape, sparsity)
    assert (mask.shape, mask.dtype) == (shape, torch.bool)
    assert int((~mask).sum()) == zeros


def test_a_seed_repeats_its_mask_and_another_draws_another() -> None:
    assert drawn((30, 30), 0.5).equal(drawn((30, 30), 0.5))
    assert not drawn((30, 30), 0.5).equal(drawn((30, 30), 0.5, seed=1))


def test_zeros_of_a_lower_sparsity_are_among_those_of_a_higher() -> None:
    assert not bool((~drawn((40, 40), 0.5) & drawn((40, 40), 0.9)).any())


def test_every_place_is_as_likely_as_another() -> None:
    """2,000 masks of 20 places at 0.3: 600 zeros each, by a standard deviation of sqrt(2000 * .3 * .7) = 20.5."""
    counts = sum((~drawn((4, 5), 0.3, seed)).int() for seed in range(2000))
    assert isinstance(counts, torch.Tensor)
    assert int((counts - 600).abs().max()) < 4 * math.sqrt(2000 * 0.3 * 0.7)


def test_a_sparsity_of_no_fraction_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sparsity=85: expected a fraction in \[0, 1\). For 85 percent write 0.85."):
        drawn((2, 2), 85)
