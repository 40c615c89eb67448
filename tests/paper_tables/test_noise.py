from __future__ import annotations

import math
from dataclasses import replace

import pytest

from paper_tables.numbers.noise import exceeds_noise, published_spread
from paper_tables.numbers.rows import aggregate
from paper_tables.numbers.score import Score
from paper_tables.statistics.intervals import mean_interval, reference_half_width

BASE = Score(
    study="demo", model="bert-base", method="prune-ofa", sparsity=0.85, transfer_kd="yes", bits=32, task="squad",
    metric="f1", seed=0, value=88.0, comparable=True,
)  # fmt: skip


def test_the_reference_of_very_many_seeds_leaves_our_own_interval() -> None:
    values = [80.0, 81.0, 83.0]
    interval = mean_interval(values)
    assert interval is not None
    half = reference_half_width(values, reference_n=10**12)
    assert half == pytest.approx((interval.high - interval.low) / 2)
    # One more mean of as many seeds with our spread: sqrt(2) times as wide.
    assert reference_half_width(values, reference_n=3) == pytest.approx(half * math.sqrt(2))
    # s^2 = 7 / 3, t(2, 0.975) = 4.3027: 4.3027 * sqrt(7 / 9 + 4 / 2).
    wide = reference_half_width(values, reference_n=2, reference_spread=2.0)
    assert wide == pytest.approx(4.3027 * math.sqrt(7 / 9 + 2), rel=1e-4)
    assert reference_half_width([80.0, 81.0], reference_n=2) is None


def test_the_largest_published_spread_stands_for_the_papers() -> None:
    assert published_spread("BERT-Base", "squad", "f1") == 0.13
    assert published_spread("BERT-Base", "mnli-mm", "accuracy") == 0.241
    assert published_spread("BERT-Base", "sst2", "accuracy") is None
    assert published_spread("DistilBERT", "squad", "f1") is None


@pytest.mark.parametrize(
    ("values", "exceeds"),
    [
        # The paper: 88.42, of two seeds, sd 0.13. Ours: sd 0.1: 4.303 * sqrt(0.01 / 3 + 0.0169 / 2) = 0.467.
        ([87.9, 88.0, 88.1], False),  # -0.42
        ([87.8, 87.9, 88.0], True),  # -0.52
        ([80.0, 80.0], None),
    ],
)
def test_a_difference_is_marked_beyond_the_noise_of_both(values: list[float], exceeds: bool | None) -> None:
    (row,) = aggregate(replace(BASE, seed=seed, value=value) for seed, value in enumerate(values))
    assert exceeds_noise(row) is exceeds


def test_prunings_of_a_transfer_seed_do_not_make_our_mean_surer() -> None:
    """-0.5 of the paper's 88.42: beyond the noise of six independent values of this spread, not of three seeds."""
    values = [87.7, 87.9, 88.16]
    (row,) = aggregate(
        replace(BASE, seed=seed, pruning_seed=pruning, value=value)
        for pruning in (0, 1)
        for seed, value in enumerate(values)
    )
    (six,) = aggregate(replace(BASE, seed=seed, value=value) for seed, value in enumerate([*values, *values]))
    assert (exceeds_noise(six), exceeds_noise(row)) == (True, False)


def test_what_does_not_compare_has_no_noise_to_exceed() -> None:
    (row,) = aggregate(replace(BASE, seed=seed, value=50.0 + seed, comparable=False) for seed in range(3))
    assert exceeds_noise(row) is None
