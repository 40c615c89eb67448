"""How far a mean may move before it counts: from the noise of one seed, for the seeds that there are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from paper_tables.statistics.intervals import t_quantile, t_tails
from paper_tables.statistics.power import POWER

BORROWED = 0.5  # degrees of freedom that a group has of its family, for each of its own


@dataclass(frozen=True)
class Noise:
    """Of one number, in its own unit. spread: estimated standard deviation of a seed; freedom: its degrees of freedom.

    between_runs: standard deviation, in spreads, of what a run shifts all its seeds by: seeds that share one
    pre-trained model share its luck, and another machine trains another one.
    """

    spread: float
    freedom: float
    between_runs: float = 0.0

    def of_difference(self, n_one: int, n_other: int) -> float:
        """Standard deviation of the difference of two runs' means, over n_one and n_other seeds.

        Seeds that both have are not taken for paired: on one machine they would vary less, and the tolerance is wide.
        """
        return self.spread * math.sqrt(1 / n_one + 1 / n_other + 2 * self.between_runs**2)

    def tolerance(self, n_one: int, n_other: int, level: float) -> float:
        """What the difference of equal runs exceeds upwards, and as often downwards, with probability `level`."""
        return t_quantile(1 - level, self.freedom) * self.of_difference(n_one, n_other)

    def p_value(self, difference: float, n_one: int, n_other: int) -> float:
        """Two-sided: how probable a difference at least as large as this one is between equal runs."""
        return t_tails(difference / self.of_difference(n_one, n_other), self.freedom)


def family_noise(groups: Sequence[Sequence[float]]) -> list[Noise | None]:
    """The noise of each group of seeds, the groups being one family, as the cells of one task are.

    Of five seeds a standard deviation is known to within a factor of two, and a cell that seems quiet may only be
    lucky. So no group counts as quieter than its family (the pooled standard deviation), and a noisier one counts as
    noisy as it is. freedom: that of its own seeds and half as many borrowed, not more than the family has: the rule is
    ours, and simulated tables of unequal cells say that it keeps the rate of false alarms. None where a group has one
    seed, or no seeds of the family differ.
    """
    variances = [statistics.variance(group) if len(group) > 1 else None for group in groups]
    freedoms = [len(group) - 1 for group in groups]
    known = [(value, d) for value, d in zip(variances, freedoms, strict=True) if value is not None]
    total = sum(d for _, d in known)
    pooled = sum(value * d for value, d in known) / total if total else 0.0
    return [
        None
        if value is None or pooled == 0
        else Noise(math.sqrt(max(value, pooled)), min((1 + BORROWED) * d, float(total)))
        for value, d in zip(variances, freedoms, strict=True)
    ]


def noise_of_mean(parts: Iterable[Sequence[tuple[float, Noise]]]) -> Noise:
    """Of a weighted mean of numbers. parts: sets of (weight, noise); sets are independent of each other.

    Within a set numbers are taken to move together, which is the worst that can be. freedom: Satterthwaite's.
    """
    sets = [list(part) for part in parts]
    variances = [sum(weight * noise.spread for weight, noise in part) ** 2 for part in sets]
    freedoms = [min(noise.freedom for _, noise in part) for part in sets]
    total = sum(variances)
    freedom = total**2 / sum(v**2 / d for v, d in zip(variances, freedoms, strict=True))
    return Noise(math.sqrt(total), freedom, max(noise.between_runs for part in sets for _, noise in part))


def detectable(tolerance: float, deviation: float, power: float = POWER) -> float:
    """The smallest true change that exceeds `tolerance` with probability `power`.

    deviation: standard deviation of the difference, taken as known: tolerance + z(power) deviations.
    """
    from scipy.special import ndtri

    return tolerance + float(ndtri(power)) * deviation
