"""Learning curves: the ramp and the rate that a record tells, against the schedules that training follows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.compression.learning_rate import linear_factor, rewound_factor
from harness.compression.schedule import PruningSchedule
from paper_tables.figures.curve import learning_curve


def record(steps: int, warmup: int, schedule: dict[str, int] | None = None, **parameters: Any) -> dict[str, Any]:
    training = {
        "steps": steps,
        "warmup_steps": warmup,
        "learning_rate": 0.002,
        "loss_curve": [{"step": 1, "loss": 2.5}, {"step": steps, "loss": 1.0}],
    }
    result = {"training": training, **({"schedule": schedule} if schedule else {})}
    kind = parameters.pop("kind", "student_pruning")
    return {"kind": kind, "parameters": {"sparsity": 0.9, **parameters}, "result": result}


def between(corners: tuple[tuple[float, float], ...], step: int) -> float:
    """The curve's value at a step, straight between its corners."""
    after = next(i for i, (x, _) in enumerate(corners) if x >= step)
    (x1, y1) = corners[after]
    (x0, y0) = corners[max(after - 1, 0)]
    return y1 if x1 == step else y0 + (y1 - y0) * (step - x0) / (x1 - x0)


SCHEDULES = [
    (100, 10, {"initial_sparsity": 0.0}),
    (
        120,
        24,
        {"initial_sparsity": 0.3, "ramp_begin": 0.095, "ramp_end": 0.68, "first_event": 0.095, "last_event": 0.81},
    ),
    (3000, 600, {"initial_sparsity": 0.0}),
    (1000, 0, {"initial_sparsity": 0.0, "ramp_begin": 0.1}),
]


@pytest.mark.parametrize(("steps", "warmup", "fractions"), SCHEDULES, ids=["early", "late", "quick", "no warm-up"])
def test_ramp_and_rewound_rate_are_those_that_training_follows_at_every_step(
    steps: int, warmup: int, fractions: dict[str, float]
) -> None:
    trained = PruningSchedule.from_fractions(final_sparsity=0.9, num_steps=steps, **fractions)
    kept = {
        name: getattr(trained, name) for name in ("ramp_begin", "ramp_end", "first_event", "last_event", "frequency")
    }
    curve = learning_curve("s", "pruning", record(steps, warmup, kept, lr_rewind=True, **fractions))
    assert curve is not None
    assert curve.rewinding
    updates = {step - 1: share for step, share in curve.sparsity}
    assert list(updates) == trained.mask_update_steps(steps)
    assert updates == {step: pytest.approx(trained.sparsity_at(step), abs=1e-12) for step in updates}
    ramp = {"ramp_begin": trained.ramp_begin, "ramp_end": trained.ramp_end, "frequency": trained.frequency}
    for step in range(steps):
        factor = rewound_factor(step, num_steps=steps, warmup_steps=warmup, **ramp)
        assert between(curve.learning_rate, step + 1) == pytest.approx(0.002 * factor, abs=1e-12)


@pytest.mark.parametrize("warmup", [0, 1, 20])
def test_without_rewinding_the_rate_is_linear(warmup: int) -> None:
    curve = learning_curve("s", "transfer", record(100, warmup, kind="transfer"))
    assert curve is not None
    assert (curve.rewinding, curve.sparsity, curve.loss) == (False, (), ((1, 2.5), (100, 1.0)))
    for step in range(100):
        factor = linear_factor(step, num_steps=100, warmup_steps=warmup)
        assert between(curve.learning_rate, step + 1) == pytest.approx(0.002 * factor, abs=1e-12)


def test_pruning_without_rewinding_has_its_ramp_and_a_linear_rate() -> None:
    schedule = {"ramp_begin": 0, "ramp_end": 50, "first_event": 0, "last_event": -1, "frequency": 10}
    curve = learning_curve("s", "pruning", record(100, 10, schedule, lr_rewind=False))
    assert curve is not None
    assert [step for step, _ in curve.sparsity] == [1, 11, 21, 31, 41, 51, 61, 71, 81, 91]
    assert curve.sparsity[5][1] == 0.9
    assert len(curve.learning_rate) == 4


def test_the_rate_of_a_kind_of_somebody_elses_is_not_told() -> None:
    curve = learning_curve("s", "theirs", record(100, 10, kind="example:pruning"))
    assert curve is not None
    assert curve.learning_rate == ()


@pytest.mark.parametrize("result", [{}, {"training": {}}, {"training": {"loss_curve": [], "steps": 3}}])
def test_a_record_without_losses_has_no_curve(result: dict[str, Any]) -> None:
    assert learning_curve("s", "evaluation", {"kind": "evaluation", "parameters": {}, "result": result}) is None


RAMP = {"ramp_begin": 0, "ramp_end": 50, "first_event": 0, "last_event": -1, "frequency": 10}


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("training", "long"),
        ("training", {"steps": 100}),
        ("training.steps", 1.5),
        ("training.steps", -1),
        ("training.loss_curve", {"step": 1}),
        ("training.loss_curve", [[1, 2.5]]),
        ("training.loss_curve", [{"step": 1}]),
        ("training.loss_curve", [{"step": 1, "loss": "2.5"}]),
        ("training.loss_curve", [{"step": 10**400, "loss": 2.5}]),
        ("training.warmup_steps", None),
        ("training.learning_rate", 10**400),
        ("schedule", [1]),
        ("schedule.first_event", -0.5),
        ("schedule.first_event", -(10**30)),
        ("schedule.frequency", 0),
        ("schedule.ramp_end", 0),
        ("schedule.last_event", None),
    ],
    ids=str,
)
def test_a_training_that_is_told_otherwise_has_no_curve(part: str, value: object) -> None:
    told = json.loads(json.dumps(record(100, 10, RAMP, lr_rewind=True)))
    assert learning_curve("s", "pruning", told) is not None
    place = told["result"]
    *before, last = part.split(".")
    for name in before:
        place = place[name]
    place[last] = value
    assert learning_curve("s", "pruning", told) is None


def test_a_ramp_to_no_sparsity_has_no_curve() -> None:
    told = record(100, 10, RAMP)
    assert learning_curve("s", "theirs", {**told, "kind": "example:pruning", "parameters": {}}) is None
