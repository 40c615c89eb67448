"""Two models on the same examples: McNemar's test against counted binomials, the paired bootstrap against its limit."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from paper_tables.statistics.examples import McNemar, mcnemar, paired_bootstrap


def outcomes(both: int, one: int, other: int, none: int) -> tuple[list[bool], list[bool]]:
    rows = [(True, True)] * both + [(True, False)] * one + [(False, True)] * other + [(False, False)] * none
    return [first for first, _ in rows], [second for _, second in rows]


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [
        (1, 5, 14 / 64),  # of 2^6 outcomes 1 + 6 have at most one head; both tails: 14
        (5, 1, 14 / 64),
        (0, 4, 2 / 16),
        (3, 7, 2 * (1 + 10 + 45 + 120) / 1024),
        (3, 3, 1.0),  # twice a tail that holds the middle is above 1
        (0, 0, 1.0),
        (0, 1, 1.0),
    ],
)
def test_the_p_value_is_a_counted_binomial(one: int, other: int, p: float) -> None:
    assert mcnemar(*outcomes(9, one, other, 4)) == McNemar(one, other, pytest.approx(p, abs=1e-12))


def test_examples_on_which_both_agree_do_not_count() -> None:
    assert mcnemar(*outcomes(0, 2, 9, 0)) == mcnemar(*outcomes(1000, 2, 9, 300))


def test_it_is_the_exact_binomial_test_of_scipy_also_for_many_examples() -> None:
    from scipy.stats import binomtest

    for one, other in ((130, 170), (2000, 2100), (40, 41)):
        assert mcnemar(*outcomes(10, one, other, 0)).p_value == pytest.approx(binomtest(one, one + other).pvalue)


@pytest.mark.parametrize(("one", "other"), [([True], [True, False]), ([True], [True, False, True]), ([], [True])])
def test_unlike_examples_are_refused(one: list[bool], other: list[bool]) -> None:
    """One example against many would be compared with each of them, without a word."""
    with pytest.raises(ValueError, match="expected the same examples"):
        mcnemar(one, other)
    with pytest.raises(ValueError, match="expected the same examples"):
        paired_bootstrap([float(each) for each in one], [float(each) for each in other])


def test_with_many_examples_the_interval_is_the_normal_one() -> None:
    """4,000 examples: mean -+ 1.959964 s / sqrt(n), with s of the differences; ends to 4 % of its width."""
    generator = np.random.default_rng(8)
    one, other = generator.random(4000) < 0.83, generator.random(4000) < 0.80
    differences = one.astype(float) - other.astype(float)
    half = 1.959964 * differences.std(ddof=0) / math.sqrt(4000)
    found = paired_bootstrap(one, other)
    assert found.low == pytest.approx(differences.mean() - half, abs=0.08 * half)
    assert found.high == pytest.approx(differences.mean() + half, abs=0.08 * half)


def test_drawing_counts_of_differences_is_drawing_examples() -> None:
    """By another road: examples drawn one by one. Ends agree to what 20,000 resamples leave open."""
    generator = np.random.default_rng(9)
    one, other = generator.integers(0, 4, 40) / 3, generator.integers(0, 4, 40) / 3
    drawn = (one - other)[generator.integers(40, size=(20_000, 40))].mean(axis=1)
    found = paired_bootstrap(one, other, resamples=20_000)
    assert found[:2] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.01)


def test_pairs_stay_together() -> None:
    """Models that differ on no example by more than 0.01 have no wide interval, however much examples differ."""
    scores = np.random.default_rng(1).random(500)
    found = paired_bootstrap(scores + 0.01, scores)
    assert found[:2] == pytest.approx((0.01, 0.01))


def test_the_same_seed_gives_the_same_bytes_whatever_is_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from paper_tables.statistics import examples

    scores = np.random.default_rng(2).random((2, 300))
    whole = paired_bootstrap(*scores, resamples=500)
    monkeypatch.setattr(examples, "MOST_DRAWN", 1000)  # three resamples at a time
    parts = paired_bootstrap(*scores, resamples=500)
    assert np.array(whole).tobytes() == np.array(parts).tobytes()
    assert paired_bootstrap(*scores, resamples=500, seed=3) != whole


def test_a_data_set_of_the_size_of_qqp_takes_less_than_a_second() -> None:
    generator = np.random.default_rng(5)
    one, other = generator.random(40_430) < 0.91, generator.random(40_430) < 0.90
    began = time.process_time()
    paired_bootstrap(one, other)
    mcnemar(one, other)  # type: ignore[arg-type]
    assert time.process_time() - began <= 1.0


def test_no_example_and_scores_that_are_not_finite_are_refused() -> None:
    for scores in ([], [1.0, math.nan]):
        with pytest.raises(ValueError, match="at least one example, and finite scores"):
            paired_bootstrap(scores, scores)
    assert mcnemar([], []) == McNemar(0, 0, 1.0)
