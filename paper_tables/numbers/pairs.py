"""Two rows compared on the seeds that they share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Protocol

from paper_tables.numbers.rows import Row, SeedValue
from paper_tables.statistics.intervals import LEVEL
from paper_tables.statistics.paired import Difference, paired_difference


def paired_values(one: Row, other: Row) -> tuple[dict[int, float], dict[int, float]]:
    """Percent of both by transfer seed, of the seeds that both have.

    Where both were pruned in pre-training a seed counts by the mean over the prunings that both have of it: what
    pruning seeds do drops out too, and a row that lacks one is not compared with a mean over others.
    """
    ours, theirs = _by_pruning(one.seeds), _by_pruning(other.seeds)
    found: tuple[dict[int, float], dict[int, float]] = ({}, {})
    for seed in ours:
        mine, its = ours[seed], theirs.get(seed, {})
        if None not in mine and None not in its:
            mine, its = ({pruning: each[pruning] for pruning in mine if pruning in its} for each in (mine, its))
        if mine and its:
            found[0][seed], found[1][seed] = _mean(mine), _mean(its)
    return found


def independent_values(seeds: Iterable[SeedValue]) -> list[float]:
    """What an interval of one row may take for independent of each other, in the order of its seeds.

    By transfer seed the mean of its prunings, for they share that seed; of one transfer seed the value of each pruning.
    """
    by_seed = _by_pruning(seeds)
    if len(by_seed) == 1:
        return [value for found in by_seed.values() for value in found.values()]
    return [_mean(found) for found in by_seed.values()]


def _mean(of_seed: Mapping[int | None, float]) -> float:
    """Of the prunings of one seed; most often it has one."""
    if len(of_seed) == 1:
        (value,) = of_seed.values()
        return value
    return fmean(of_seed.values())


def row_difference(one: Row, other: Row, level: float = LEVEL) -> Difference | None:
    """One minus other in points, paired by transfer seed; None where no seed of both has a result."""
    return paired_difference(*paired_values(one, other), level)


def _by_pruning(seeds: Iterable[SeedValue]) -> dict[int, dict[int | None, float]]:
    """Values by transfer seed, of each by pruning seed; those that are there."""
    values: dict[int, dict[int | None, float]] = defaultdict(dict)
    for seed in seeds:
        if seed.value is not None:
            values[seed.seed][seed.pruning_seed] = seed.value
    return dict(values)


def is_of_one_pruning(row: Row) -> bool:
    """Whether all its seeds start from one pruned model: what they say is conditional on that pruning."""
    return _shared_prunings(row) == 1


class Seeded(Protocol):
    """A row, or a point of a figure."""

    @property
    def seeds(self) -> Sequence[SeedValue]: ...


def condition(rows: Iterable[Seeded]) -> str | None:
    """What an interval over the transfer seeds of these rows is conditional on: "one pruning", or "2 prunings".

    Seeds that start from the same pruned models say nothing of how another pruning would come out, be it one model or
    the mean over a few. None where nothing was pruned in pre-training, and where each seed has a pruning of its own.
    """
    shared = [found for row in rows if (found := _shared_prunings(row))]
    return None if not shared else "one pruning" if min(shared) == 1 else f"{min(shared)} prunings"


def conditional(rows: Iterable[Seeded]) -> str:
    """The same to be put behind an interval: ", conditional on one pruning", or nothing."""
    given = condition(rows)
    return f", conditional on {given}" if given else ""


def _shared_prunings(row: Seeded) -> int:
    """How many pruned models the row's seeds that have a result share; 0: they share none."""
    there = [seed for seed in row.seeds if seed.value is not None]
    done = {(seed.seed, seed.pruning_seed) for seed in there if seed.pruning_seed is not None}
    prunings = {pruning for _, pruning in done}
    own = len(prunings) > 1 and len(prunings) == len({seed for seed, _ in done}) == len(done)
    return 0 if own else len(prunings)
