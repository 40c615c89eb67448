"""Learning-rate factors per step: linear with warm-up, repeated, and linear with rewinding while pruning.

A factor multiplies the peak rate. `step` counts scheduler steps taken so far: the rate of optimizer step n (1-based)
is peak * factor(n - 1). Pure functions of integers; the optimizer belongs to the training loop.
"""

from __future__ import annotations

from bisect import bisect_right


def linear_factor(step: int, *, num_steps: int, warmup_steps: int) -> float:
    """Linear rise from 0 to 1 over `warmup_steps`, then linear decay to 0 at `num_steps`; in [0, 1].

    Equal to the linear schedule with warm-up of the transformers library.
    Raises ValueError on a negative step or unless 0 <= warmup_steps and 1 <= num_steps.
    """
    _check_steps(step, num_steps, warmup_steps)
    if step < warmup_steps:
        return step / max(1, warmup_steps)
    return max(0.0, (num_steps - step) / max(1, num_steps - warmup_steps))


def cyclic_factor(step: int, *, num_steps: int, warmup_steps: int, num_cycles: int) -> float:
    """A run cut into `num_cycles` short ones, each with the whole schedule of `linear_factor`; in [0, 1].

    Cycle i takes steps round(i * num_steps / num_cycles) to those of i + 1, halves to even. Its warm-up is its share of
    warmup_steps, rounded up. One cycle is `linear_factor`; at num_steps, where the last has ended, the factor is 0.
    Raises ValueError on a negative step, or unless 0 <= warmup_steps and 1 <= num_cycles <= num_steps.
    """
    _check_steps(step, num_steps, warmup_steps)
    if not 1 <= num_cycles <= num_steps:
        raise ValueError(f"num_cycles={num_cycles}, num_steps={num_steps}: expected 1 <= num_cycles <= num_steps.")
    if step >= num_steps:
        return 0.0
    starts = [round(i * num_steps / num_cycles) for i in range(num_cycles + 1)]
    cycle = bisect_right(starts, step) - 1
    length = starts[cycle + 1] - starts[cycle]
    return linear_factor(step - starts[cycle], num_steps=length, warmup_steps=-(-warmup_steps // num_cycles))


def rewound_factor(
    step: int, *, num_steps: int, warmup_steps: int, ramp_begin: int, ramp_end: int, frequency: int
) -> float:
    """Factor of the learning-rate-rewinding schedule (Prune OFA; formula of the authors' release).

    While the sparsity ramp runs, steps ramp_begin to ramp_end, the rate decays linearly and jumps back every
    `frequency` steps; the rest of the run is one linear decay, as if the ramp took no steps. With D the steps outside
    the ramp and d = D - warmup_steps:

        step / warmup_steps                                                    step < warmup_steps
        (D - step) / d                                                         warmup_steps <= step < ramp_begin
        (D - step + frequency * floor((step - ramp_begin) / frequency)) / d    ramp_begin <= step < ramp_end
        (num_steps - step) / d                                                 step >= ramp_end

    floored at 0. Warm-up has priority, even inside the ramp. Every rewind returns to (D - ramp_begin) / d, above 1
    exactly when ramp_begin < warmup_steps, and the decay after ramp_end starts from that same value.
    Raises ValueError as `check_rewinding` does, and on a negative step.
    """
    check_rewinding(num_steps, warmup_steps, ramp_begin, ramp_end, frequency)
    _check_steps(step, num_steps, warmup_steps)
    if step < warmup_steps:
        return step / warmup_steps
    steps_outside_ramp = num_steps - (ramp_end - ramp_begin)
    decay_steps = steps_outside_ramp - warmup_steps
    if step >= ramp_end:
        remaining = num_steps - step
    elif step < ramp_begin:
        remaining = steps_outside_ramp - step
    else:
        remaining = steps_outside_ramp - step + frequency * ((step - ramp_begin) // frequency)
    return max(0.0, remaining / decay_steps)


def check_rewinding(num_steps: int, warmup_steps: int, ramp_begin: int, ramp_end: int, frequency: int) -> None:
    """Raises ValueError, every problem in one message, unless the rewinding schedule is well formed.

    Wanted: num_steps > (ramp_end - ramp_begin) + warmup_steps, warmup_steps <= ramp_end, and frequency dividing the
    ramp. Without the first the rate is 0 after warm-up or runs to hundreds of times its peak: what an absolute
    schedule does when only the number of steps is scaled down.
    """
    problems = []
    ramp = ramp_end - ramp_begin
    if ramp_begin < 0 or ramp <= 0:
        problems.append(f"ramp_begin={ramp_begin}, ramp_end={ramp_end}: expected 0 <= ramp_begin < ramp_end")
    if warmup_steps < 0 or warmup_steps > ramp_end:
        problems.append(
            f"warmup_steps={warmup_steps}: expected 0 <= warmup_steps <= ramp_end={ramp_end}; shorten the warm-up"
        )
    if num_steps <= ramp + warmup_steps:
        problems.append(
            f"num_steps={num_steps}: expected more than ramp + warm-up = {ramp} + {warmup_steps} steps; give the ramp "
            "as a fraction of the run, or train longer"
        )
    if frequency < 1 or ramp % frequency:
        problems.append(
            f"frequency={frequency}: expected a divisor of the ramp's {ramp} steps; snap ramp_begin and ramp_end to "
            "multiples of it"
        )
    if problems:
        raise ValueError("learning-rate rewinding: " + "; ".join(problems) + ".")


def _check_steps(step: int, num_steps: int, warmup_steps: int) -> None:
    if step < 0 or num_steps < 1 or warmup_steps < 0:
        raise ValueError(
            f"step={step}, num_steps={num_steps}, warmup_steps={warmup_steps}: expected step >= 0, num_steps >= 1 "
            "and warmup_steps >= 0."
        )
