"""When to prune and how much: the cubic sparsity ramp and its mask updates (gradual magnitude pruning).

Pruning steps count optimizer steps, not micro-batches, from t = 0: after optimizer step n (1-based) the pruning
callback runs with t = n - 1. A mask update at pruning step t therefore comes after optimizer step t + 1, and the
forward pass of step t + 2 is the first to see it. What a mask update does to a model is in `sparsify`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PruningSchedule:
    """Sparsity as a function of the pruning step, and the pruning steps at which masks are updated.

    initial_sparsity, final_sparsity: fractions removed, 0 <= initial <= final < 1.
    ramp_begin, ramp_end: pruning steps between which the cubic ramp runs, 0 <= begin < end.
    first_event, last_event: first and last pruning step that may update masks; last_event -1 means no end.
    frequency: pruning steps between two mask updates, >= 1.
    After last_event the masks are frozen and training continues. Raises ValueError on values outside these ranges.
    """

    final_sparsity: float
    ramp_end: int
    frequency: int
    initial_sparsity: float = 0.0
    ramp_begin: int = 0
    first_event: int = 0
    last_event: int = -1

    def __post_init__(self) -> None:
        problems = []
        if not 0 <= self.initial_sparsity <= self.final_sparsity < 1:
            problems.append(
                f"initial_sparsity={self.initial_sparsity}, final_sparsity={self.final_sparsity}: expected fractions "
                "with 0 <= initial <= final < 1 (for 85 percent write 0.85)"
            )
        if not 0 <= self.ramp_begin < self.ramp_end:
            problems.append(
                f"ramp_begin={self.ramp_begin}, ramp_end={self.ramp_end}: expected 0 <= ramp_begin < ramp_end"
            )
        if self.frequency < 1:
            problems.append(f"frequency={self.frequency}: expected at least 1 step between two mask updates")
        if self.first_event < 0:
            problems.append(f"first_event={self.first_event}: expected a pruning step >= 0")
        if self.last_event != -1 and self.last_event < self.first_event:
            problems.append(
                f"last_event={self.last_event}: expected -1 (no end) or at least first_event={self.first_event}"
            )
        if problems:
            raise ValueError("; ".join(problems) + ".")

    @classmethod
    def from_fractions(
        cls,
        *,
        final_sparsity: float,
        num_steps: int,
        initial_sparsity: float = 0.0,
        ramp_begin: float = 0.0,
        ramp_end: float = 0.5,
        first_event: float = 0.0,
        last_event: float = 0.8,
        frequency: float = 0.01,
    ) -> PruningSchedule:
        """The schedule of a run of `num_steps` optimizer steps, everything else given as fractions of the run.

        The frequency is max(1, round(frequency * num_steps)) steps. The other four are then snapped to the nearest
        multiple of it, halves upwards, so that the ramp is a whole number of periods (learning-rate rewinding needs
        that) and its last step updates masks. The defaults are the scale-free form of the pre-training configuration
        in the authors' release: 100,000 steps give ramp 0 to 50,000, mask updates every 1,000 steps up to 80,000.
        Raises ValueError, with every problem, when after snapping the ramp is empty, mask updates stop before the ramp
        does or before they begin, or the last one is not inside the run; and when none reaches the final sparsity.
        """
        if num_steps < 1:
            raise ValueError(f"num_steps={num_steps}: expected at least 1 optimizer step.")
        if not 0 < frequency <= 1:
            raise ValueError(f"frequency={frequency}: expected a fraction of the run in (0, 1].")
        period = max(1, round(frequency * num_steps))
        told = {"ramp_begin": ramp_begin, "ramp_end": ramp_end, "first_event": first_event, "last_event": last_event}
        steps = {name: _snap(fraction * num_steps, period) for name, fraction in told.items()}
        problems = _misfits(told, steps, num_steps)
        if problems:
            raise ValueError(f"num_steps={num_steps}, mask updates every {period} steps: {' '.join(problems)}")
        schedule = cls(initial_sparsity=initial_sparsity, final_sparsity=final_sparsity, frequency=period, **steps)
        schedule.check_reaches_final(num_steps)
        return schedule

    def sparsity_at(self, step: int) -> float:
        """Scheduled sparsity at a pruning step, in [initial_sparsity, final_sparsity].

        s(t) = s_i + (s_f - s_i) * (1 - clip((1 - (t - t0) / (t1 - t0))^3, 0, 1)): fast first, slow last, constant
        outside the ramp (cubic schedule of Zhu and Gupta 2017, as used by Prune OFA).
        Never decreases and never exceeds final_sparsity, rounding included.
        """
        remaining = 1 - (step - self.ramp_begin) / (self.ramp_end - self.ramp_begin)
        done = 1 - min(max(remaining**3, 0.0), 1.0)
        return min(self.initial_sparsity + (self.final_sparsity - self.initial_sparsity) * done, self.final_sparsity)

    def updates_masks_at(self, step: int) -> bool:
        """Whether masks are updated at this pruning step, that is after optimizer step `step` + 1."""
        if step < self.first_event or (self.last_event != -1 and step > self.last_event):
            return False
        return (step - self.first_event) % self.frequency == 0

    def mask_update_steps(self, num_steps: int) -> list[int]:
        """Pruning steps that update masks in a run of `num_steps` optimizer steps (0 to num_steps - 1), ascending."""
        end = num_steps if self.last_event == -1 else min(num_steps, self.last_event + 1)
        return list(range(self.first_event, end, self.frequency))

    def check_reaches_final(self, num_steps: int) -> None:
        """Raises ValueError unless some mask update in a run of `num_steps` steps prunes to final_sparsity."""
        if not any(step >= self.ramp_end for step in self.mask_update_steps(num_steps)[-1:]):
            raise ValueError(
                f"num_steps={num_steps}: no mask update between ramp_end={self.ramp_end} and the end "
                f"(first_event={self.first_event}, last_event={self.last_event}, frequency={self.frequency}), so "
                f"final_sparsity={self.final_sparsity} is never reached. Train longer, lower ramp_end or raise "
                "last_event."
            )


def _misfits(told: Mapping[str, float], steps: Mapping[str, int], num_steps: int) -> list[str]:
    """What does not fit together of the fractions that were told, by the steps that they snap to: sentences."""
    begin, end, first, last = (steps[name] for name in ("ramp_begin", "ramp_end", "first_event", "last_event"))
    problems = []
    if end <= begin:
        problems.append(
            f"ramp_begin={told['ramp_begin']} and ramp_end={told['ramp_end']} snap to steps {begin} and {end}, an "
            "empty ramp. Train longer, put the two further apart or lower frequency."
        )
    if last < end:
        problems.append(
            f"last_event={told['last_event']} snaps to step {last}, before the ramp ends at step {end}. "
            "Raise last_event or lower ramp_end."
        )
    if last >= num_steps:
        problems.append(
            f"last_event={told['last_event']} snaps to step {last}, but the last pruning step of the run is "
            f"{num_steps - 1}. Lower last_event or train longer."
        )
    if first > last:
        problems.append(
            f"first_event={told['first_event']} snaps to step {first}, after last_event at step {last}. "
            "Lower first_event."
        )
    return problems


def _snap(step: float, period: int) -> int:
    """Nearest multiple of `period`, halves upwards; the slack keeps 0.29 * 100 = 28.999999999999996 at 29."""
    return math.floor(step / period + 0.5 + 1e-9) * period
