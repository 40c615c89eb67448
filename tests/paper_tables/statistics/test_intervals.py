"""Student's interval for a mean: against a printed table, by hand, and how often it holds the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from paper_tables.statistics.intervals import Interval, mean_interval, summary, t_quantile, t_tails

# Two-sided 90, 95 and 99 %, as printed in tables of Student's t (Fisher and Yates, table III).
T_TABLE = {
    1: (6.314, 12.706, 63.657),
    2: (2.920, 4.303, 9.925),
    3: (2.353, 3.182, 5.841),
    4: (2.132, 2.776, 4.604),
    9: (1.833, 2.262, 3.250),
    30: (1.697, 2.042, 2.750),
}


@pytest.mark.parametrize(("freedom", "printed"), T_TABLE.items())
def test_quantiles_are_those_of_a_printed_table(freedom: int, printed: tuple[float, ...]) -> None:
    assert [round(t_quantile(p, freedom), 3) for p in (0.95, 0.975, 0.995)] == list(printed)


def test_with_many_degrees_of_freedom_t_is_normal() -> None:
    assert t_quantile(0.975, 1e9) == pytest.approx(1.959964, abs=1e-6)
    assert t_tails(1.959964, 1e9) == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize(
    ("t", "freedom", "tails"),
    # One degree of freedom is Cauchy's: 1/2 beyond +-1. Two: P(|T| > t) = 1 - t / sqrt(2 + t^2), 1/2 at sqrt(2/3).
    [(0.0, 4, 1.0), (1.0, 1, 0.5), (-1.0, 1, 0.5), (math.sqrt(2 / 3), 2, 0.5), (math.inf, 4, 0.0)],
)
def test_tails_where_they_are_known_in_closed_form(t: float, freedom: int, tails: float) -> None:
    assert t_tails(t, freedom) == pytest.approx(tails, abs=1e-12)


def test_a_summary_worked_by_hand() -> None:
    # 1, 2, 3, 4, 5: mean 3, s^2 = (4 + 1 + 0 + 1 + 4) / 4 = 2.5, half width 2.776445 * sqrt(2.5 / 5) = 1.963243.
    found = summary([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.n, found.mean, found.low, found.high) == (5, 3.0, 1.0, 5.0)
    assert found.spread == pytest.approx(math.sqrt(2.5))
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((3 - 1.963243, 3 + 1.963243), abs=1e-6)


def test_one_value_has_no_spread_and_two_have_a_range_and_no_interval() -> None:
    one, two = summary([80.0]), summary([80.0, 82.0])
    assert (one.n, one.mean, one.low, one.high, one.spread, one.interval) == (1, 80.0, 80.0, 80.0, None, None)
    assert (two.low, two.high, two.interval) == (80.0, 82.0, None)
    assert two.spread == pytest.approx(math.sqrt(2))
    assert summary([80.0, 82.0, 84.0]).interval is not None


@pytest.mark.parametrize("values", [[0.0] * 5, [64.14] * 3, [0.1 + 0.2, 0.3, 0.3]])
def test_equal_values_have_no_interval_of_width_zero(values: list[float]) -> None:
    """0.1 + 0.2 and 0.3 differ in the last bit: arithmetic, no spread."""
    assert mean_interval(values) is None
    assert summary(values).spread == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_95_percent_intervals_hold_the_truth_95_times_in_100(n: int) -> None:
    """4,000 samples: the binomial's standard deviation is 0.34 points, 93 to 97 % is near six of them."""
    draws = np.random.default_rng(n).normal(80.0, 2.0, size=(4000, n))
    held = [interval.holds(80.0) for sample in draws if (interval := mean_interval(sample.tolist()))]
    assert len(held) == 4000
    assert 0.93 <= sum(held) / len(held) <= 0.97


def test_a_higher_level_holds_more_and_is_wider() -> None:
    draws = np.random.default_rng(1).normal(size=(2000, 5))
    held = [mean_interval(sample.tolist(), level=0.8).holds(0.0) for sample in draws]  # type: ignore[union-attr]
    assert 0.77 <= sum(held) / len(held) <= 0.83
    narrow, wide = mean_interval([1.0, 2.0, 4.0], 0.8), mean_interval([1.0, 2.0, 4.0], 0.99)
    assert narrow is not None
    assert wide is not None
    assert wide.low < narrow.low < narrow.high < wide.high
    assert (narrow.level, wide.level) == (0.8, 0.99)


def test_both_ends_belong_to_an_interval() -> None:
    interval = Interval(-1.0, 1.0)
    assert [interval.holds(value) for value in (-1.01, -1.0, 0.0, 1.0, 1.01)] == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("values", "level", "said"),
    [
        ([], 0.95, "no value"),
        (np.zeros(0), 0.95, "no value"),
        ([1.0, math.nan, 2.0], 0.95, "finite"),
        ([1.0, math.inf], 0.95, "finite"),
        ([1.0, 2.0, 3.0], 95.0, "For 95.0 percent write 0.95"),
        ([1.0, 2.0, 3.0], 0.0, "in \\(0, 1\\)"),
    ],
)
def test_what_cannot_be_summarised_is_refused(values: list[float], level: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        summary(values, level)
