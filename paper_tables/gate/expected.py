"""Expected: what a study has to give again: counts of zeros exactly, scores and their means within the noise of seeds.

Values only; `expected_file` writes and reads them, `write` makes them from a study, `check` compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from harness.planning.graph import Plan
from paper_tables.statistics.tolerance import Noise

SCHEMA = 1
HIGHER = "higher"  # of every metric of today's tasks: the greater, the better
FALSE_ALARMS = 0.01  # of a table whose numbers did not change


class RowKey(NamedTuple):
    """The cells of one row of a table."""

    model: str
    method: str
    sparsity: float
    quantization: str

    def __str__(self) -> str:
        return " ".join([self.model, self.method, *_words(self.sparsity, self.quantization)])


class NumberKey(NamedTuple):
    """One number: a metric of a task, over seeds."""

    model: str
    method: str
    sparsity: float
    quantization: str
    task: str
    metric: str

    @property
    def row(self) -> RowKey:
        return RowKey(*self[:4])

    def __str__(self) -> str:
        return f"{self.row} {self.task} {_LABELS.get(self.metric, self.metric)}"


_LABELS = {"accuracy": "acc", "exact_match": "EM", "f1": "F1"}


def _words(sparsity: float, quantization: str) -> list[str]:
    return [*([f"{sparsity:g}"] if sparsity else []), *([quantization] if quantization != "none" else [])]


@dataclass(frozen=True, kw_only=True)
class BetweenRuns:
    """What a run on another machine shifts all seeds of a number by, in standard deviations of one seed.

    For a number, a mean over the tasks of a row, and a mean over the rows of a method: what seeds share stays in a
    mean, while what is theirs averages out.
    """

    numbers: float = 0.5
    rows: float = 0.5
    methods: float = 0.5


@dataclass(frozen=True, kw_only=True)
class ExpectedZeros:
    """Exact zeros among the prunable encoder matrices of every cell of a row: the same on every machine."""

    key: RowKey
    zeros: int
    of: int


@dataclass(frozen=True, kw_only=True)
class ExpectedNumber:
    """A number with its seeds, in percent.

    noise: standard deviation of one seed in points, with its degrees of freedom; None where seeds do not tell it.
    tolerance: points that it may fall by, where somebody set it by hand; then the noise does not count.
    stage: the id, in the file's stages, of the evaluation that all its seeds come from but for their seeds.
    seeds: "0" or "0 pruning 1" -> value.
    """

    key: NumberKey
    direction: str = HIGHER
    noise: float | None = None
    freedom: float | None = None
    tolerance: float | None = None
    stage: str
    seeds: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class ExpectedMean:
    """A weighted mean of numbers, one metric a task: of a row over its tasks, or of a method over all its rows.

    model, sparsity, quantization: None where it goes over all of them. weights: by task, as a number of that task
    counts; its noise is that of one seed.
    """

    method: str
    model: str | None = None
    sparsity: float | None = None
    quantization: str | None = None
    metrics: Mapping[str, str]
    weights: Mapping[str, float]
    noise: float | None = None
    freedom: float | None = None
    tolerance: float | None = None

    @property
    def is_of_row(self) -> bool:
        return self.model is not None

    def weight(self, key: NumberKey) -> float:
        """What a number counts in it; 0 where it is not one of its own."""
        same = all(
            mine is None or mine == theirs
            for mine, theirs in (
                (self.model, key.model),
                (self.method, key.method),
                (self.sparsity, key.sparsity),
                (self.quantization, key.quantization),
                (self.metrics.get(key.task), key.metric),
            )
        )
        return self.weights.get(key.task, 0.0) if same and key.task in self.metrics else 0.0

    def __str__(self) -> str:
        if self.model is None or self.sparsity is None or self.quantization is None:
            return f"{self.method}, all rows and tasks"
        return f"{RowKey(self.model, self.method, self.sparsity, self.quantization)}, tasks"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The whole file.

    study, preset, recipe, measured_on: where it comes from, for people; not compared. false_alarms: how often a table
    whose numbers did not change turns red at the most. stages: what the numbers were computed by, without their seeds.
    """

    study: str
    preset: str
    recipe: str
    false_alarms: float = FALSE_ALARMS
    between_runs: BetweenRuns = field(default_factory=BetweenRuns)
    measured_on: Mapping[str, Any]
    zeros: tuple[ExpectedZeros, ...]
    means: tuple[ExpectedMean, ...]
    numbers: tuple[ExpectedNumber, ...]
    stages: Plan

    def noise_of(self, entry: ExpectedNumber | ExpectedMean) -> Noise | None:
        """None where it is not known."""
        if entry.noise is None or entry.freedom is None:
            return None
        if isinstance(entry, ExpectedNumber):
            between = self.between_runs.numbers
        else:
            between = self.between_runs.rows if entry.is_of_row else self.between_runs.methods
        return Noise(spread=entry.noise, freedom=entry.freedom, between_runs=between)

    def level(self, entry: ExpectedNumber | ExpectedMean) -> float:
        """The probability of a false alarm that one entry has: half of the table's goes to the numbers, half to means.

        Bonferroni's share, so that however they hang together the table keeps its own.
        """
        alike = self.numbers if isinstance(entry, ExpectedNumber) else self.means
        return self.false_alarms / 2 / max(1, len(alike))


BETWEEN = tuple(each.name for each in fields(BetweenRuns))
