"""Learning curve of a finished stage: loss, pruning ramp and learning rate over its optimizer steps, from its record.

The record has the losses, the mask updates and the warm-up; the curves between follow from the formulas of the paper
and of the authors' release. Training has its own form of them (`harness.compression`), which no reader of records
imports; a test holds the two against each other step by step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.planning.kinds import KINDS

Curve = tuple[tuple[float, float], ...]
MOST_STEPS, MOST_UPDATES, LARGEST = 10**9, 10**6, 1e100  # what a curve can be drawn of


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """Over optimizer steps from 1 to `steps`.

    loss: mean since the entry before. sparsity: (step, share of zeros) from that step on, one for each mask update;
    empty where nothing is pruned. learning_rate: corners of the rate of optimizer step n, straight between them; empty
    where the record does not tell it. label: the stage in words.
    """

    stage_id: str
    label: str
    stage_kind: str
    steps: int
    loss: Curve
    sparsity: Curve
    learning_rate: Curve
    rewinding: bool


def learning_curve(stage_id: str, label: str, record: Mapping[str, Any]) -> LearningCurve | None:
    """None where the record holds no losses of a training, or tells it in words of its own."""
    training, schedule = record["result"].get("training"), record["result"].get("schedule")
    if not _tells_losses(training) or (schedule and not _tells_ramp(schedule, record["parameters"], training["steps"])):
        return None
    if record["kind"] in KINDS and not _tells_rate(training):
        return None
    losses = tuple((entry["step"], entry["loss"]) for entry in training["loss_curve"])
    steps = training["steps"]
    parameters = record["parameters"]
    rewinding = bool(schedule and parameters.get("lr_rewind"))
    return LearningCurve(
        stage_id=stage_id,
        label=label,
        stage_kind=record["kind"],
        steps=steps,
        loss=losses,
        sparsity=_mask_updates(parameters, schedule, steps) if schedule else (),
        # What a stage kind of somebody else's does with the rate, no record tells.
        learning_rate=_rates(training, schedule if rewinding else None) if record["kind"] in KINDS else (),
        rewinding=rewinding,
    )


def _tells_losses(training: Any) -> bool:
    if not isinstance(training, dict) or not _is_whole(training.get("steps"), 1, MOST_STEPS):
        return False
    losses, steps = training.get("loss_curve"), training["steps"]
    return (
        bool(losses)
        and isinstance(losses, list)
        and all(
            isinstance(each, dict) and _is_whole(each.get("step"), 0, steps) and _is_number(each.get("loss"))
            for each in losses
        )
    )


def _tells_ramp(schedule: Any, parameters: Mapping[str, Any], steps: int) -> bool:
    """Whether its steps are steps: -1 stands for the last."""
    names = ("first_event", "last_event", "ramp_begin", "ramp_end")
    return (
        isinstance(schedule, dict)
        and all(_is_number(parameters.get(name, 0.0)) for name in ("initial_sparsity", "sparsity"))
        and "sparsity" in parameters
        and all(_is_whole(schedule.get(name), -1, MOST_STEPS) for name in names)
        and schedule["ramp_begin"] < schedule["ramp_end"]
        and _is_whole(schedule.get("frequency"), max(1, steps // MOST_UPDATES), MOST_STEPS)
    )


def _tells_rate(training: Mapping[str, Any]) -> bool:
    return _is_whole(training.get("warmup_steps"), 0, MOST_STEPS) and _is_number(training.get("learning_rate"))


def _is_whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= LARGEST


def scheduled_sparsity(step: int, parameters: Mapping[str, Any], schedule: Mapping[str, int]) -> float:
    """The cubic ramp at pruning step t = `step`: s_i + (s_f - s_i) (1 - clip((1 - (t - t0) / (t1 - t0))^3, 0, 1))."""
    initial, final = parameters.get("initial_sparsity", 0.0), parameters["sparsity"]
    begin, end = schedule["ramp_begin"], schedule["ramp_end"]
    remaining = min(max((1 - (step - begin) / (end - begin)) ** 3, 0.0), 1.0)
    return float(min(initial + (final - initial) * (1 - remaining), final))


def _mask_updates(parameters: Mapping[str, Any], schedule: Mapping[str, int], steps: int) -> Curve:
    """A mask update at pruning step t comes after optimizer step t + 1."""
    last = steps - 1 if schedule["last_event"] == -1 else min(schedule["last_event"], steps - 1)
    updates = range(schedule["first_event"], last + 1, schedule["frequency"])
    return tuple((step + 1, scheduled_sparsity(step, parameters, schedule)) for step in updates)


def _rates(training: Mapping[str, Any], schedule: Mapping[str, int] | None) -> Curve:
    """The rate at every step where its slope may change; that of optimizer step n is peak * factor(n - 1)."""
    steps, warmup, peak = training["steps"], training["warmup_steps"], training["learning_rate"]
    corners = {0, warmup - 1, warmup, steps - 1}
    if schedule:
        begin, end, period = schedule["ramp_begin"], schedule["ramp_end"], schedule["frequency"]
        for corner in (*range(begin, end, period), end):
            corners |= {corner - 1, corner}
    return tuple(
        (corner + 1, peak * rate_factor(corner, steps, warmup, schedule))
        for corner in sorted(corners)
        if 0 <= corner < steps
    )


def rate_factor(step: int, steps: int, warmup: int, schedule: Mapping[str, int] | None) -> float:
    """Share of the peak rate after `step` scheduler steps: linear warm-up and decay; with a schedule, rewound.

    With D the steps outside the ramp and d = D - warmup: (D - step) / d before the ramp, in it jumping back every
    `frequency` steps, then (steps - step) / d; never below 0. Warm-up comes first, also inside the ramp.
    """
    if step < warmup:
        return step / max(1, warmup)
    if schedule is None:
        return max(0.0, (steps - step) / max(1, steps - warmup))
    begin, end, period = schedule["ramp_begin"], schedule["ramp_end"], schedule["frequency"]
    outside = steps - (end - begin)
    if step >= end:
        remaining = steps - step
    elif step < begin:
        remaining = outside - step
    else:
        remaining = outside - step + period * ((step - begin) // period)
    return max(0.0, remaining / ((outside - warmup) or 1))
