"""Two studies side by side: their differences on the cells and seeds that both have, and what sets them apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

from harness.planning.difference import Comparison, described
from harness.specs import as_sparsity
from harness.wording import counted
from paper_tables.numbers.pairs import condition, paired_values, row_difference
from paper_tables.numbers.rows import Row, method_title
from paper_tables.numbers.study_numbers import StudyNumbers
from paper_tables.statistics.correction import holm_by_key
from paper_tables.statistics.intervals import LEVEL
from paper_tables.statistics.paired import Difference
from paper_tables.tables.grid import Grid, GridCell
from paper_tables.tables.words import (
    column_title,
    interval_text,
    printable,
    shortened,
    signed,
    sparsity_texts,
    two_decimals,
)

MOST_NAMED = 5
SHOWN = "†"
_HEADER = ("method", "sparsity", "KD", "bits", "column", "one", "other", "difference", "interval", "n")


class Key(NamedTuple):
    """What makes rows of two studies one number."""

    model: str
    method: str
    sparsity: float
    transfer_kd: str
    bits: int
    task: str
    metric: str

    def __str__(self) -> str:
        share = f" {self.sparsity:g}" if self.sparsity else ""
        return printable(f"{self.model} {method_title(self.method)}{share} {self.bits} bits {self.task} {self.metric}")


@dataclass(frozen=True)
class Shared:
    """One number of both, on the seeds that both have. difference: one minus other. is_shown: after Holm over all."""

    key: Key
    one: float
    other: float
    difference: Difference
    seeds: tuple[int, ...]
    is_shown: bool

    def as_json(self) -> dict[str, Any]:
        interval = self.difference.interval
        return {
            **self.key._asdict(),
            "one": self.one,
            "other": self.other,
            "difference": self.difference.mean,
            "n": self.difference.n,
            "low": None if interval is None else interval.low,
            "high": None if interval is None else interval.high,
            "seeds": list(self.seeds),
            "is_shown": self.is_shown,
        }


@dataclass(frozen=True)
class StudyComparison:
    """only_one, only_other: numbers with a result that the other lacks, or has on no shared seed.

    apart: what sets the two recipes' stages apart on shared cells, in words; empty where it is nothing. condition: what
    the intervals are conditional on.
    """

    one: str
    other: str
    shared: tuple[Shared, ...]
    only_one: tuple[Key, ...]
    only_other: tuple[Key, ...]
    apart: tuple[str, ...]
    condition: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "one": self.one,
            "other": self.other,
            "shared": [each.as_json() for each in self.shared],
            "only_in_one": [key._asdict() for key in self.only_one],
            "only_in_other": [key._asdict() for key in self.only_other],
            "apart": list(self.apart),
            "condition": self.condition,
        }


def compare(one: StudyNumbers, other: StudyNumbers) -> StudyComparison:
    """Studies of one name are told apart as NAME and NAME (other)."""
    ours, theirs = _by_key(one.rows), _by_key(other.rows)
    pairs = {}
    for key in ours:
        if key in theirs and (found := row_difference(ours[key], theirs[key])):
            pairs[key] = found
    adjusted = holm_by_key({key: found.p_value for key, found in pairs.items()})
    return StudyComparison(
        one=one.study.name,
        other=other.study.name if other.study.name != one.study.name else f"{other.study.name} (other)",
        shared=tuple(
            _shared(key, ours[key], theirs[key], found, adjusted.get(key, 1.0) <= 1 - LEVEL)
            for key, found in pairs.items()
        ),
        only_one=_only(ours, pairs),
        only_other=_only(theirs, pairs),
        apart=tuple(_apart(one, other)),
        condition=condition(rows[key] for key, found in pairs.items() if found.interval for rows in (ours, theirs)),
    )


def comparison_grids(found: StudyComparison) -> list[Grid]:
    """A grid for each model, at most 100 columns wide."""
    shares = sparsity_texts(each.key.sparsity for each in found.shared)
    by_model: dict[str, list[Shared]] = {}
    for each in found.shared:
        by_model.setdefault(each.key.model, []).append(each)
    heading = f"{printable(found.one)} - {printable(found.other)}"
    return [
        Grid(f"{heading}: {printable(model)}", _HEADER, tuple(_line(each, shares) for each in group))
        for model, group in by_model.items()
    ]


def comparison_remarks(found: StudyComparison) -> list[str]:
    """How to read the grids, what only one has, and what sets the recipes apart."""
    one, other = printable(found.one), printable(found.other)
    given = f", conditional on {found.condition}" if found.condition else ""
    if not found.shared:
        nothing = f"No number of {one} and {other} is on a cell and seed that both have."
        return [nothing, *_listed(one, found.only_one), *_listed(other, found.only_other)]
    said = [
        f"{counted(len(found.shared), 'number')} of both studies, each on the seeds that both have. one: {one}; other: "
        f"{other}; difference: one minus other in points, paired by transfer seed; interval: {LEVEL:.0%}, Student's "
        f"t, from three seeds on{given}."
    ]
    if any(each.is_shown for each in found.shared):
        said.append(f"{SHOWN}: outside its interval, also after Holm's correction over all numbers.")
    else:
        said.append("No difference shown after Holm's correction over all numbers.")
    said += _listed(one, found.only_one) + _listed(other, found.only_other)
    apart = "; ".join(found.apart) if found.apart else "nothing: their stages are the same but for seeds"
    return [*said, f"What sets the shared cells apart (one, other): {apart}."]


def _listed(name: str, keys: Sequence[Key]) -> list[str]:
    if not keys:
        return []
    more = f"; and {len(keys) - MOST_NAMED} more" if len(keys) > MOST_NAMED else ""
    return [f"Only in {name}: {counted(len(keys), 'number')} ({'; '.join(map(str, keys[:MOST_NAMED]))}{more})."]


def _line(each: Shared, shares: Mapping[float, str]) -> tuple[GridCell, ...]:
    key, interval = each.key, each.difference.interval
    texts = (
        shortened(printable(method_title(key.method)), 20),
        shares[key.sparsity],
        key.transfer_kd,
        str(key.bits),
        column_title(key.task, key.metric),
        two_decimals(each.one),
        two_decimals(each.other),
        f"{signed(each.difference.mean)}{SHOWN if each.is_shown else ''}",
        "" if interval is None else interval_text(interval),
        str(each.difference.n),
    )
    return tuple(map(GridCell, texts))


def _shared(key: Key, one: Row, other: Row, difference: Difference, is_shown: bool) -> Shared:
    ours, theirs = paired_values(one, other)
    return Shared(
        key,
        one=fmean(ours.values()),
        other=fmean(theirs.values()),
        difference=difference,
        seeds=tuple(sorted(ours)),
        is_shown=is_shown and difference.is_shown,
    )


def _by_key(rows: Iterable[Row]) -> dict[Key, Row]:
    found: dict[Key, Row] = {}
    for row in rows:
        key = Key(row.model, row.method, as_sparsity(row.sparsity), row.transfer_kd, row.bits, row.task, row.metric)
        found[key if key not in found else key._replace(sparsity=row.sparsity)] = row
    return found


def _only(rows: Mapping[Key, Row], shared: Mapping[Key, Any]) -> tuple[Key, ...]:
    return tuple(key for key, row in rows.items() if key not in shared and row.value is not None)


def _apart(one: StudyNumbers, other: StudyNumbers) -> list[str]:
    ours, theirs = one.study.plan, other.study.plan
    comparison = Comparison(ours, theirs, counts=lambda found: not found.is_of_a_seed)
    found = [
        difference
        for cell in ours.paths
        if cell in theirs.paths
        for difference in comparison.differences(ours.endpoint(cell), theirs.endpoint(cell))
    ]
    return described(found, most=20)
