"""From a study to what is expected of it: seeds as they are, noise from how they scatter."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.tasks import TASKS
from paper_tables.gate.conditions import part
from paper_tables.gate.expected import (
    Expected,
    ExpectedMean,
    ExpectedNumber,
    ExpectedZeros,
    NumberKey,
    RowKey,
)
from paper_tables.gate.measured import MeasuredNumber, independent, measured
from paper_tables.numbers.study_numbers import StudyNumbers
from paper_tables.statistics.variances import moderated_variances

DECIMALS = 4  # of a percent, as the file has them


def expected_of(found: StudyNumbers, earlier: Expected | None = None) -> Expected:
    """What the study's numbers say should come again. earlier: the file so far, whose settings by hand stay.

    Left out are numbers without a result, or whose seeds have several recipes, and counts of zeros that are not the
    same for every cell of a row.
    """
    ours = measured(found)
    numbers = _with_noise([_number(key, number) for key, number in ours.numbers.items() if _is_sound(number)])
    means = _means(numbers)
    made = Expected(
        study=found.study.name,
        preset=found.study.recipe["preset"],
        recipe=found.study.recipe["hash"],
        measured_on=measured_on(found),
        zeros=tuple(ExpectedZeros(key=key, zeros=c[0][0], of=c[0][1]) for key, c in ours.zeros.items() if len(c) == 1),
        means=tuple(means),
        numbers=tuple(numbers),
        stages=part(ours.stages, {number.stage for number in numbers}),
    )
    return made if earlier is None else _with_settings_of(earlier, made)


def left_out(found: StudyNumbers) -> list[str]:
    """What `expected_of` leaves out, a sentence each."""
    ours = measured(found)
    none = [key for key, number in ours.numbers.items() if not number.seeds]
    mixed = [key for key, number in ours.numbers.items() if number.seeds and not _is_sound(number)]
    varied = [key for key, counts in ours.zeros.items() if len(counts) != 1]
    return [
        *(f"{key}: no seed has a result" for key in none),
        *(f"{key}: its seeds do not share one recipe" for key in mixed),
        *(f"{key}: its cells do not share one count of zeros" for key in varied),
    ]


def measured_on(found: StudyNumbers) -> dict[str, Any]:
    """What the records say of machine and versions, every value once; for people."""
    kept: dict[str, set[str]] = defaultdict(set)
    for record in found.records.values():
        for name, value in _facts(record.get("provenance", {})):
            kept[name].add(value)
    return {name: sorted(values) for name, values in sorted(kept.items())}


def _facts(provenance: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    torch, versions = provenance.get("torch", {}), provenance.get("versions", {})
    for name in ("harness", "python", "machine", "processor"):
        if isinstance(value := provenance.get(name), str):
            yield name, value
    if isinstance(torch, Mapping) and isinstance(capability := torch.get("cpu_capability"), str):
        yield "cpu_capability", capability
    if isinstance(torch, Mapping):
        yield from (("gpus", str(gpu)) for gpu in torch.get("gpus") or ())
    if isinstance(versions, Mapping):
        yield from ((name, str(versions[name])) for name in ("torch", "transformers") if name in versions)


def _is_sound(number: MeasuredNumber) -> bool:
    return bool(number.seeds) and len(number.stages) == 1


def _number(key: NumberKey, number: MeasuredNumber) -> ExpectedNumber:
    seeds = {seed: round(value, DECIMALS) for seed, value in number.seeds.items()}
    return ExpectedNumber(key=key, stage=number.stages[0], seeds=seeds)


def _with_noise(numbers: Sequence[ExpectedNumber]) -> list[ExpectedNumber]:
    """The noise of each from its own seeds and those of the same task and metric."""
    families: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, number in enumerate(numbers):
        families[number.key.task, number.key.metric].append(place)
    found = list(numbers)
    for places in families.values():
        groups = [independent(numbers[place].seeds) for place in places]
        for place, (noise, freedom) in zip(places, _noises(groups), strict=True):
            found[place] = replace(numbers[place], noise=noise, freedom=freedom)
    return found


def _noises(groups: Sequence[Sequence[float]]) -> list[tuple[float | None, float | None]]:
    """Standard deviation and degrees of freedom of each group, as the file has them."""
    return [
        (None, None) if found is None else (round(found.value**0.5, DECIMALS), round(found.freedom, 2))
        for found in moderated_variances(groups)
    ]


def _means(numbers: Sequence[ExpectedNumber]) -> list[ExpectedMean]:
    """Of each row over its tasks, then of each method over its rows; those of one number alone are left out."""
    metrics = {name: task.metrics[0] for task in TASKS.values() for _, name in task.evaluation_splits}
    told = [n for n in numbers if n.noise is not None and metrics.get(n.key.task) == n.key.metric]
    rows = [_mean_of_row(key, told) for key in dict.fromkeys(number.key.row for number in told)]
    methods = [_mean(told, metrics, method=method) for method in dict.fromkeys(n.key.method for n in told)]
    return [*_means_with_noise(rows, told), *_means_with_noise(methods, told)]


def _mean_of_row(key: RowKey, told: Sequence[ExpectedNumber]) -> ExpectedMean:
    metrics = {number.key.task: number.key.metric for number in told if number.key.row == key}
    return _mean(told, metrics, **key._asdict())


def _mean(told: Sequence[ExpectedNumber], metrics: Mapping[str, str], **fixed: Any) -> ExpectedMean:
    """weights: one over the mean variance of a task's numbers, so that a noisy task does not drown the others."""
    mine = [n for n in told if all(getattr(n.key, name) == value for name, value in fixed.items())]
    variances: dict[str, list[float]] = defaultdict(list)
    for number in mine:
        assert number.noise is not None
        variances[number.key.task].append(number.noise**2)
    weights = {task: 1 / statistics.fmean(values) for task, values in variances.items()}
    total = sum(weights[task] * len(variances[task]) for task in weights)
    return ExpectedMean(
        **fixed,
        metrics={task: metrics[task] for task in weights},
        weights={task: float(f"{weight / total:.4g}") for task, weight in weights.items()},
    )


