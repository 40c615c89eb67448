"""The pace of a run: what its finished stages took, and from that about how long the rest will take. Pure.

A stage is expected to take what stages of its kind, base model and task took in this run, or of its kind and model.
For another model the estimate made before the run says how much longer it takes than what was measured; for a kind that
this run has not measured, how much longer than all that was measured, once that is a share of the whole worth speaking
of. Before that nothing is said: nobody could trust the number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.planning.graph import Plan
from harness.progress import about, duration

Group = tuple[str | None, ...]
ENOUGH = 0.05  # share of the estimated seconds that stages have to be done of to speak for other kinds


@dataclass
class Pace:
    """estimated: seconds by stage, as estimated before the run; of a stage without one only the measured counts."""

    plan: Plan
    estimated: Mapping[str, float] = field(default_factory=dict)
    _measured: dict[Group, tuple[float, int]] = field(default_factory=dict)  # seconds and number of stages
    _factors: dict[str | None, tuple[float, float]] = field(default_factory=dict)  # kind (None: all) -> see `_factor`

    def __post_init__(self) -> None:
        self._enough = ENOUGH * sum(self.estimated.values())

    def took(self, stage_id: str, seconds: float) -> None:
        """A stage of this run has finished."""
        for group in self._groups(stage_id):
            total, count = self._measured.get(group, (0.0, 0))
            self._measured[group] = (total + seconds, count + 1)
        if stage_id in self.estimated:
            for kind in (self.plan.stages[stage_id].kind, None):
                measured, estimated = self._factors.get(kind, (0.0, 0.0))
                self._factors[kind] = (measured + seconds, estimated + self.estimated[stage_id])

    def expected(self, stage_id: str) -> float | None:
        """The seconds that a stage will take; None: nothing that this run did says so."""
        for group in self._groups(stage_id):
            if group in self._measured:
                seconds, count = self._measured[group]
                return seconds / count
        factor = self._factor(self.plan.stages[stage_id].kind)
        return None if factor is None or stage_id not in self.estimated else self.estimated[stage_id] * factor

    def _factor(self, kind: str) -> float | None:
        """Seconds measured over seconds estimated: of the kind, else of all kinds where enough was measured."""
        of_all = self._factors.get(None, (0.0, 0.0))
        measured, estimated = self._factors.get(kind, of_all if of_all[1] >= self._enough else (0.0, 0.0))
        return measured / estimated if estimated else None

    def left(self, waiting: Iterable[str], running: Mapping[str, float], at_once: int) -> float | None:
        """Seconds until all are done; None: nobody can tell yet.

        running: stage id -> seconds so far. at_once: how many stages run side by side.
        """
        rest: list[float] = []
        for stage_id, so_far in (*((stage_id, 0.0) for stage_id in waiting), *running.items()):
            expected = self.expected(stage_id)
            if expected is None:
                return None
            rest.append(max(expected - so_far, 0.0))
        return max(sum(rest) / max(at_once, 1), max(rest, default=0.0))

    def _groups(self, stage_id: str) -> tuple[Group, Group]:
        """The stages that are alike, the more alike first."""
        spec = self.plan.stages[stage_id]
        model = self.plan.base_model(spec)
        return (spec.kind, model, spec.parameters.get("task")), (spec.kind, model)


def done_line(label: str, seconds: float, done: int, total: int, left: float | None) -> str:
    """The line of a stage that is done. done, total: numbers of stages. left: seconds; unsaid where None or 0."""
    rest = f"; {about(left)} left" if left and done < total else ""
    return f"[{done}/{total}] {label}: done in {duration(seconds)}{rest}"
