"""Comparison: two rows of one task and metric, what their shared seeds say, and a verdict on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

from paper_tables.numbers.metrics import is_primary
from paper_tables.numbers.pairs import condition, paired_values
from paper_tables.numbers.rows import Row, method_title
from paper_tables.statistics.correction import holm_by_key
from paper_tables.statistics.intervals import Interval
from paper_tables.statistics.paired import difference_of

HELD, NOT_HELD, CANNOT_SAY = "held", "not held", "cannot say"
ALPHA = 0.05
NO_RESULT = "no seed has a result on both sides"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """effect: the mean of one minus other over the shared seeds, in points; claimed is that it is above `bound`.

    differences: (transfer seed, points), over several prunings the mean of theirs. interval, p_value: Student's, of
    the paired differences, against `bound`; p_adjusted: Holm's, over the comparisons of the claim.
    condition: what the interval is conditional on. apart: why the rows cannot be compared; empty: they can be.
    missing: planned cells of the two rows without a result, in words. weights: non-zero encoder weights of both, where
    the claim counts them. stage_ids: the evaluations behind it.
    """

    one: str
    other: str
    model: str
    sparsity: float
    task: str
    metric: str
    bound: float
    is_primary: bool
    differences: tuple[tuple[int, float], ...]
    effect: float | None
    interval: Interval | None
    p_value: float | None
    condition: str | None
    apart: tuple[str, ...]
    missing: tuple[str, ...]
    weights: tuple[int, int] | None
    stage_ids: tuple[str, ...]
    p_adjusted: float | None = None
    verdict: str = CANNOT_SAY
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.model} {self.sparsity:g} {self.task}"

    @property
    def n(self) -> int:
        return len(self.differences)

    @property
    def is_measured(self) -> bool:
        """Whether its rows are comparable and share a seed."""
        return not self.apart and self.effect is not None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "n": self.n, "differences": dict(self.differences)}


def compare(one: Row, other: Row, bound: float, apart: Sequence[str], weights: tuple[int, int] | None) -> Comparison:
    """The comparison without its verdict, which needs the other comparisons of the claim (`judged`)."""
    ours, theirs = paired_values(one, other)
    differences = tuple((seed, ours[seed] - theirs[seed]) for seed in sorted(ours))
    found = difference_of([points for _, points in differences], null=bound) if differences else None
    return Comparison(
        one=_title(one),
        other=_title(other),
        model=one.model,
        sparsity=one.sparsity,
        task=one.task,
        metric=one.metric,
        bound=bound,
        is_primary=is_primary(one.task, one.metric),
        differences=differences,
        effect=found.mean if found else None,
        interval=found.interval if found else None,
        p_value=found.p_value if found else None,
        condition=condition((one, other)),
        apart=tuple(apart),
        missing=(*_missing(one), *_missing(other)),
        weights=weights,
        stage_ids=(*one.stage_ids, *other.stage_ids),
    )


def judged(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Each with its adjusted p-value and its verdict. Those that cannot be compared take no part in the correction."""
    adjusted = holm_by_key({n: each.p_value for n, each in enumerate(comparisons) if each.is_measured})
    found = []
    for number, each in enumerate(comparisons):
        verdict, reason = _verdict(each, adjusted.get(number))
        found.append(replace(each, p_adjusted=adjusted.get(number), verdict=verdict, reason=reason))
    return tuple(found)


def side_of_bound(interval: Interval, bound: float) -> str:
    """held: the whole interval is above the bound; not held: below; cannot say: it holds the bound."""
    return HELD if interval.low > bound else NOT_HELD if interval.high < bound else CANNOT_SAY


def no_test(n: int) -> str:
    """Why so many seeds, whose interval is not known, show nothing."""
    return f"n = {n}: three seeds are needed" if n < 3 else "its seeds all give one difference: no spread to judge by"


def means_by_seed(comparisons: Sequence[Comparison]) -> dict[int, float]:
    """For each seed that all have: the mean of its differences, in points. Empty where there is no such seed.

    A seed gives one number, so the comparisons need not be independent of each other; only seeds need be.
    """
    by_seed = [dict(each.differences) for each in comparisons]
    shared = [seed for seed in by_seed[0] if all(seed in found for found in by_seed)] if by_seed else []
    return {seed: fmean(found[seed] for found in by_seed) for seed in shared}


def _verdict(found: Comparison, p_adjusted: float | None) -> tuple[str, str]:
    if found.apart:
        return CANNOT_SAY, f"not on equal terms: {', '.join(found.apart)}"
    if found.effect is None:
        return CANNOT_SAY, NO_RESULT
    if found.interval is None or p_adjusted is None:
        return CANNOT_SAY, no_test(found.n)
    if found.weights and found.weights[0] >= found.weights[1]:
        return NOT_HELD, "it has no fewer non-zero weights"
    verdict = side_of_bound(found.interval, found.bound)
    if verdict != CANNOT_SAY and p_adjusted > ALPHA:
        return CANNOT_SAY, "shown alone, not after correction"
    return verdict, f"its interval holds {found.bound:g}" if verdict == CANNOT_SAY else ""


def _title(row: Row) -> str:
    return f"{row.model} {method_title(row.method)} {'int8' if row.bits == 8 else 'fp32'}"


def _missing(row: Row) -> list[str]:
    lost = [str(seed.seed) for seed in row.seeds if seed.value is None]
    return [f"{_title(row)}: seed {', '.join(dict.fromkeys(lost))}"] if lost else []
