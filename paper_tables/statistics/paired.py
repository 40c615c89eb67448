"""Paired differences on shared seeds: what a seed does to both methods drops out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from paper_tables.statistics.intervals import LEVEL, Interval, mean_interval, standard_error, t_tails


@dataclass(frozen=True)
class Difference:
    """The mean of one minus other over the n keys (seeds) that both have, in their unit.

    interval: Student's, of the paired differences; p_value: two-sided, of the hypothesis that the true difference is
    `null`. Both None when n < 3 and where all differences are equal (`intervals.mean_interval`).
    """

    mean: float
    n: int
    low: float
    high: float
    interval: Interval | None
    p_value: float | None
    null: float = 0.0

    @property
    def is_shown(self) -> bool:
        """Whether its interval excludes the null value."""
        return self.interval is not None and not self.interval.holds(self.null)


Key = TypeVar("Key", bound=Hashable)


def paired_difference(
    one: Mapping[Key, float], other: Mapping[Key, float], level: float = LEVEL, null: float = 0.0
) -> Difference | None:
    """one, other: value by key. None where they share no key."""
    shared = [one[key] - other[key] for key in one if key in other]
    return difference_of(shared, level, null) if shared else None


def difference_of(differences: Sequence[float], level: float = LEVEL, null: float = 0.0) -> Difference:
    """The same from the differences themselves: t = (mean - null) / (s / sqrt(n)) with n - 1 degrees of freedom.

    Raises ValueError for none, for one that is not finite, and for a null that is not.
    """
    if not math.isfinite(null):
        raise ValueError(f"null={null}: expected a finite number.")
    interval = mean_interval(differences, level)  # also checks them
    error, mean = standard_error(differences), statistics.fmean(differences)
    return Difference(
        mean=mean,
        n=len(differences),
        low=min(differences),
        high=max(differences),
        interval=interval,
        p_value=None if error is None else t_tails((mean - null) / error, len(differences) - 1),
        null=null,
    )
