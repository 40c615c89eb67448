"""Paired differences: by hand, against SciPy's paired t test, and where nothing can be said."""

from __future__ import annotations

import math

import numpy as np
import pytest

from paper_tables.statistics.intervals import mean_interval
from paper_tables.statistics.paired import difference_of, paired_difference


def test_a_paired_difference_worked_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, s = 1, t = 2 / (1 / sqrt(3)) = 2 sqrt(3) with 2 degrees of freedom.
    # P(|T| > t) = 1 - t / sqrt(2 + t^2) = 1 - sqrt(12 / 14). Interval: 2 -+ 4.302653 / sqrt(3).
    found = paired_difference({0: 81.0, 1: 82.0, 2: 83.0}, {0: 80.0, 1: 80.0, 2: 80.0})
    assert found is not None
    assert (found.mean, found.n, found.low, found.high) == (2.0, 3, 1.0, 3.0)
    assert found.p_value == pytest.approx(1 - math.sqrt(12 / 14), abs=1e-12)
    assert found.interval is not None
    assert found.interval[:2] == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), abs=1e-6)
    assert not found.is_shown  # -0.48 to 4.48


def test_it_is_the_paired_t_test_of_scipy() -> None:
    from scipy.stats import ttest_rel

    generator = np.random.default_rng(3)
    one, other = generator.normal(81, 2, 7).tolist(), generator.normal(80, 2, 7).tolist()
    found = paired_difference(dict(enumerate(one)), dict(enumerate(other)))
    theirs = ttest_rel(one, other)
    assert found is not None
    assert found.p_value == pytest.approx(theirs.pvalue, abs=1e-12)
    assert found.interval is not None
    assert found.interval[:2] == pytest.approx(tuple(theirs.confidence_interval(0.95)), abs=1e-12)


def test_only_seeds_of_both_count() -> None:
    found = paired_difference({0: 5.0, 1: 6.0, 7: 90.0}, {1: 5.0, 0: 3.0, 8: 10.0})
    assert found is not None
    assert (found.mean, found.n, found.low, found.high) == (1.5, 2, 1.0, 2.0)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_what_a_seed_does_to_both_drops_out() -> None:
    """Seeds that move both by ten points hide a difference of one from two samples, and not from pairs."""
    seeds, noise = (0.0, 10.0, -10.0, 5.0), (0.1, -0.1, 0.2, -0.2)
    one = [81 + seed + each for seed, each in zip(seeds, noise, strict=True)]
    other = [80 + seed for seed in seeds]
    found = paired_difference(dict(enumerate(one)), dict(enumerate(other)))
    assert found is not None
    assert found.is_shown
    assert found.mean == pytest.approx(1.0)
    apart = mean_interval(one)
    assert apart is not None
    assert apart.holds(sum(other) / 4)


@pytest.mark.parametrize("differences", [[1.0], [1.0, 3.0], [0.0, 0.0, 0.0], [5.0, 5.0, 5.0, 5.0]])
def test_of_fewer_than_three_and_of_equal_ones_there_is_no_interval_and_no_test(differences: list[float]) -> None:
    found = difference_of(differences)
    assert (found.interval, found.p_value, found.is_shown) == (None, None, False)
    assert (found.n, found.low, found.high) == (len(differences), min(differences), max(differences))


def test_a_difference_is_shown_exactly_where_its_p_value_is_below_five_percent() -> None:
    generator = np.random.default_rng(5)
    for null in (0.0, -1.0):
        found = [difference_of(row.tolist(), null=null) for row in generator.normal(0.3, 1.0, size=(300, 5))]
        assert 0 < sum(each.is_shown for each in found) < 300
        assert all(each.is_shown == (each.p_value is not None and each.p_value < 0.05) for each in found)


def test_a_null_value_moves_the_test_and_not_the_interval() -> None:
    moved, plain = difference_of([-0.2, 0.1, -0.3], null=-1.0), difference_of([0.8, 1.1, 0.7])
    assert moved.p_value == pytest.approx(plain.p_value)
    assert moved.interval == difference_of([-0.2, 0.1, -0.3]).interval
    assert moved.is_shown
    assert not difference_of([-0.2, 0.1, -0.3]).is_shown


def test_true_nulls_are_rejected_five_times_in_a_hundred() -> None:
    draws = np.random.default_rng(11).normal(size=(4000, 5))
    assert 0.04 <= np.mean([difference_of(row.tolist()).is_shown for row in draws]) <= 0.06


@pytest.mark.parametrize(("differences", "null"), [([], 0.0), ([1.0, math.nan, 2.0], 0.0), ([1.0, 2.0, 3.0], math.nan)])
def test_what_is_not_finite_is_refused(differences: list[float], null: float) -> None:
    with pytest.raises(ValueError, match="expected a? ?finite|no value"):
        difference_of(differences, null=null)
