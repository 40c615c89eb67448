"""Holm's correction: by hand, as the stepwise procedure itself, and the family-wise error by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from paper_tables.statistics.correction import holm, holm_by_key


def test_an_example_worked_by_hand() -> None:
    # In order: 0.005 x 4 = 0.02, 0.01 x 3 = 0.03, 0.03 x 2 = 0.06, and 0.04 x 1 is raised to 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_no_adjusted_value_is_above_one_and_one_comparison_stays_as_it_is() -> None:
    assert holm([0.6, 0.9, 0.7]) == [1.0, 1.0, 1.0]
    assert (holm([0.03]), holm([])) == ([0.03], [])


def stepwise(p_values: list[float], alpha: float) -> list[bool]:
    """Holm (1979) as he states it: go through them by size and stop at the first above alpha / (m - k + 1)."""
    rejected = [False] * len(p_values)
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[index] > alpha / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected


def test_it_rejects_what_the_stepwise_procedure_rejects() -> None:
    generator = np.random.default_rng(2)
    found = [(holm(p), stepwise(p, 0.05)) for p in (generator.beta(0.4, 2, size=6).tolist() for _ in range(300))]
    assert [[p <= 0.05 for p in adjusted] for adjusted, _ in found] == [rejected for _, rejected in found]
    assert {sum(rejected) for _, rejected in found} >= {0, 1, 2, 3}


@pytest.mark.parametrize("true_nulls", [10, 4])
def test_a_true_null_is_rejected_in_at_most_five_of_a_hundred_families(true_nulls: int) -> None:
    """Ten comparisons, of which some are differences that anyone sees. Uncorrected, 1 - 0.95^k of the families err.

    5,000 families: three standard deviations of 5 % are 0.9 points.
    """
    generator = np.random.default_rng(true_nulls)
    families = [
        [*generator.uniform(size=true_nulls), *generator.uniform(0, 1e-6, size=10 - true_nulls)] for _ in range(5000)
    ]
    corrected = np.mean([any(p <= 0.05 for p in holm(family)[:true_nulls]) for family in families])
    uncorrected = np.mean([any(p <= 0.05 for p in family[:true_nulls]) for family in families])
    assert 0.03 <= corrected <= 0.059
    assert uncorrected == pytest.approx(1 - 0.95**true_nulls, abs=0.03)


@pytest.mark.parametrize("p_values", [[0.5, 1.5], [-0.1], [math.nan]])
def test_what_is_no_probability_is_refused(p_values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"expected numbers in \[0, 1\]"):
        holm(p_values)


def test_what_was_not_tested_takes_no_part() -> None:
    """Two tests, not three: the smaller p-value is doubled."""
    assert holm_by_key({"a": 0.04, "b": None, "c": 0.01}) == {"a": 0.04, "c": 0.02}
    assert holm_by_key({"a": None}) == {}
