"""Claims that one row is above another: by kind, why two rows may be compared, and what the study says on average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.studies.results import counts_of
from harness.wording import counted
from paper_tables.claims.comparison import (
    ALPHA,
    CANNOT_SAY,
    HELD,
    NO_RESULT,
    NOT_HELD,
    Comparison,
    compare,
    judged,
    means_by_seed,
    no_test,
    side_of_bound,
)
from paper_tables.claims.side import Side, paired_rows
from paper_tables.numbers.rows import Row
from paper_tables.numbers.study_numbers import StudyNumbers
from paper_tables.numbers.terms import DATA, differing_terms
from paper_tables.statistics.bootstrap import aggregate_interval
from paper_tables.statistics.intervals import Interval, standard_deviation
from paper_tables.statistics.paired import Difference, difference_of
from paper_tables.statistics.power import smallest_detectable

ORIGIN = "the fp32 model that was quantized"
UNCOUNTED = "non-zero weights, which are not recorded"


@dataclass(frozen=True, kw_only=True)
class Above:
    """`one` is above `other` by more than `bound` points, in every model, sparsity and task, on equal terms.

    bound: 0: better; -1: not worse by a point. may_differ: settings that the claim is about, by the names of
    `numbers.terms`: all others must be equal.
    """

    one: Side
    other: Side
    bound: float = 0.0
    may_differ: tuple[str, ...] = ()

    def measure(self, numbers: StudyNumbers) -> Differences:
        pairs = paired_rows(numbers.rows, self.one, self.other)
        comparisons = [
            compare(one, other, self.bound, self.apart(numbers, one, other), self.weights(numbers, one, other))
            for one, other in pairs
        ]
        return Differences(str(self.one), str(self.other), self.bound, judged(comparisons))

    def apart(self, numbers: StudyNumbers, one: Row, other: Row) -> list[str]:
        """The settings that keep the two from being compared."""
        return [name for name in differing_terms(numbers.study, one, other) if name not in self.may_differ]

    def weights(self, numbers: StudyNumbers, one: Row, other: Row) -> tuple[int, int] | None:
        """Non-zero encoder weights of both, where the claim is about them."""
        return None


@dataclass(frozen=True, kw_only=True)
class CostOfQuantization(Above):
    """The same of an int8 row and the very models that it was quantized from, on the same data; settings may differ."""

    def apart(self, numbers: StudyNumbers, one: Row, other: Row) -> list[str]:
        fp32 = {(seed.seed, seed.pruning_seed): seed.stage_id for seed in other.seeds}
        pairs = [
            (seed.stage_id, fp32[seed.seed, seed.pruning_seed])
            for seed in one.seeds
            if (seed.seed, seed.pruning_seed) in fp32
        ]
        made_from_it = all(_model(numbers, _model(numbers, int8)) == _model(numbers, fp32) for int8, fp32 in pairs)
        on_its_data = all(_scored_on(numbers, int8) == _scored_on(numbers, fp32) for int8, fp32 in pairs)
        return [*([] if made_from_it else [ORIGIN]), *([] if on_its_data else [DATA])]


@dataclass(frozen=True, kw_only=True)
class AboveWithFewerWeights(Above):
    """The same, and `one` has fewer non-zero encoder weights: it is better for less, by any price of a weight."""

    def apart(self, numbers: StudyNumbers, one: Row, other: Row) -> list[str]:
        uncounted = [] if self.weights(numbers, one, other) else [UNCOUNTED]
        return [*super().apart(numbers, one, other), *uncounted]

    def weights(self, numbers: StudyNumbers, one: Row, other: Row) -> tuple[int, int] | None:
        ours, theirs = _nonzeros(numbers, one), _nonzeros(numbers, other)
        return (max(ours), min(theirs)) if ours and theirs else None


@dataclass(frozen=True)
class Differences:
    """What was found of a claim that one is above the other.

    Its average: every seed that all measured comparisons have gives one number, the mean of its differences over them
    (by the primary metric of each task); Student's interval is over these numbers.
    """

    one: str
    other: str
    bound: float
    comparisons: tuple[Comparison, ...]
    kept: tuple[()] = ()
    is_exact = False

    @cached_property
    def averaged(self) -> list[Comparison]:
        return [each for each in self.comparisons if each.is_measured and each.is_primary]

    @cached_property
    def by_seed(self) -> Mapping[int, float]:
        """Points by transfer seed: the mean over the averaged comparisons."""
        return means_by_seed(self.averaged)

    @cached_property
    def average(self) -> Difference | None:
        return difference_of(list(self.by_seed.values()), null=self.bound) if self.by_seed else None

    @cached_property
    def bootstrap(self) -> Interval | None:
        """By another road: seeds drawn again within each comparison."""
        values = [[points for _, points in each.differences] for each in self.averaged]
        return aggregate_interval(values) if values else None

    @property
    def p_value(self) -> float | None:
        return self.average.p_value if self.average else None

    @property
    def effect(self) -> float | None:
        return self.average.mean if self.average else None

    @property
    def interval(self) -> Interval | None:
        return self.average.interval if self.average else None

    @property
    def n(self) -> int:
        return self.average.n if self.average else 0

    @property
    def condition(self) -> str | None:
        return next((each.condition for each in self.comparisons if each.condition and each.interval), None)

    @property
    def stage_ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(stage_id for each in self.comparisons for stage_id in each.stage_ids))

    def verdict(self, p_adjusted: float | None) -> tuple[str, list[str]]:
        """In a word, and why. p_adjusted: of the average, over the claims that are judged together."""
        if not self.averaged:
            return CANNOT_SAY, [self._why_nothing_was_measured()]
        against = [each for each in self.comparisons if each.verdict == NOT_HELD]
        if against:
            where = ", ".join(dict.fromkeys(map(str, against)))
            return NOT_HELD, [f"{len(against)} of {len(self.comparisons)} comparisons are shown against it: {where}."]
        average = self.average
        if average is None:
            return CANNOT_SAY, ["No seed has a result in every comparison, so nothing can be averaged."]
        if average.interval is None or p_adjusted is None:
            return CANNOT_SAY, [f"No test: {no_test(average.n)}."]
        side = side_of_bound(average.interval, self.bound)
        if side == CANNOT_SAY:
            return CANNOT_SAY, [f"The interval of the average holds {self.bound:g}.", self._what_could_be_seen(average)]
        if p_adjusted > ALPHA:
            return CANNOT_SAY, ["The average is shown alone, not after correction."]
        shown = sum(each.verdict == HELD for each in self.comparisons)
        where = f"On average over {counted(len(self.averaged), 'comparison')}"
        return side, [f"{where}; {shown} of {len(self.comparisons)} are shown for it alone, none against it."]

    def _why_nothing_was_measured(self) -> str:
        if not self.comparisons:
            return f"The study has no cell of {self.one} with one of {self.other} beside it."
        apart = sorted({name for each in self.comparisons for name in each.apart})
        return f"Its rows are not on equal terms: {', '.join(apart)}." if apart else f"No test: {NO_RESULT}."

    def _what_could_be_seen(self, average: Difference) -> str:
        size = smallest_detectable(standard_deviation([*self.by_seed.values()]), average.n)
        return f"With {average.n} seeds of this spread, {size:.1f} points from it would be seen nine times in ten."

    def as_json(self) -> dict[str, Any]:
        return {
            "bound": self.bound,
            "by_seed": dict(self.by_seed),
            "bootstrap": self.bootstrap,
            "condition": self.condition,
            "comparisons": [each.as_json() for each in self.comparisons],
        }


def _model(numbers: StudyNumbers, stage_id: str | None) -> str | None:
    """The stage whose model a stage starts from or scores."""
    return numbers.study.plan.stages[stage_id].parents.get("model") if stage_id in numbers.study.plan.stages else None


def _scored_on(numbers: StudyNumbers, stage_id: str | None) -> Mapping[str, str]:
    """The data of an evaluation, by content."""
    return numbers.study.plan.stages[stage_id].inputs if stage_id in numbers.study.plan.stages else {}


def _nonzeros(numbers: StudyNumbers, row: Row) -> Sequence[int]:
    """Non-zero weights of the prunable encoder matrices, of each finished model of a row."""
    found = []
    for seed in row.seeds:
        record = numbers.records.get(_model(numbers, seed.stage_id) or "", {})
        counted = counts_of(record.get("result", {}))
        if {"encoder_numel", "encoder_zeros"} <= counted.keys():
            found.append(counted["encoder_numel"] - counted["encoder_zeros"])
    return found
