"""Check: every entry of an expected file against a study's numbers. Values in, a report out; no bits are compared.

Seeds of another machine are other draws, so means are held against each other: a fall counts where it is larger than
equal runs would give, over the whole table, in one of a hundred cases. Scores of a seed that both sides have are not
taken for paired; on the machine that wrote the file they are, and the tolerances are then wider than they need be. An
opening loss is for the greater part its seed's own on every machine: of those the seeds that both sides have count.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace

from harness.planning.difference import Comparison
from harness.wording import counted
from paper_tables.gate.conditions import comparison, in_words
from paper_tables.gate.expected import (
    EQUAL,
    HIGHER,
    Expected,
    ExpectedLoss,
    ExpectedMean,
    ExpectedNumber,
    ExpectedZeros,
)
from paper_tables.gate.measured import Measured, MeasuredNumber, independent, prunings
from paper_tables.gate.verdict import Finding, Report, Verdict, worst_first
from paper_tables.statistics.tolerance import Noise, detectable


def check(expected: Expected, measured: Measured) -> Report:
    """expected: a file's. measured: of a study, whatever its name and preset."""
    conditions = comparison(expected.stages, measured.stages)
    numbers = {entry.key: _check_number(expected, entry, measured, conditions) for entry in expected.numbers}
    means = [
        _check_mean(expected, entry, measured, [numbers[each.key] for each in expected.members(entry)])
        for entry in expected.means
    ]
    losses = [_check_loss(entry, measured, conditions) for entry in expected.losses]
    apart = {key.row: finding.reason for key, finding in numbers.items() if finding.verdict is Verdict.NOT_COMPARABLE}
    zeros = [_check_zeros(entry, measured, apart.get(entry.key, "")) for entry in expected.zeros]
    unlisted = len(measured.numbers.keys() - numbers.keys())
    findings = worst_first([*zeros, *losses, *means, *numbers.values()])
    return Report(measured.study, expected.study, findings, expected.false_alarms, unlisted)


def _check_zeros(entry: ExpectedZeros, measured: Measured, apart: str) -> Finding:
    """Exactly: the count is the same on every machine. apart: what sets the row's conditions apart, in words."""
    counts = measured.zeros.get(entry.key, ())
    wrong = [count for count in counts if count != (entry.zeros, entry.of)]
    shown = next(iter(wrong or counts), None)
    verdict, reason = (Verdict.OK, "") if counts else (Verdict.MISSING, "")
    if wrong and shown:
        told = f"{shown[0]} of {shown[1]} are zero, expected {entry.zeros} of {entry.of}"
        verdict, reason = (Verdict.NOT_COMPARABLE, f"{told}; {apart}") if apart else (Verdict.REGRESSED, told)
    return Finding(
        kind="zeros",
        name=f"{entry.key} zeros",
        direction=EQUAL,
        verdict=verdict,
        expected=entry.zeros,
        measured=None if shown is None else shown[0],
        tolerance=0,
        detectable=1,
        n_expected=1,
        n_measured=len(counts),
        reason=reason,
    )


def _check_loss(entry: ExpectedLoss, measured: Measured, conditions: Comparison) -> Finding:
    """Within a share of the loss, either way."""
    found = measured.losses.get(entry.key)
    told = Finding(
        kind="loss", name=str(entry.key), verdict=Verdict.MISSING, direction=EQUAL, expected=entry.loss, n_expected=1
    )
    if found is None:
        return replace(told, reason="not in the study")
    if differing := _differing(entry.stage, found.stages, conditions):
        return replace(told, verdict=Verdict.NOT_COMPARABLE, reason=differing)
    if not found.losses:
        return replace(told, reason="no stage is done")
    now, tolerance = statistics.fmean(found.losses), entry.tolerance * entry.loss
    verdict = Verdict.REGRESSED if abs(now - entry.loss) > tolerance else Verdict.OK
    if found.missing and verdict is Verdict.OK:
        verdict = Verdict.MISSING
    return replace(
        told,
        verdict=verdict,
        measured=now,
        tolerance=tolerance,
        n_measured=len(found.losses),
        reason=f"{counted(found.missing, 'stage')} not done" if found.missing else "",
    )


def _check_number(expected: Expected, entry: ExpectedNumber, measured: Measured, conditions: Comparison) -> Finding:
    found = measured.numbers.get(entry.key)
    expects = independent(entry.seeds)
    if found is None:
        return _untold(entry, expects, Verdict.MISSING, "not in the study")
    if differing := _differing(entry.stage, found.stages, conditions):
        return _untold(entry, expects, Verdict.NOT_COMPARABLE, differing)
    if not found.seeds:
        return _untold(entry, expects, Verdict.MISSING, "no seed has a result")
    mine, theirs = _draws(entry, found)
    means = statistics.fmean(mine), statistics.fmean(theirs)
    return _compared(expected, entry, means, (len(mine), len(theirs)), found.missing)


