"""What a number of seeds can show: the smallest true difference that a paired t test finds with a given power."""

from __future__ import annotations

import math

from paper_tables.statistics.intervals import FEWEST_FOR_INTERVAL, LEVEL, t_quantile

POWER = 0.9


def smallest_detectable(
    spread: float, n: int, *, level: float = LEVEL, power: float = POWER, sides: int = 2
) -> float | None:
    """In the unit of `spread`: the difference whose test at 1 - level finds it with this probability.

    spread: the standard deviation of the differences of pairs, as known, not as estimated from these n.
    sides: 1 for a test of a drop alone, 2 for one of either direction.
    The non-centrality d of Student's t with n - 1 degrees of freedom for which P(T > t(n - 1, 1 - (1 - level) / sides))
    is `power`, times spread / sqrt(n); what falls on the other side is not counted, being less than 1e-3 at 90 %.
    None for n < 3, with which nothing is tested. Raises ValueError for numbers out of their range.
    """
    if not (spread >= 0 and math.isfinite(spread) and 0 < level < 1 and 0.5 <= power < 1 and sides in (1, 2)):
        raise ValueError(
            f"spread={spread}, level={level}, power={power}, sides={sides}: expected a spread of 0 or more, a level in "
            "(0, 1), a power in [0.5, 1), and 1 or 2 sides."
        )
    if n < FEWEST_FOR_INTERVAL:
        return None
    from scipy.special import nctdtrinc

    critical = t_quantile(1 - (1 - level) / sides, n - 1)
    return float(nctdtrinc(n - 1, 1 - power, critical)) * spread / math.sqrt(n)
