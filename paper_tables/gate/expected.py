"""Expected: what a study has to give again: counts of zeros exactly, scores and their means within the noise of seeds.

Values only; `expected_file` writes and reads them, `write` makes them from a study, `check` compares.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from harness.planning.graph import Plan
from paper_tables.numbers.metrics import METRIC_LABELS
from paper_tables.statistics.tolerance import Noise, noise_of_mean

SCHEMA = 1
HIGHER, EQUAL = "higher", "equal"  # the greater the better; or neither better nor worse, but the same
DIRECTIONS = (HIGHER, EQUAL)
# Of the stage that trained the scored model, in nats: the mean over the first tenth of its run. What it was told to
# learn, from what, and how fast shows there before luck sets seeds apart.
OPENING = "opening loss"
FALSE_ALARMS = 0.01  # of a table whose numbers did not change
BETWEEN_RUNS = 0.5  # measured on the quick study: docs/gate.md
PRETRAINING = 0.02  # how far a pre-training loss may move, as a share of it; measured there, too


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
        return f"{self.row} {self.task} {METRIC_LABELS.get(self.metric, self.metric)}"


def _words(sparsity: float, quantization: str) -> list[str]:
    return [*([f"{sparsity:g}"] if sparsity else []), *([quantization] if quantization != "none" else [])]


class StageKey(NamedTuple):
    """The pre-training stages of one model and sparsity, over their seeds. sparsity: None where nothing is pruned."""

    kind: str
    model: str
    sparsity: float | None

    def __str__(self) -> str:
        return " ".join([self.kind, self.model, *([] if self.sparsity is None else [f"{self.sparsity:g}"]), "loss"])


@dataclass(frozen=True, kw_only=True)
class ExpectedZeros:
    """Exact zeros among the prunable encoder matrices of every cell of a row: the same on every machine."""

    key: RowKey
    zeros: int
    of: int


@dataclass(frozen=True, kw_only=True)
class ExpectedLoss:
    """The loss of a pre-training stage in nats, mean over its run and over the seeds that there are.

    It averages over many thousand examples, so that it says more of how a model was trained than any score; of one seed
    its noise cannot be measured. tolerance: share of the loss that it may move by, either way.
    """

    key: StageKey
    loss: float
    tolerance: float = PRETRAINING
    stage: str


@dataclass(frozen=True, kw_only=True)
class ExpectedNumber:
    """A number with its seeds: a score in percent, or the opening loss in nats.

    noise: standard deviation of one seed, with its degrees of freedom; None where seeds do not tell it.
    tolerance: what it may fall by, or move by, where somebody set it by hand; then the noise does not count.
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
    """A weighted mean of numbers, one metric a task: of a row over its tasks, or of a method over its rows as well.

    model, sparsity: None where it goes over all of them. weights: by task, as a number of that task counts.
    tolerance: set by hand; else it follows from the noise of the numbers.
    """

    method: str
    model: str | None = None
    sparsity: float | None = None
    quantization: str
    metrics: Mapping[str, str]
    weights: Mapping[str, float]
    tolerance: float | None = None

    @property
    def key(self) -> tuple[object, ...]:
        return self.model, self.method, self.sparsity, self.quantization, tuple(sorted(self.metrics.values()))

    @property
    def direction(self) -> str:
        return EQUAL if OPENING in self.metrics.values() else HIGHER

    def weight(self, key: NumberKey) -> float:
        """What a number counts in it; 0 where it is not one of its own."""
        if self.metrics.get(key.task) != key.metric or (self.method, self.quantization) != (
            key.method,
            key.quantization,
        ):
            return 0.0
        other_row = self.model is not None and (self.model, self.sparsity) != (key.model, key.sparsity)
        return 0.0 if other_row else self.weights.get(key.task, 0.0)

    def __str__(self) -> str:
        what = f"mean {OPENING if self.direction == EQUAL else 'score'}"
        if self.model is None or self.sparsity is None:
            return f"{' '.join([self.method, *_words(0.0, self.quantization)])}, all rows, {what}"
        return f"{RowKey(self.model, self.method, self.sparsity, self.quantization)}, {what}"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The whole file.

    study, preset, recipe, measured_on: where it comes from, for people; not compared. false_alarms: how often a table
    whose numbers did not change turns red at the most. between_runs: standard deviation of what a run on another
    machine shifts all seeds of a number by, in standard deviations of one seed. stages: what the numbers were computed
    by, without their seeds.
    """

    study: str
    preset: str
    recipe: str
    false_alarms: float = FALSE_ALARMS
    between_runs: float = BETWEEN_RUNS
    measured_on: Mapping[str, Any]
    zeros: tuple[ExpectedZeros, ...]
    losses: tuple[ExpectedLoss, ...]
    means: tuple[ExpectedMean, ...]
    numbers: tuple[ExpectedNumber, ...]
    stages: Plan

    def members(self, mean: ExpectedMean) -> list[ExpectedNumber]:
        """The numbers that it is a mean of."""
        return members(mean, self.numbers)

    def noise(self, entry: ExpectedNumber | ExpectedMean) -> Noise | None:
        """None where it is not known.

        Numbers of one model and task are taken to move together in a mean: they share seeds, teacher, often the model
        that they begin with.
        """
        if isinstance(entry, ExpectedNumber):
            if entry.noise is None or entry.freedom is None:
                return None
            return Noise(entry.noise, entry.freedom, self.between_runs)
        parts: dict[tuple[str, str], list[tuple[float, Noise]]] = defaultdict(list)
        mine = self.members(entry)
        total = sum(entry.weight(number.key) for number in mine)
        for number in mine:
            noise = self.noise(number)
            if noise is None:
                return None
            parts[number.key.model, number.key.task].append((entry.weight(number.key) / total, noise))
        return noise_of_mean(parts.values()) if parts else None

    def level(self, entry: ExpectedNumber | ExpectedMean) -> float:
        """The probability of a false alarm that an entry has on each side on which it can fail.

        Scores, losses and means have a third of the table's each, and Bonferroni's share of it, so that however they
        hang together the table keeps its own.
        """
        return self.false_alarms / 3 / self._parts[_part(entry)] / (2 if entry.direction == EQUAL else 1)

    @cached_property
    def _parts(self) -> Counter[str]:
        entries: list[ExpectedNumber | ExpectedMean] = [*self.numbers, *self.means]
        return Counter(map(_part, entries))


def _part(entry: ExpectedNumber | ExpectedMean) -> str:
    return entry.direction if isinstance(entry, ExpectedNumber) else "mean"


def members(mean: ExpectedMean, numbers: Iterable[ExpectedNumber]) -> list[ExpectedNumber]:
    """Those of the numbers that it is a mean of."""
    return [number for number in numbers if mean.weight(number.key)]
