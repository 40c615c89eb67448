"""Two rows compared on the seeds that they share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean

from paper_tables.numbers.rows import Row
from paper_tables.statistics.intervals import LEVEL
from paper_tables.statistics.paired import Difference, paired_difference


def values_by_seed(row: Row) -> dict[int, float]:
    """Percent by transfer seed; over several pruning seeds the mean of those that have a result."""
    values: dict[int, list[float]] = defaultdict(list)
    for seed in row.seeds:
        if seed.value is not None:
            values[seed.seed].append(seed.value)
    return {seed: fmean(found) for seed, found in values.items()}


def row_difference(one: Row, other: Row, level: float = LEVEL) -> Difference | None:
    """One minus other in points, paired by transfer seed; None where no seed of both has a result."""
    return paired_difference(values_by_seed(one), values_by_seed(other), level)


def is_of_one_pruning(row: Row) -> bool:
    """Whether all its seeds start from one pruned model: what they say is conditional on that pruning."""
    return len({seed.pruning_seed for seed in row.seeds if seed.pruning_seed is not None}) == 1


def condition(rows: Iterable[Row]) -> str | None:
    """What an interval over the transfer seeds of these rows is conditional on: "one pruning", or "2 prunings".

    Seeds that start from the same pruned models say nothing of how another pruning would come out, be it one model or
    the mean over a few. None where nothing was pruned in pre-training, and where each seed has a pruning of its own.
    """
    shared = [found for row in rows if (found := _shared_prunings(row))]
    return None if not shared else "one pruning" if min(shared) == 1 else f"{min(shared)} prunings"


def _shared_prunings(row: Row) -> int:
    """How many pruned models the row's seeds share; 0: they share none."""
    done = {(seed.seed, seed.pruning_seed) for seed in row.seeds if seed.pruning_seed is not None}
    prunings = {pruning for _, pruning in done}
    own = len(prunings) > 1 and len(prunings) == len({seed for seed, _ in done}) == len(done)
    return 0 if own else len(prunings)
