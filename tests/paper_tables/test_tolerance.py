"""Noise of a family, tolerance, p-value and detectable change: by hand, by limit, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from paper_tables.statistics.tolerance import Noise, detectable, family_noise, noise_of_mean


def test_no_cell_counts_as_quieter_than_its_family_nor_as_quieter_than_it_is() -> None:
    # Variances 1, 4 and 16, of two degrees of freedom each: pooled 7. Of freedom each has its own and half of it.
    groups = [[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-4.0, 0.0, 4.0]]
    assert family_noise(groups) == [Noise(math.sqrt(7), 3.0), Noise(math.sqrt(7), 3.0), Noise(4.0, 3.0)]


def test_a_family_is_pooled_by_degrees_of_freedom() -> None:
    # Variance 2 of one, and 5 of four degrees: (2 + 20) / 5 = 4.4.
    (few, many) = family_noise([[0.0, 2.0], [1.0, 3.0, 5.0, 0.0, 5.8]])
    own = float(np.var([1.0, 3.0, 5.0, 0.0, 5.8], ddof=1))
    assert few is not None
    assert few.spread == pytest.approx(math.sqrt((2 + 4 * own) / 5))
    assert (few.freedom, many.freedom if many else 0) == (1.5, 5.0)  # not more than the family has


def test_one_seed_and_equal_seeds_have_no_noise_to_tell() -> None:
    assert family_noise([[1.0], [2.0]]) == [None, None]
    assert family_noise([[1.0, 1.0], [2.0, 2.0]]) == [None, None]
    lone, known = family_noise([[1.0], [2.0, 4.0]])
    assert lone is None
    assert known == Noise(math.sqrt(2), 1.0)
    assert family_noise([]) == []


def test_the_tolerance_is_students_quantile_times_the_deviation_of_two_means() -> None:
    # sqrt(1/5 + 1/2 + 2 * 0.5^2) = sqrt(1.2); t(0.99, 8) = 2.896 in any table.
    noise = Noise(2.0, 8.0, between_runs=0.5)
    assert noise.of_difference(5, 2) == pytest.approx(2 * math.sqrt(1.2))
    assert noise.tolerance(5, 2, 0.01) == pytest.approx(2.896 * 2 * math.sqrt(1.2), rel=1e-3)


def test_more_seeds_narrow_it_and_runs_that_shift_widen_it() -> None:
    quiet, shifting = Noise(1.0, 8.0), Noise(1.0, 8.0, between_runs=1.0)
    assert quiet.tolerance(5, 5, 0.01) < quiet.tolerance(5, 2, 0.01) < shifting.tolerance(5, 2, 0.01)
    assert shifting.of_difference(10**9, 10**9) == pytest.approx(math.sqrt(2))  # no number of seeds helps against it


def test_a_difference_as_large_as_the_tolerance_has_the_p_value_of_its_level() -> None:
    noise = Noise(3.0, 8.0, between_runs=0.5)
    edge = noise.tolerance(5, 2, 0.004)
    assert noise.p_value(-edge, 5, 2) == pytest.approx(2 * 0.004)
    assert noise.p_value(0.0, 5, 2) == 1.0


def test_equal_runs_exceed_it_as_often_as_its_level_says() -> None:
    """One group of five seeds has four degrees of freedom: the plain two-sample t with the first variance alone."""
    generator, level, falls = np.random.default_rng(0), 0.05, 0
    for _ in range(4000):
        before, now = generator.standard_normal(5), generator.standard_normal(2)
        (noise,) = family_noise([list(before)])
        assert noise is not None
        falls += now.mean() - before.mean() < -noise.tolerance(5, 2, level)
    assert falls / 4000 == pytest.approx(level, abs=0.01)


def test_a_mean_of_independent_numbers_is_quieter_and_one_of_twins_is_not() -> None:
    one = Noise(2.0, 8.0)
    apart = noise_of_mean([[(0.5, one)], [(0.5, one)]])
    together = noise_of_mean([[(0.5, one), (0.5, one)]])
    assert (apart.spread, apart.freedom) == (pytest.approx(math.sqrt(2)), pytest.approx(16.0))
    assert (together.spread, together.freedom) == (pytest.approx(2.0), pytest.approx(8.0))


def test_the_freedom_of_a_mean_is_satterthwaites() -> None:
    found = noise_of_mean([[(0.5, Noise(2.0, 4.0))], [(0.5, Noise(6.0, 10.0, 0.3))]])
    # Variances 1 and 9: 100 / (1/4 + 81/10).
    assert found.freedom == pytest.approx(100 / (0.25 + 8.1))
    assert found.between_runs == 0.3


def test_the_smallest_change_that_is_seen_is_seen_in_nine_of_ten_runs() -> None:
    tolerance, deviation = 3.0, 1.2
    change = detectable(tolerance, deviation)
    assert stats.norm.cdf(-tolerance, loc=-change, scale=deviation) == pytest.approx(0.9)
    drawn = np.random.default_rng(1).normal(-change, deviation, size=20_000)
    assert np.mean(drawn < -tolerance) == pytest.approx(0.9, abs=0.01)
