"""Pruning in a few large steps, each followed by a whole cycle of the learning rate (oBERT, Kurtic et al. 2022).

Steps count optimizer steps. An event at n comes after optimizer step n (1-based) and is first seen by step n + 1, whose
learning rate is the peak again. Pure functions of numbers; what an event does to a model is in `second_order`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PruningCycles:
    """When weights are pruned and to which sparsity, and the learning rate's factor in between.

    events: after which optimizer steps, ascending, within the run. sparsities: at each, never sinking.
    cycle_end: the factor that a cycle falls to, a share of the peak in [0, 1].
    """

    num_steps: int
    events: tuple[int, ...]
    sparsities: tuple[float, ...]
    cycle_end: float

    @classmethod
    def from_fractions(
        cls,
        *,
        num_steps: int,
        final_sparsity: float,
        first_sparsity: float,
        first_event: float,
        last_event: float,
        num_events: int,
        cycle_end: float,
    ) -> PruningCycles:
        """`num_events` events at equal distances, given as fractions of a run of `num_steps` optimizer steps.

        Each is rounded to the nearest step, halves upwards; one at the very start comes after the first step. The
        sparsity goes from first_sparsity to final_sparsity by a cubic, fast first:

            s_k = s_f + (s_1 - s_f) (1 - (k - 1) / (num_events - 1))^3

        which is the published 0.7, 0.784, 0.841, 0.875, 0.893, 0.899, 0.9 for seven events to 0.9. A final sparsity
        below first_sparsity is reached at the first event; a single event reaches it too.
        Raises ValueError where two events fall on one step, or the last one is not followed by a step.
        """
        last = max(num_events - 1, 1)
        fractions = [first_event + (last_event - first_event) * k / last for k in range(num_events)]
        events = tuple(max(1, math.floor(fraction * num_steps + 0.5 + 1e-9)) for fraction in fractions)
        if not events or len({*events}) < len(events) or events[-1] >= num_steps or list(events) != sorted(events):
            raise ValueError(
                f"num_events={num_events} from first_event={first_event:g} to last_event={last_event:g} of {num_steps} "
                f"steps fall on steps {', '.join(map(str, events))}: expected one step or more between each two and "
                "after the last. Train longer, or take fewer events."
            )
        first = min(first_sparsity, final_sparsity) if num_events > 1 else final_sparsity
        ramp = [final_sparsity + (first - final_sparsity) * (1 - k / last) ** 3 for k in range(num_events)]
        sparsities = (*ramp[:-1], final_sparsity)
        return cls(num_steps=num_steps, events=events, sparsities=sparsities, cycle_end=cycle_end)

    def sparsity_after(self, step: int) -> float | None:
        """The sparsity to prune to after optimizer step `step`; None: no event."""
        return self.sparsities[self.events.index(step)] if step in self.events else None

    def factor(self, step: int, *, warmup_steps: int) -> float:
        """Multiple of the peak rate with which optimizer step `step` + 1 is made.

        From 1 linearly to cycle_end between two events, before the first and after the last. Warm-up goes before, over
        whatever cycles there are: step / warmup_steps.
        """
        if step < warmup_steps:
            return step / warmup_steps
        borders = (0, *self.events, self.num_steps)
        begin = min(bisect_right(borders, step), len(borders) - 1) - 1
        share = (step - borders[begin]) / (borders[begin + 1] - borders[begin])
        return 1 - (1 - self.cycle_end) * min(share, 1.0)
