"""Bootstrap interval for an aggregate over tasks: seeds are drawn again within each task, tasks stay as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paper_tables.statistics.intervals import FEWEST_FOR_INTERVAL, LEVEL, Interval, check_level

RESAMPLES = 10_000
SEED = 20211110  # the day of the paper's first version: any number serves, as long as it stays


def aggregate_interval(
    seeds_by_task: Sequence[Sequence[float]], *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = SEED
) -> Interval | None:
    """Percentile interval for the mean over tasks of the mean over seeds (stratified, as in Agarwal et al. 2021).

    Of a task's n values n - 1 are drawn, with replacement (Rao and Wu 1988): their mean then varies by s^2 / n, as the
    mean of n seeds does. Drawing n would give (n - 1) / n of that, an interval that is too short by a tenth at n = 5.

    seeds_by_task: the values of each task's seeds, as many as it has. None where a task has fewer than three, for few
    values drawn again say too little of their spread; and where no task's seeds differ. Of one task alone Student's
    interval holds better (`intervals.mean_interval`). Same values, same seed: same interval, bit for bit.
    Raises ValueError for no task, a value that is not finite, no resample, and a level outside (0, 1).
    """
    check_resampling(resamples, level)
    values = [np.asarray(task, dtype=np.float64) for task in seeds_by_task]
    if not values or not all(np.isfinite(task).all() for task in values):
        raise ValueError("expected at least one task, and finite values.")
    if min(map(len, values)) < FEWEST_FOR_INTERVAL or all(np.ptp(task) == 0 for task in values):
        return None
    generator = np.random.default_rng(seed)
    means = np.zeros(resamples)
    for task in values:
        drawn = generator.integers(len(task), size=(resamples, len(task) - 1))
        means += task[drawn].mean(axis=1)
    return percentile_interval(means / len(values), level)


def percentile_interval(statistics: np.ndarray, level: float) -> Interval:
    """Between the quantiles that leave (1 - level) / 2 of the resampled statistics on either side."""
    low, high = np.quantile(statistics, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)


def check_resampling(resamples: int, level: float) -> None:
    """Raises ValueError for no resample, and for a level outside (0, 1)."""
    check_level(level)
    if resamples < 1:
        raise ValueError(f"resamples={resamples}: expected 1 or more.")
