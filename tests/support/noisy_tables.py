"""Tables of numbers drawn at random: cells of unequal noise, seeds that fail, runs that shift. For the gate's tests.

The noise of a cell is that of a cell of the committed quick study, drawn again, so that neither the sizes nor how they
vary are made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.planning.graph import Plan
from harness.specs import StageSpec
from paper_tables.gate.expected import BetweenRuns, Expected, ExpectedNumber, NumberKey
from paper_tables.gate.measured import Measured, MeasuredNumber
from paper_tables.gate.write import means_of, with_noise

STAGE = StageSpec(kind="evaluation", parameters={})
STAGES = Plan(stages={STAGE.stage_id: STAGE})
TASKS = (("sst2", "accuracy"), ("qnli", "accuracy"), ("qqp", "accuracy"), ("qqp", "f1"))
ROWS = (
    ("dense", 0.0, "none"),
    ("finetune-pruning", 0.85, "none"),
    ("finetune-pruning", 0.9, "none"),
    ("prune-ofa", 0.85, "none"),
    ("prune-ofa", 0.85, "int8"),
    ("prune-ofa", 0.9, "none"),
    ("prune-ofa", 0.9, "int8"),
)
MODELS = ("tiny-narrow", "tiny-wide")
KEYS = tuple(NumberKey(model, *row, *task) for model in MODELS for row in ROWS for task in TASKS)
TWIN = 0.95  # correlation of an int8 cell with the fp32 cell it was made from, and of F1 with accuracy


@dataclass(frozen=True)
class World:
    """spreads: standard deviation of a seed, for each of KEYS. shift: of a run, in spreads; the part of it that all
    cells of a model share is `common`. failures: how often a seed fails, by four spreads."""

    spreads: Sequence[float]
    shift: float = 0.0
    common: float = 0.5
    failures: float = 0.0

    def run(self, generator: np.random.Generator, n: int) -> np.ndarray:
        """[numbers, n]: the seeds of one run on a machine of its own, around 75."""
        noise = self._related(generator, n) - 4 * (generator.random((len(KEYS), n)) < self.failures)
        luck = np.sqrt(self.common) * generator.standard_normal(2)[_MODEL][:, None]
        shift = self.shift * (luck + np.sqrt(1 - self.common) * self._related(generator, 1))
        return 75 + np.asarray(self.spreads)[:, None] * (noise + shift)

    def _related(self, generator: np.random.Generator, n: int) -> np.ndarray:
        drawn = generator.standard_normal((len(KEYS), n))
        for place, twin in _TWINS:  # in order: a twin's twin was drawn before
            drawn[place] = TWIN * drawn[twin] + np.sqrt(1 - TWIN**2) * drawn[place]
        return drawn


def _twin(key: NumberKey) -> NumberKey:
    return key._replace(quantization="none") if key.quantization == "int8" else key._replace(metric="accuracy")


_MODEL = np.array([MODELS.index(key.model) for key in KEYS])
_TWINS = [(place, KEYS.index(_twin(key))) for place, key in enumerate(KEYS) if _twin(key) != key]


def expected(values: np.ndarray, between: BetweenRuns | None = None, keys: Sequence[NumberKey] = KEYS) -> Expected:
    """What a run with these values, [numbers, seeds], says is expected."""
    numbers = with_noise(
        [
            ExpectedNumber(key=key, stage=STAGE.stage_id, seeds={str(s): float(v) for s, v in enumerate(row)})
            for key, row in zip(keys, values, strict=True)
        ]
    )
    return Expected(
        study="quick",
        preset="quick",
        recipe="0" * 32,
        between_runs=between or BetweenRuns(),
        measured_on={},
        zeros=(),
        means=tuple(means_of(numbers)),
        numbers=tuple(numbers),
        stages=STAGES,
    )


def measured(values: np.ndarray, keys: Sequence[NumberKey] = KEYS) -> Measured:
    """A study with these values, [numbers, seeds]."""
    numbers = {
        key: MeasuredNumber({str(seed): float(value) for seed, value in enumerate(row)}, 0, (STAGE.stage_id,))
        for key, row in zip(keys, values, strict=True)
    }
    return Measured("quick", numbers, {}, STAGES)
