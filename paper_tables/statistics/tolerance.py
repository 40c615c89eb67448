"""How far a mean may fall before it counts: from the noise of one seed, for the seeds that there are."""

from __future__ import annotations

import math
from dataclasses import dataclass

from paper_tables.statistics.intervals import t_quantile, t_tails

POWER = 0.9


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Of one number, in its own unit. spread: estimated standard deviation of one seed, above 0, with its `freedom`.

    between_runs: standard deviation of what a run on another machine shifts all its seeds by, in spreads: seeds that
    share one pre-trained model share its luck.
    """

    spread: float
    freedom: float
    between_runs: float = 0.0

    def of_difference(self, n_one: int, n_other: int) -> float:
        """Standard deviation of the difference of two runs' means, over n_one and n_other seeds; independent runs.

        Seeds that both have are not taken for paired: on one machine they would vary less, and the tolerance is wide.
        """
        return self.spread * math.sqrt(1 / n_one + 1 / n_other + 2 * self.between_runs**2)

    def tolerance(self, n_one: int, n_other: int, level: float) -> float:
        """The fall that equal runs exceed with probability `level`, one-sided: Student's quantile, above 0."""
        return t_quantile(1 - level, self.freedom) * self.of_difference(n_one, n_other)

    def p_value(self, difference: float, n_one: int, n_other: int) -> float:
        """One-sided: how probable a fall as large as -difference is between equal runs."""
        half = t_tails(difference / self.of_difference(n_one, n_other), self.freedom) / 2
        return half if difference <= 0 else 1 - half


def detectable(tolerance: float, deviation: float, power: float = POWER) -> float:
    """The smallest true fall that exceeds `tolerance` with probability `power`.

    deviation: standard deviation of the difference, taken as known: tolerance + z(power) deviations.
    """
    from scipy.special import ndtri

    return tolerance + float(ndtri(power)) * deviation