def _means_with_noise(means: Sequence[ExpectedMean], numbers: Sequence[ExpectedNumber]) -> list[ExpectedMean]:
    """Those that go over several numbers, each with the noise of its own values by seed and its like."""
    several = [mean for mean in means if len(members(mean, numbers)) > 1]
    groups = [independent(_by_seed(mean, members(mean, numbers))) for mean in several]
    if not several or not all(groups):
        return []
    noises = _noises(groups)
    return [replace(m, noise=noise, freedom=freedom) for m, (noise, freedom) in zip(several, noises, strict=True)]


def members(mean: ExpectedMean, numbers: Iterable[ExpectedNumber]) -> list[ExpectedNumber]:
    """The numbers that it is a mean of."""
    return [number for number in numbers if mean.weight(number.key)]


def _by_seed(mean: ExpectedMean, numbers: Sequence[ExpectedNumber]) -> dict[str, float]:
    """Its value for each seed that all its numbers have."""
    shared = [seed for seed in numbers[0].seeds if all(seed in number.seeds for number in numbers)]
    total = sum(mean.weight(number.key) for number in numbers)
    return {seed: sum(mean.weight(n.key) * n.seeds[seed] for n in numbers) / total for seed in shared}


def _with_settings_of(earlier: Expected, made: Expected) -> Expected:
    """What somebody set by hand stays: the rate of false alarms, what runs shift, and tolerances."""
    by_key = {number.key: number.tolerance for number in earlier.numbers}
    by_name = {str(mean): mean.tolerance for mean in earlier.means}
    return replace(
        made,
        false_alarms=earlier.false_alarms,
        between_runs=earlier.between_runs,
        numbers=tuple(replace(number, tolerance=by_key.get(number.key)) for number in made.numbers),
        means=tuple(replace(mean, tolerance=by_name.get(str(mean))) for mean in made.means),
    )
