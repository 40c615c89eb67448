"""Mean, range, standard deviation and Student-t interval of the seeds of one number."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

LEVEL = 0.95
FEWEST_FOR_INTERVAL = 3  # of two values the range is told, for their t interval is twelve times as wide


class Interval(NamedTuple):
    """Both ends belong to it. level: how often such an interval holds what it estimates, in (0, 1)."""

    low: float
    high: float
    level: float = LEVEL

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Summary:
    """n values in their own unit. spread: sample standard deviation (n - 1 below the line), None when n < 2.

    interval: Student's, for the mean; None when n < 3.
    """

    n: int
    mean: float
    low: float
    high: float
    spread: float | None
    interval: Interval | None


def summary(values: Sequence[float], level: float = LEVEL) -> Summary:
    """Raises ValueError for no value, and for one that is not finite."""
    _check(values)
    mean = statistics.fmean(values)
    return Summary(
        n=len(values),
        mean=mean,
        low=min(values),
        high=max(values),
        spread=statistics.stdev(values) if len(values) > 1 else None,
        interval=mean_interval(values, level),
    )


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Student's t interval for the mean of a normal population; None for fewer than three values.

    mean -+ t(n - 1, (1 + level) / 2) * s / sqrt(n), of width 0 where all values are equal.
    """
    _check(values)
    if len(values) < FEWEST_FOR_INTERVAL:
        return None
    mean = statistics.fmean(values)
    half = t_quantile((1 + level) / 2, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(mean - half, mean + half, level)


def reference_half_width(
    values: Sequence[float], *, reference_n: int, reference_spread: float | None = None, level: float = LEVEL
) -> float | None:
    """How far the mean of `values` and a mean of `reference_n` others of one population may lie apart; None for n < 3.

    t(n - 1) * sqrt(s^2 / n + v / m): s the spread of the values, v the square of `reference_spread`, or s^2 where that
    is not known, m = reference_n. Without the second term, as m grows, it is half the width of `mean_interval`.
    """
    _check(values)
    if len(values) < FEWEST_FOR_INTERVAL:
        return None
    own = statistics.variance(values)
    other = own if reference_spread is None else reference_spread**2
    error = math.sqrt(own / len(values) + other / reference_n)
    return t_quantile((1 + level) / 2, len(values) - 1) * error


def t_quantile(probability: float, freedom: float) -> float:
    """The value below which Student's t with `freedom` degrees of freedom falls with this probability."""
    from scipy.special import stdtrit  # on first use: reading a table needs none

    return float(stdtrit(freedom, probability))


def t_tails(t: float, freedom: float) -> float:
    """The probability that |T| is at least |t|: the two-sided p-value."""
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(t)))


def _check(values: Sequence[float]) -> None:
    if not values:
        raise ValueError("no value: a mean of nothing is not defined.")
    if not all(map(math.isfinite, values)):
        raise ValueError(f"values {list(values)}: expected finite numbers.")
