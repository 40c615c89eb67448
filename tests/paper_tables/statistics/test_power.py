"""The smallest difference that some seeds can show: by simulation, and its limit with many seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from paper_tables.statistics.paired import difference_of
from paper_tables.statistics.power import smallest_detectable


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_difference_of_that_size_is_found_nine_times_in_ten(n: int) -> None:
    size = smallest_detectable(2.0, n)
    assert size is not None
    draws = np.random.default_rng(n).normal(size, 2.0, size=(4000, n))
    found = np.mean([difference_of(row.tolist()).is_shown for row in draws])
    assert found == pytest.approx(0.9, abs=0.02)


def test_with_many_seeds_it_is_that_of_the_normal_distribution() -> None:
    # (1.959964 + 1.281552) s / sqrt(n); of one side (1.644854 + 1.281552).
    assert smallest_detectable(3.0, 10_000) == pytest.approx(3.241516 * 3 / 100, rel=1e-3)
    assert smallest_detectable(3.0, 10_000, sides=1) == pytest.approx(2.926406 * 3 / 100, rel=1e-3)


def test_it_grows_with_the_spread_and_shrinks_with_seeds() -> None:
    five, ten = smallest_detectable(1.0, 5), smallest_detectable(1.0, 10)
    assert five is not None
    assert ten is not None
    assert ten < five
    assert smallest_detectable(2.0, 5) == pytest.approx(2 * five)
    assert smallest_detectable(0.0, 5) == 0.0


def test_with_two_seeds_nothing_is_tested() -> None:
    assert (smallest_detectable(1.0, 2), smallest_detectable(1.0, 1)) == (None, None)


@pytest.mark.parametrize("wrong", [{"spread": -1.0}, {"spread": math.nan}, {"level": 95}, {"power": 1.0}, {"sides": 3}])
def test_numbers_out_of_their_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected a spread"):
        smallest_detectable(**{"spread": 1.0, "n": 5, **wrong})  # type: ignore[arg-type]
