"""Bootstrap interval for an aggregate over tasks: seeds are drawn again within each task, tasks stay as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paper_tables.statistics.intervals import LEVEL, Interval

RESAMPLES = 10_000
SEED = 20211110  # the day of the paper's first version: any number serves, as long as it stays


def aggregate_interval(
    seeds_by_task: Sequence[Sequence[float]], *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = SEED
) -> Interval | None:
    """Percentile interval for the mean over tasks of the mean over seeds (stratified, as in Agarwal et al. 2021).

    seeds_by_task: the values of each task's seeds, as many as it has. None where a task has fewer than three, for few
    values drawn again say too little of their spread. Same values, same seed: same interval, bit for bit.
    Raises ValueError for no task, and for a value that is not finite.
    """
    values = [np.asarray(task, dtype=np.float64) for task in seeds_by_task]
    if not values or not all(np.isfinite(task).all() for task in values):
        raise ValueError("expected at least one task, and finite values.")
    if min(map(len, values)) < 3:
        return None
    generator = np.random.default_rng(seed)
    means = np.zeros(resamples)
    for task in values:
        drawn = generator.integers(len(task), size=(resamples, len(task)))
        means += task[drawn].mean(axis=1)
    low, high = np.quantile(means / len(values), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)
