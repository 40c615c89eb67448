"""The order in which training reads its examples."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers.trainer_pt_utils import LengthGroupedSampler

from harness.training.data_order import SeededLengthGroupedSampler, SeededShuffledSampler


@pytest.mark.parametrize("num_examples", [1, 7, 8, 31, 32, 33, 400, 3 * 400 + 5])
def test_grouped_by_length_the_order_is_the_librarys(num_examples: int) -> None:
    lengths = np.random.default_rng(num_examples).integers(5, 25, num_examples).tolist()
    for epoch in (0, 3):
        ours = SeededLengthGroupedSampler(8, np.array(lengths, np.int32), seed=2)
        ours.set_epoch(epoch)
        theirs = LengthGroupedSampler(8, lengths=lengths, generator=torch.Generator().manual_seed(2_000_006 + epoch))
        assert list(ours) == list(theirs)


def test_shuffled_the_order_is_the_permutation() -> None:
    ours = SeededShuffledSampler(10_000, seed=2)
    ours.set_epoch(1)
    assert list(ours) == torch.randperm(10_000, generator=torch.Generator().manual_seed(2_000_007)).tolist()


@pytest.mark.parametrize("sampler", [SeededLengthGroupedSampler, SeededShuffledSampler])
def test_an_example_takes_eight_bytes_and_what_its_length_takes(sampler: type) -> None:
    """As lists of Python's integers, what the library holds, it takes thirty-six and more."""
    count = 1_000_000
    lengths = np.full(count, 128, np.int32)
    tracemalloc.start()
    order = sampler(256, lengths, 0) if sampler is SeededLengthGroupedSampler else sampler(count, 0)
    seen = sum(1 for _ in order)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == count
    assert peak < 12 * count  # torch's permutation, eight more, is not traced


@pytest.mark.parametrize(
    "sampler_of",
    [
        lambda seed: SeededLengthGroupedSampler(4, [6 + i % 3 for i in range(32)], seed),
        lambda seed: SeededShuffledSampler(32, seed),
    ],
    ids=["grouped by length", "shuffled"],
)
def test_the_data_order_depends_on_seed_and_epoch_alone(sampler_of: Callable[[int], Any]) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        torch.manual_seed(torch.randint(1000, ()).item())  # whatever the global generator is up to
        sampler = sampler_of(seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 1) == order(0, 1)
    assert sorted(order(0, 1)) == list(range(32))
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_batches_hold_examples_of_similar_length() -> None:
    draw = np.random.default_rng(0)
    lengths = draw.integers(5, 100, 400).tolist()
    batches = np.array([lengths[i] for i in SeededLengthGroupedSampler(8, lengths, 0)]).reshape(-1, 8)
    spread = (batches.max(1) - batches.min(1)).mean()
    assert spread < 10  # at random it would be about 75


def test_shuffled_batches_are_drawn_whatever_the_length() -> None:
    lengths = np.random.default_rng(0).integers(5, 100, 400)
    batches = lengths[list(SeededShuffledSampler(400, 0))].reshape(-1, 8)
    # Range of 8 uniform draws from 95 lengths: 7/9 of it, 74, on average; the mean of 50 batches is within 3 of it.
    assert (batches.max(1) - batches.min(1)).mean() == pytest.approx(74, abs=8)
