"""From a study to what is expected of it: seeds as they are, noise from how they scatter."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from paper_tables.gate.expected import (
    EQUAL,
    HIGHER,
    OPENING,
    PRETRAINING,
    Expected,
    ExpectedLoss,
    ExpectedMean,
    ExpectedNumber,
    ExpectedZeros,
    NumberKey,
    StageKey,
    members,
)
from paper_tables.gate.measured import MeasuredLoss, MeasuredNumber, independent, measured
from paper_tables.numbers.metrics import is_primary
from paper_tables.numbers.study_numbers import StudyNumbers
from paper_tables.statistics.tolerance import family_noise

DECIMALS = 4  # of a percent or a nat, as the file has them


def expected_of(found: StudyNumbers, earlier: Expected | None = None) -> Expected:
    """What the study's numbers say should come again. earlier: the file so far, whose settings by hand stay.

    Left out are numbers without a result, or whose seeds have several recipes, and counts of zeros that are not the
    same for every cell of a row.
    """
    ours = measured(found)
    numbers = with_noise([_number(key, number) for key, number in ours.numbers.items() if _is_sound(number)])
    losses = [_loss(key, loss) for key, loss in ours.losses.items() if loss.losses and len(loss.stages) == 1]
    made = Expected(
        study=found.study.name,
        preset=found.study.recipe["preset"],
        recipe=found.study.recipe["hash"],
        measured_on=measured_on(found),
        zeros=tuple(ExpectedZeros(key=key, zeros=c[0][0], of=c[0][1]) for key, c in ours.zeros.items() if len(c) == 1),
        losses=tuple(losses),
        means=tuple(means_of(numbers)),
        numbers=tuple(numbers),
        stages=ours.stages.part({number.stage for number in numbers} | {loss.stage for loss in losses}),
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


def no_longer(earlier: Expected, made: Expected) -> list[str]:
    """The entries that the file so far has and the new one has not, by name: nobody would miss them otherwise."""
    parts = (
        ("zeros", lambda entry: f"{entry.key} zeros"),
        ("losses", lambda entry: str(entry.key)),
        ("means", str),
        ("numbers", lambda entry: str(entry.key)),
    )
    gone = []
    for part_name, named in parts:
        kept = {entry.key for entry in getattr(made, part_name)}
        gone += [named(entry) for entry in getattr(earlier, part_name) if entry.key not in kept]
    return gone


def set_by_hand(made: Expected) -> list[str]:
    """The entries whose tolerance somebody set, by name."""
    return [
        *(str(entry.key) for entry in made.losses if entry.tolerance != PRETRAINING),
        *(str(entry) for entry in made.means if entry.tolerance is not None),
        *(str(entry.key) for entry in made.numbers if entry.tolerance is not None),
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
    direction = EQUAL if key.metric == OPENING else HIGHER
    return ExpectedNumber(key=key, direction=direction, stage=number.stages[0], seeds=seeds)


def _loss(key: StageKey, loss: MeasuredLoss) -> ExpectedLoss:
    return ExpectedLoss(key=key, loss=round(statistics.fmean(loss.losses), DECIMALS), stage=loss.stages[0])


def with_noise(numbers: Sequence[ExpectedNumber]) -> list[ExpectedNumber]:
    """The noise of each from its own seeds and those of the same task, metric and quantization."""
    families: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for place, number in enumerate(numbers):
        families[number.key.task, number.key.metric, number.key.quantization].append(place)
    found = list(numbers)
    for places in families.values():
        for place, noise in zip(places, family_noise([independent(numbers[i].seeds) for i in places]), strict=True):
            if noise is not None:
                spread = round(noise.spread, DECIMALS) or 10**-DECIMALS
                found[place] = replace(numbers[place], noise=spread, freedom=noise.freedom)
    return found


def means_of(numbers: Sequence[ExpectedNumber]) -> list[ExpectedMean]:
    """Of scores, then of losses: of each row over its tasks, then of each method over its rows."""
    scores = [n for n in numbers if n.noise is not None and is_primary(n.key.task, n.key.metric)]
    losses = [n for n in numbers if n.noise is not None and n.key.metric == OPENING]
    return [*_means(scores), *_means(losses)]


def _means(told: Sequence[ExpectedNumber]) -> list[ExpectedMean]:
    """Those of one number alone are left out, and that of a method which is that of its one row."""
    rows = [_mean(told, **key._asdict()) for key in dict.fromkeys(number.key.row for number in told)]
    keys = dict.fromkeys((number.key.method, number.key.quantization) for number in told)
    methods = [_mean(told, method=method, quantization=quantization) for method, quantization in keys]
    found: dict[tuple[NumberKey, ...], ExpectedMean] = {}
    for mean in (*rows, *methods):
        found.setdefault(tuple(number.key for number in members(mean, told)), mean)
    return [mean for keys, mean in found.items() if len(keys) > 1]


def _mean(told: Sequence[ExpectedNumber], **fixed: Any) -> ExpectedMean:
    """weights: one over the mean variance of a task's numbers, so that a noisy task does not drown the others."""
    mine = [n for n in told if all(getattr(n.key, name) == value for name, value in fixed.items())]
    variances: dict[str, list[float]] = defaultdict(list)
    for number in mine:
        variances[number.key.task].append((number.noise or 0.0) ** 2)
    weights = {task: 1 / statistics.fmean(values) for task, values in variances.items()}
    total = sum(weights[task] * len(variances[task]) for task in weights)
    return ExpectedMean(
        **fixed,
        metrics={number.key.task: number.key.metric for number in mine},
        weights={task: float(f"{weight / total:.4g}") for task, weight in weights.items()},
    )


def _with_settings_of(earlier: Expected, made: Expected) -> Expected:
    """What somebody set by hand stays: the rate of false alarms, what runs shift, and tolerances."""
    numbers = {entry.key: entry.tolerance for entry in earlier.numbers}
    means = {entry.key: entry.tolerance for entry in earlier.means}
    losses = {entry.key: entry.tolerance for entry in earlier.losses}
    return replace(
        made,
        false_alarms=earlier.false_alarms,
        between_runs=earlier.between_runs,
        losses=tuple(replace(entry, tolerance=losses.get(entry.key, entry.tolerance)) for entry in made.losses),
        means=tuple(replace(entry, tolerance=means.get(entry.key)) for entry in made.means),
        numbers=tuple(replace(entry, tolerance=numbers.get(entry.key)) for entry in made.numbers),
    )
