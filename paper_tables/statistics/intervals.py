"""Mean, range, standard deviation and Student-t interval of the seeds of one number."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

LEVEL = 0.95
FEWEST_FOR_INTERVAL = 3  # of two values the range is told: the factor of their interval is 12.7, of three 4.3
ROUNDING = 1e-12  # of the largest value: a smaller spread comes of arithmetic and not of seeds


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

    interval: Student's, for the mean; None when n < 3 and where all are equal.
    """

    n: int
    mean: float
    low: float
    high: float
    spread: float | None
    interval: Interval | None


def summary(values: Sequence[float], level: float = LEVEL) -> Summary:
    """Raises ValueError for no value, and for one that is not finite."""
    check_values(values)
    return Summary(
        n=len(values),
        mean=statistics.fmean(values),
        low=min(values),
        high=max(values),
        spread=statistics.stdev(values) if len(values) > 1 else None,
        interval=mean_interval(values, level),
    )


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Student's t interval for the mean of a normal population: mean -+ t(n - 1, (1 + level) / 2) * s / sqrt(n).

    None for fewer than three values, and where all are equal: that has probability 0 in a normal population, so its
    spread cannot be told from them. Raises ValueError for no value, one that is not finite, and a level outside (0, 1).
    """
    check_values(values)
    check_level(level)
    error = standard_error(values)
    if error is None:
        return None
    mean, half = statistics.fmean(values), t_quantile((1 + level) / 2, len(values) - 1) * error
    return Interval(mean - half, mean + half, level)


def standard_error(values: Sequence[float]) -> float | None:
    """s / sqrt(n) where an interval can be given, else None: see `mean_interval`."""
    if len(values) < FEWEST_FOR_INTERVAL:
        return None
    spread = statistics.stdev(values)
    return None if spread <= ROUNDING * max(map(abs, values)) else spread / math.sqrt(len(values))


def reference_half_width(
    values: Sequence[float], *, reference_n: int, reference_spread: float | None = None, level: float = LEVEL
) -> float | None:
    """How far the mean of `values` and a mean of `reference_n` others of one population may lie apart.

    t(n - 1) * sqrt(s^2 / n + v / m): s the spread of the values, v the square of `reference_spread`, or s^2 where that
    is not known, m = reference_n. As m grows it becomes half the width of `mean_interval`. None where that is None.
    """
    check_values(values)
    check_level(level)
    error = standard_error(values)
    if error is None:
        return None
    other = statistics.variance(values) if reference_spread is None else reference_spread**2
    half = math.sqrt(error**2 + other / reference_n)
    return t_quantile((1 + level) / 2, len(values) - 1) * half


def t_quantile(probability: float, freedom: float) -> float:
    """The value below which Student's t with `freedom` degrees of freedom falls with this probability."""
    from scipy.special import stdtrit  # on first use: reading a table needs none

    return float(stdtrit(freedom, probability))


def t_tails(t: float, freedom: float) -> float:
    """The probability that |T| is at least |t|: the two-sided p-value."""
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(t)))


def check_values(values: Sequence[float]) -> None:
    """Raises ValueError unless there are values, and all are finite."""
    if len(values) == 0:
        raise ValueError("no value: a mean of nothing is not defined.")
    if not all(map(math.isfinite, values)):
        raise ValueError(f"values {list(values)}: expected finite numbers.")


def check_level(level: float) -> None:
    """Raises ValueError unless it lies in (0, 1)."""
    if not 0 < level < 1:
        raise ValueError(f"level={level}: expected a number in (0, 1). For {level} percent write {level / 100}.")
