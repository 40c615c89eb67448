"""Two cells compared on the same examples, seed by seed; and what several seeds say together.

An interval over examples is about two trained models: had other examples been drawn, where would the difference lie. An
interval over seeds is about two ways to train: had other seeds been drawn. Examples of several seeds are never pooled,
for they are the same examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

from harness.tasks import SIGNED_METRICS, Task
from paper_tables.examples.predictions import Predictions
from paper_tables.statistics.correction import holm
from paper_tables.statistics.examples import McNemar, mcnemar, paired_bootstrap, paired_f1_bootstrap
from paper_tables.statistics.intervals import LEVEL, Interval
from paper_tables.statistics.paired import Difference, difference_of

PERCENT = 100.0


@dataclass(frozen=True)
class MetricDifference:
    """Values in percent, difference (first minus second) in points, with its bootstrap interval over examples."""

    metric: str
    first: float
    second: float
    difference: float
    interval: Interval


@dataclass(frozen=True)
class SplitComparison:
    """One seed's two models on one split. task: its reported name.

    right: McNemar's test on the examples that each has right (of a question: exactly). agreeing: how many examples both
    say the same of. adjusted_p: its p-value among all of this comparison, Holm's.
    """

    seed: int
    pruning_seed: int | None
    task: str
    examples: int
    metrics: tuple[MetricDifference, ...]
    right: McNemar
    agreeing: int
    adjusted_p: float = 1.0


@dataclass(frozen=True)
class OverSeeds:
    """A metric's differences over the seeds that both cells have, in points."""

    task: str
    metric: str
    difference: Difference


def compare_split(
    task: Task, reported_as: str, first: Predictions, second: Predictions, seed: int, pruning_seed: int | None
) -> SplitComparison:
    """Raises ValueError where the two are not of the same examples."""
    if list(first.keys) != list(second.keys) or list(first.targets) != list(second.targets):
        raise ValueError(f"{len(first.keys)} and {len(second.keys)} examples of {reported_as}: not the same ones.")
    deciding = next(iter(first.scores))  # accuracy, or exact match
    return SplitComparison(
        seed=seed,
        pruning_seed=pruning_seed,
        task=reported_as,
        examples=len(first.keys),
        metrics=tuple(_difference(metric, first, second) for metric in _compared(task, deciding)),
        right=mcnemar([score == 1 for score in first.scores[deciding]], [s == 1 for s in second.scores[deciding]]),
        agreeing=sum(one == other for one, other in zip(first.said, second.said, strict=True)),
    )


def with_adjusted_p(found: Sequence[SplitComparison]) -> list[SplitComparison]:
    """The comparisons, each p-value corrected for their number."""
    adjusted = holm([each.right.p_value for each in found])
    return [replace(each, adjusted_p=p_value) for each, p_value in zip(found, adjusted, strict=True)]


def over_seeds(found: Sequence[SplitComparison]) -> list[OverSeeds]:
    """Each metric of each split over the transfer seeds; one of several prunings counts by their mean, as in tables."""
    values: dict[tuple[str, str], dict[int, list[float]]] = {}
    for each in found:
        for metric in each.metrics:
            by_seed = values.setdefault((each.task, metric.metric), {})
            by_seed.setdefault(each.seed, []).append(metric.first - metric.second)
    return [
        OverSeeds(*key, difference_of([fmean(points) for points in by_seed.values()]))
        for key, by_seed in values.items()
    ]


def _compared(task: Task, deciding: str) -> tuple[str, ...]:
    """The task's metrics that have an interval over examples; the deciding one where it has no such."""
    return tuple(metric for metric in task.metrics if metric not in SIGNED_METRICS) or (deciding,)


def _difference(metric: str, first: Predictions, second: Predictions) -> MetricDifference:
    if metric in first.scores:
        one, other = (fmean(each.scores[metric]) for each in (first, second))
        interval = paired_bootstrap(first.scores[metric], second.scores[metric])
    else:
        one, other = (binary_f1(first.targets, each.said) for each in (first, second))
        interval = paired_f1_bootstrap(first.targets, _classes(first), _classes(second))
    low, high, level = interval
    in_points = Interval(PERCENT * low, PERCENT * high, level)
    return MetricDifference(metric, PERCENT * one, PERCENT * other, PERCENT * (one - other), in_points)


def binary_f1(labels: Sequence[int], said: Sequence[int | str]) -> float:
    """2 TP / (2 TP + FP + FN) of class 1, in [0, 1]; 0 where it never occurs."""
    right = sum(label == found == 1 for label, found in zip(labels, said, strict=True))
    below = sum(label == 1 for label in labels) + sum(found == 1 for found in said)
    return 2 * right / below if below else 0.0


def _classes(predictions: Predictions) -> list[int]:
    return [int(found) for found in predictions.said]


def as_json(found: SplitComparison) -> dict[str, Any]:
    """Intervals as low, high and level."""
    return {
        **asdict(found),
        "metrics": [{**asdict(each), "interval": each.interval._asdict()} for each in found.metrics],
    }


def seeds_as_json(found: OverSeeds) -> dict[str, Any]:
    interval = found.difference.interval
    told = {**asdict(found.difference), "interval": None if interval is None else interval._asdict()}
    return {"task": found.task, "metric": found.metric, **told}


def verdict(found: OverSeeds) -> str:
    """What may be said of the two ways to train, in a sentence."""
    n, mean = found.difference.n, found.difference.mean
    what = f"{found.task} {found.metric}: {mean:+.2f} points"
    if n == 1:
        return f"{what} for one seed, which says nothing of others."
    if found.difference.interval is None:
        low, high = found.difference.low, found.difference.high
        return f"{what} over {n} seeds ({low:+.2f} to {high:+.2f}): too few for an interval."
    low, high, _ = found.difference.interval
    said = "a difference" if found.difference.is_shown else "no difference shown"
    return f"{what} over {n} seeds, {LEVEL:.0%} interval {low:+.2f} to {high:+.2f}: {said}."
