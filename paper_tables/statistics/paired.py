"""Paired differences on shared seeds: what a seed does to both methods drops out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from paper_tables.statistics.intervals import FEWEST_FOR_INTERVAL, LEVEL, Interval, mean_interval, t_tails


@dataclass(frozen=True)
class Difference:
    """The mean of one minus other over the n keys (seeds) that both have, in their unit.

    interval: Student's, of the paired differences; p_value: two-sided, of no difference. Both None when n < 3.
    """

    mean: float
    n: int
    low: float
    high: float
    interval: Interval | None
    p_value: float | None

    @property
    def is_shown(self) -> bool:
        """Whether its interval excludes zero."""
        return self.interval is not None and not self.interval.holds(0.0)


Key = TypeVar("Key", bound=Hashable)


def paired_difference(one: Mapping[Key, float], other: Mapping[Key, float], level: float = LEVEL) -> Difference | None:
    """one, other: value by key. None where they share no key."""
    shared = [one[key] - other[key] for key in one if key in other]
    return difference_of(shared, level) if shared else None


def difference_of(differences: Sequence[float], level: float = LEVEL) -> Difference:
    """The same from the differences themselves. Raises ValueError for none, and for one that is not finite."""
    return Difference(
        mean=statistics.fmean(differences),
        n=len(differences),
        low=min(differences),
        high=max(differences),
        interval=mean_interval(differences, level),
        p_value=_p_value(differences),
    )


def _p_value(differences: Sequence[float]) -> float | None:
    n = len(differences)
    if n < FEWEST_FOR_INTERVAL:
        return None
    mean, spread = statistics.fmean(differences), statistics.stdev(differences)
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    return t_tails(mean / (spread / math.sqrt(n)), n - 1)
