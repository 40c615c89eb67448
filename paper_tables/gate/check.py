"""Check: every entry of an expected file against a study's numbers. Values in, a report out; no bits are compared.

Seeds of another machine are other draws, so means are held against each other: a fall counts where it is larger than
equal runs would give, over the whole table, in one of a hundred cases. Seeds that both sides have are not taken for
paired; on the machine that wrote the file they are, and the tolerances are then wider than they need be.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from harness.planning.difference import Comparison
from harness.wording import counted
from paper_tables.gate.conditions import comparison, in_words
from paper_tables.gate.expected import Expected, ExpectedMean, ExpectedNumber, ExpectedZeros
from paper_tables.gate.measured import Measured, MeasuredNumber, independent
from paper_tables.gate.verdict import Finding, Report, Verdict, worst_first
from paper_tables.gate.write import members
from paper_tables.statistics.tolerance import POWER, detectable


def check(expected: Expected, measured: Measured) -> Report:
    """expected: a file's. measured: of a study, whatever its name and preset."""
    conditions = comparison(expected.stages, measured.stages)
    numbers = {entry.key: _check_number(expected, entry, measured, conditions) for entry in expected.numbers}
    findings = [
        *(_check_zeros(entry, measured) for entry in expected.zeros),
        *(
            _check_mean(expected, entry, measured, [numbers[each.key] for each in members(entry, expected.numbers)])
            for entry in expected.means
        ),
        *numbers.values(),
    ]
    unlisted = len(measured.numbers.keys() - numbers.keys())
    return Report(measured.study, expected.study, worst_first(findings), expected.false_alarms, unlisted)


def _check_zeros(entry: ExpectedZeros, measured: Measured) -> Finding:
    """Exactly: the count is the same on every machine."""
    counts = measured.zeros.get(entry.key, ())
    wrong = [count for count in counts if count != (entry.zeros, entry.of)]
    shown = next(iter(wrong or counts), None)
    return Finding(
        kind="zeros",
        name=f"{entry.key} zeros",
        verdict=Verdict.MISSING if not counts else Verdict.REGRESSED if wrong else Verdict.OK,
        expected=entry.zeros,
        measured=None if shown is None else shown[0],
        tolerance=0,
        detectable=1,
        n_expected=1,
        n_measured=len(counts),
        reason=f"{shown[0]} of {shown[1]} are zero, expected {entry.zeros} of {entry.of}" if wrong and shown else "",
    )


def _check_number(expected: Expected, entry: ExpectedNumber, measured: Measured, conditions: Comparison) -> Finding:
    found = measured.numbers.get(entry.key)
    mine = independent(entry.seeds)
    if found is None:
        return _untold("number", entry, mine, Verdict.MISSING, "not in the study")
    if differing := _differing(entry, found, conditions):
        return _untold("number", entry, mine, Verdict.NOT_COMPARABLE, differing)
    if not found.seeds:
        return _untold("number", entry, mine, Verdict.MISSING, "no seed has a result")
    theirs = independent(found.seeds)
    means = statistics.fmean(mine), statistics.fmean(theirs)
    return _compared(expected, entry, means, (len(mine), len(theirs)), found.missing)


def _differing(entry: ExpectedNumber, found: MeasuredNumber, conditions: Comparison) -> str:
    """What sets the conditions of the measured seeds apart from the expected ones, in words; empty: nothing."""
    differences = [each for stage in found.stages for each in conditions.differences(entry.stage, stage)]
    return in_words(tuple(dict.fromkeys(differences))) if differences else ""


def _check_mean(expected: Expected, entry: ExpectedMean, measured: Measured, findings: Sequence[Finding]) -> Finding:
    """A mean is told where all its numbers are."""
    mine = members(entry, expected.numbers)
    for verdict in (Verdict.NOT_COMPARABLE, Verdict.MISSING):
        if several := sum(finding.verdict is verdict and not finding.n_measured for finding in findings):
            return _untold("mean", entry, [], verdict, f"{counted(several, 'number')} of {len(mine)}: {verdict}")
    weights = [entry.weight(number.key) for number in mine]
    theirs = [measured.numbers[number.key] for number in mine]
    means = (
        _weighted(weights, [independent(number.seeds) for number in mine]),
        _weighted(weights, [independent(number.seeds) for number in theirs]),
    )
    fewest = tuple(min(len(independent(each.seeds)) for each in side) for side in (mine, theirs))
    return _compared(expected, entry, means, (fewest[0], fewest[1]), sum(number.missing for number in theirs))


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
    noise, before, now = expected.noise_of(entry), *means
    deviation = noise.of_difference(*seeds) if noise else 0.0
    tolerance = entry.tolerance
    if tolerance is None and noise:
        tolerance = noise.tolerance(*seeds, expected.level(entry))
    if tolerance is None:
        verdict, reason = Verdict.NO_TOLERANCE, "its noise is not known; write a tolerance to have it checked"
    elif now < before - tolerance:
        verdict, reason = Verdict.REGRESSED, ""
    elif missing:
        verdict, reason = Verdict.MISSING, f"{counted(missing, 'seed')} without a result"
    else:
        verdict, reason = (Verdict.IMPROVED if now > before + tolerance else Verdict.OK), ""
    return Finding(
        kind=_kind(entry),
        name=_name(entry),
        verdict=verdict,
        expected=before,
        measured=now,
        tolerance=tolerance,
        detectable=None if tolerance is None or noise is None else detectable(tolerance, deviation, POWER),
        n_expected=seeds[0],
        n_measured=seeds[1],
        p_value=noise.p_value(now - before, *seeds) if noise else None,
        reason=reason,
    )


def _untold(
    kind: str, entry: ExpectedNumber | ExpectedMean, mine: Sequence[float], verdict: Verdict, reason: str
) -> Finding:
    return Finding(
        kind=kind,
        name=_name(entry),
        verdict=verdict,
        expected=statistics.fmean(mine) if mine else None,
        n_expected=len(mine),
        reason=reason,
    )


def _kind(entry: ExpectedNumber | ExpectedMean) -> str:
    return "number" if isinstance(entry, ExpectedNumber) else "mean"


def _name(entry: ExpectedNumber | ExpectedMean) -> str:
    return str(entry.key) if isinstance(entry, ExpectedNumber) else str(entry)