def _draws(entry: ExpectedNumber, found: MeasuredNumber) -> tuple[Sequence[float], Sequence[float]]:
    """The draws on both sides, of the kind that the entry's noise is of: where that is of prunings, one pruning is one.

    Of a loss those of the seeds that both sides have, if there are any: another set of seeds has another mean.
    """
    mine, theirs = entry.seeds, found.seeds
    if entry.direction == EQUAL and (common := [seed for seed in mine if seed in theirs]):
        mine, theirs = ({seed: side[seed] for seed in common} for side in (mine, theirs))
    of_prunings = prunings(entry.seeds) > 1
    return independent(mine, of_prunings=of_prunings), independent(theirs, of_prunings=of_prunings)


def _differing(expected: str, stages: Sequence[str], conditions: Comparison) -> str:
    """What sets the conditions of measured stages apart from the expected one's, in words; empty: nothing."""
    differences = [each for stage in stages for each in conditions.differences(expected, stage)]
    return in_words(tuple({repr(each): each for each in differences}.values())) if differences else ""


def _check_mean(expected: Expected, entry: ExpectedMean, measured: Measured, findings: Sequence[Finding]) -> Finding:
    """A mean is told where all its numbers are."""
    mine = expected.members(entry)
    if not mine:
        return _untold(entry, [], Verdict.MISSING, "the file has none of its numbers")
    for verdict in (Verdict.NOT_COMPARABLE, Verdict.MISSING):
        if several := sum(finding.verdict is verdict and not finding.n_measured for finding in findings):
            return _untold(entry, [], verdict, f"{several} of its {len(mine)} numbers: {verdict}")
    weights = [entry.weight(number.key) for number in mine]
    theirs = [measured.numbers[number.key] for number in mine]
    draws = [_draws(number, found) for number, found in zip(mine, theirs, strict=True)]
    sides = [side for side, _ in draws], [side for _, side in draws]
    means = _weighted(weights, sides[0]), _weighted(weights, sides[1])
    fewest = min(map(len, sides[0])), min(map(len, sides[1]))
    return _compared(expected, entry, means, fewest, sum(number.missing for number in theirs))


def _weighted(weights: Sequence[float], values: Iterable[Sequence[float]]) -> float:
    return sum(w * statistics.fmean(each) for w, each in zip(weights, values, strict=True)) / sum(weights)


def _compared(
    expected: Expected,
    entry: ExpectedNumber | ExpectedMean,
    means: tuple[float, float],
    seeds: tuple[int, int],
    missing: int,
) -> Finding:
    """Both means held against each other. missing: planned seeds without a result; with any, only a fall is told."""
    noise, difference = expected.noise(entry), means[1] - means[0]
    tolerance = entry.tolerance
    if tolerance is None and noise:
        tolerance = noise.tolerance(*seeds, expected.level(entry))
    verdict = Verdict.NO_TOLERANCE if tolerance is None else _verdict(difference, tolerance, entry.direction)
    reason = ""
    if missing and verdict is not Verdict.REGRESSED:
        verdict, reason = Verdict.MISSING, f"{counted(missing, 'seed')} without a result"
    seen = None if tolerance is None or not noise else detectable(tolerance, noise.of_difference(*seeds))
    if seen is not None and entry.direction == HIGHER and seen > means[0]:
        seen = None  # it cannot fall so far
    return Finding(
        kind=_kind(entry),
        name=_name(entry),
        verdict=verdict,
        direction=entry.direction,
        expected=means[0],
        measured=means[1],
        tolerance=tolerance,
        detectable=seen,
        n_expected=seeds[0],
        n_measured=seeds[1],
        p_value=_p_value(noise, difference, seeds, entry.direction),
        reason=reason,
    )


def _verdict(difference: float, tolerance: float, direction: str) -> Verdict:
    if abs(difference) <= tolerance:
        return Verdict.OK
    return Verdict.IMPROVED if difference > 0 and direction == HIGHER else Verdict.REGRESSED


def _p_value(noise: Noise | None, difference: float, seeds: tuple[int, int], direction: str) -> float | None:
    """Two-sided, and one-sided where only a fall counts."""
    if noise is None:
        return None
    both = noise.p_value(difference, *seeds)
    if direction == EQUAL:
        return both
    return both / 2 if difference <= 0 else 1 - both / 2


def _untold(entry: ExpectedNumber | ExpectedMean, mine: Sequence[float], verdict: Verdict, reason: str) -> Finding:
    return Finding(
        kind=_kind(entry),
        name=_name(entry),
        verdict=verdict,
        direction=entry.direction,
        expected=statistics.fmean(mine) if mine else None,
        n_expected=len(mine),
        reason=reason,
    )


def _kind(entry: ExpectedNumber | ExpectedMean) -> str:
    return "number" if isinstance(entry, ExpectedNumber) else "mean"


def _name(entry: ExpectedNumber | ExpectedMean) -> str:
    return str(entry.key) if isinstance(entry, ExpectedNumber) else str(entry)
