"""When to prune and how much: the cubic sparsity ramp and its mask events (gradual magnitude pruning).

Clocks. The pruning clock t starts at 0. After optimizer step n (1-based) the pruning callback runs with t = n - 1, so
an event at clock t happens after step t + 1 and is first seen by the forward pass of step t + 2. The clock counts
optimizer steps, not micro-batches. What an event does to a model is the business of `sparsify`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PruningSchedule:
    """Sparsity as a function of the pruning clock, and the clocks at which masks are recomputed.

    initial_sparsity, final_sparsity: fractions removed, 0 <= initial <= final < 1.
    ramp_begin, ramp_end: clocks between which the cubic ramp runs, 0 <= begin < end.
    first_event, last_event: first and last clock at which an event may fire; last_event -1 means no end.
    frequency: clocks between two events, >= 1.
    After last_event the mask is frozen and training goes on. Raises ValueError on values outside these ranges.
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
            problems.append(f"frequency={self.frequency}: expected at least 1 step between two events")
        if self.first_event < 0:
            problems.append(f"first_event={self.first_event}: expected a clock >= 0")
        if self.last_event != -1 and self.last_event < self.first_event:
            problems.append(
                f"last_event={self.last_event}: expected -1 (no end) or a clock >= first_event={self.first_event}"
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
        """The schedule of a run of `num_steps` optimizer steps, its clocks given as fractions of the run.

        The frequency is max(1, round(frequency * num_steps)) steps. Every clock is then snapped to the nearest
        multiple of it, halves upwards, so that the ramp is a whole number of periods (what learning-rate rewinding
        needs) and its end is itself an event. The defaults are the scale-free form of the pre-training configuration
        in the authors' release: 100,000 steps give ramp 0 to 50,000, events every 1,000 steps up to 80,000.
        Raises ValueError when, after snapping, the ramp is empty, the events stop before the ramp does, the last
        event is not inside the run, or no event reaches the final sparsity.
        """
        if num_steps < 1:
            raise ValueError(f"num_steps={num_steps}: expected at least 1 optimizer step.")
        if not 0 < frequency <= 1:
            raise ValueError(f"frequency={frequency}: expected a fraction of the run in (0, 1].")
        period = max(1, round(frequency * num_steps))
        begin, end, first, last = (
            _snap(fraction * num_steps, period) for fraction in (ramp_begin, ramp_end, first_event, last_event)
        )
        run = f"num_steps={num_steps}, events every {period} steps"
        if end <= begin:
            raise ValueError(
                f"{run}: ramp_begin={ramp_begin} and ramp_end={ramp_end} snap to clocks {begin} and {end}, an empty "
                "ramp. Train longer, put the two further apart or lower frequency."
            )
        if last < end:
            raise ValueError(
                f"{run}: last_event={last_event} snaps to clock {last}, before the ramp ends at clock {end}. "
                "Raise last_event or lower ramp_end."
            )
        if last >= num_steps:
            raise ValueError(
                f"{run}: last_event={last_event} snaps to clock {last}, but the last clock of the run is "
                f"{num_steps - 1}. Lower last_event or train longer."
            )
        if first > last:
            raise ValueError(
                f"{run}: first_event={first_event} snaps to clock {first}, after last_event at clock {last}. "
                "Lower first_event."
            )
        schedule = cls(
            initial_sparsity=initial_sparsity,
            final_sparsity=final_sparsity,
            ramp_begin=begin,
            ramp_end=end,
            first_event=first,
            last_event=last,
            frequency=period,
        )
        schedule.check_reaches_final(num_steps)
        return schedule

    def sparsity_at(self, clock: int) -> float:
        """Scheduled sparsity at a clock, in [initial_sparsity, final_sparsity].

        s(t) = s_i + (s_f - s_i) * (1 - clip((1 - (t - t0) / (t1 - t0))^3, 0, 1)): fast first, slow last, constant
        outside the ramp (cubic schedule of Zhu and Gupta 2017, as used by Prune OFA).
        Never decreases and never exceeds final_sparsity, rounding included.
        """
        remaining = 1 - (clock - self.ramp_begin) / (self.ramp_end - self.ramp_begin)
        done = 1 - min(max(remaining**3, 0.0), 1.0)
        return min(self.initial_sparsity + (self.final_sparsity - self.initial_sparsity) * done, self.final_sparsity)

    def is_event(self, clock: int) -> bool:
        """Whether masks are recomputed at this clock, that is after optimizer step clock + 1."""
        if clock < self.first_event or (self.last_event != -1 and clock > self.last_event):
            return False
        return (clock - self.first_event) % self.frequency == 0

    def event_clocks(self, num_steps: int) -> list[int]:
        """Clocks of all events in a run of `num_steps` optimizer steps (clocks 0 to num_steps - 1), ascending."""
        end = num_steps if self.last_event == -1 else min(num_steps, self.last_event + 1)
        return list(range(self.first_event, end, self.frequency))

    def check_reaches_final(self, num_steps: int) -> None:
        """Raises ValueError unless some event of a run of `num_steps` steps prunes to final_sparsity."""
        if not any(clock >= self.ramp_end for clock in self.event_clocks(num_steps)[-1:]):
            raise ValueError(
                f"num_steps={num_steps}: no event fires between ramp_end={self.ramp_end} and the end "
                f"(first_event={self.first_event}, last_event={self.last_event}, frequency={self.frequency}), so "
                f"final_sparsity={self.final_sparsity} is never reached. Train longer, lower ramp_end or raise "
                "last_event."
            )


def _snap(clock: float, period: int) -> int:
    """Nearest multiple of `period`, halves upwards; the slack keeps 0.29 * 100 = 28.999999999999996 at 29."""
    return math.floor(clock / period + 0.5 + 1e-9) * period
