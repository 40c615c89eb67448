"""Tables of numbers drawn at random: cells of unequal noise, seeds that fail, runs that shift. For the gate's tests.

The noise of a cell is that of a cell of the committed quick study, drawn again, so that neither the sizes nor how they
vary are made up.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.planning.graph import Plan
from harness.specs import StageSpec
from paper_tables.gate.expected import BETWEEN_RUNS, EQUAL, HIGHER, OPENING, Expected, ExpectedNumber, NumberKey
from paper_tables.gate.measured import Measured, MeasuredNumber
from paper_tables.gate.write import means_of, with_noise

STAGE = StageSpec(kind="evaluation", parameters={})
STAGES = Plan(stages={STAGE.stage_id: STAGE})
OWN = 0.78  # of the variance of an opening loss: the seed's, on every machine (docs/gate.md)
TWIN = 0.95  # correlation of an int8 cell with the fp32 cell it was made from, and of F1 with accuracy
MIDDLE = 75.0  # of every number; no matter to the gate


def spreads(expected: Expected) -> dict[NumberKey, float]:
    """The standard deviation of the seeds of each number of a committed file: unequal, and with failed seeds."""
    return {number.key: statistics.stdev(number.seeds.values()) for number in expected.numbers}


@dataclass(frozen=True)
class World:
    """spreads: standard deviation of a seed, of each number. shift: of a run, in spreads. common: the part of that
    shift which all cells of a model share. failures: how often a seed fails, by four spreads."""

    spreads: dict[NumberKey, float]
    shift: float = 0.0
    common: float = 0.5
    failures: float = 0.0

    @property
    def keys(self) -> list[NumberKey]:
        return list(self.spreads)

    def run(self, generator: np.random.Generator, n: int, own: np.ndarray | None = None) -> np.ndarray:
        """[numbers, n]: seeds 0 to n - 1 of one run on a machine of its own. own: as `own` gives it."""
        keys = self.keys
        models = sorted({key.model for key in keys})
        of_model = [models.index(key.model) for key in keys]
        noise = self._noise(generator, n) - 4 * (generator.random((len(keys), n)) < self.failures)
        if own is not None:
            is_loss = np.array([key.metric == OPENING for key in keys])
            noise[is_loss] = np.sqrt(OWN) * own[is_loss, :n] + np.sqrt(1 - OWN) * noise[is_loss]
        luck = np.sqrt(self.common) * generator.standard_normal(len(models))[of_model][:, None]
        shift = self.shift * (luck + np.sqrt(1 - self.common) * self._related(generator, 1))
        return MIDDLE + np.array(list(self.spreads.values()))[:, None] * (noise + shift)

    def own(self, generator: np.random.Generator, n: int) -> np.ndarray:
        """[numbers, n]: what is a seed's own on every machine; it enters opening losses alone."""
        return self._noise(generator, n)

    def _noise(self, generator: np.random.Generator, n: int) -> np.ndarray:
        """[numbers, n], of mean 0 and standard deviation 1."""
        return self._related(generator, n)

    def _related(self, generator: np.random.Generator, n: int) -> np.ndarray:
        drawn = generator.standard_normal((len(self.keys), n))
        places = {key: place for place, key in enumerate(self.keys)}
        for key, place in places.items():  # F1 of an int8 cell: a twin of its accuracy, a twin of the fp32 cell's
            if (twin := _twin(key)) != key:
                drawn[place] = TWIN * drawn[places[twin]] + np.sqrt(1 - TWIN**2) * drawn[place]
        return drawn


@dataclass(frozen=True)
class Redrawn(World):
    """Seeds are those of a committed file, drawn again: heavy tails as they come. A cell draws for all its metrics."""

    seeds: dict[NumberKey, list[float]] = field(default_factory=dict)

    @classmethod
    def of(cls, expected: Expected, **kept: float) -> Redrawn:
        seeds = {number.key: list(number.seeds.values()) for number in expected.numbers}
        return cls(spreads(expected), seeds=seeds, **kept)

    def _noise(self, generator: np.random.Generator, n: int) -> np.ndarray:
        drawn: dict[tuple[object, ...], np.ndarray] = {}
        found = []
        for key, values in self.seeds.items():
            cell = (key.model, key.method, key.sparsity, key.task)
            places = drawn.setdefault(cell, generator.integers(len(values), size=n))
            found.append((np.array(values) - np.mean(values))[places] / np.std(values))
        return np.array(found)


def _twin(key: NumberKey) -> NumberKey:
    if key.metric == "f1":
        return key._replace(metric="accuracy")
    return key._replace(quantization="none")


def expected(keys: Sequence[NumberKey], values: np.ndarray, between_runs: float = BETWEEN_RUNS) -> Expected:
    """What a run with these values, [numbers, seeds], says is expected."""
    numbers = with_noise(
        [
            ExpectedNumber(
                key=key,
                direction=EQUAL if key.metric == OPENING else HIGHER,
                stage=STAGE.stage_id,
                seeds={str(seed): float(value) for seed, value in enumerate(row)},
            )
            for key, row in zip(keys, values, strict=True)
        ]
    )
    return Expected(
        study="quick",
        preset="quick",
        recipe="0" * 32,
        between_runs=between_runs,
        measured_on={},
        zeros=(),
        losses=(),
        means=tuple(means_of(numbers)),
        numbers=tuple(numbers),
        stages=STAGES,
    )


def measured(keys: Sequence[NumberKey], values: np.ndarray) -> Measured:
    """A study with these values, [numbers, seeds]."""
    numbers = {
        key: MeasuredNumber({str(seed): float(value) for seed, value in enumerate(row)}, 0, (STAGE.stage_id,))
        for key, row in zip(keys, values, strict=True)
    }
    return Measured("quick", numbers, {}, {}, STAGES)
