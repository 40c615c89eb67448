"""Learning-rate factors, against sequences worked out by hand and the transformers library."""

import pytest
import torch
from transformers import get_linear_schedule_with_warmup

from harness.compression.learning_rate import check_rewinding, cyclic_factor, linear_factor, rewound_factor


@pytest.mark.oracle("O13")
def test_saw_tooth_of_a_twenty_step_run() -> None:
    expected = [0, 0.5, 1, 0.875, 0.75, 1.25, 1.125, 1, 0.875, 0.75]
    expected += [1.25, 1.125, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0]
    factors = [
        rewound_factor(step, num_steps=20, warmup_steps=2, ramp_begin=0, ramp_end=10, frequency=5) for step in range(21)
    ]
    assert factors == pytest.approx(expected)


@pytest.mark.oracle("O14")
@pytest.mark.parametrize(
    ("step", "factor"),
    [
        (500, 0.5),
        (1000, 50_000 / 49_000),
        (1999, 49_001 / 49_000),
        (2000, 50_000 / 49_000),
        (50_000, 50_000 / 49_000),
        (75_000, 25_000 / 49_000),
        (100_000, 0),
    ],
)
def test_pretraining_holds_the_peak_then_decays(step: int, factor: float) -> None:
    found = rewound_factor(step, num_steps=100_000, warmup_steps=1000, ramp_begin=0, ramp_end=50_000, frequency=1000)
    assert found == pytest.approx(factor, abs=1e-12)


@pytest.mark.oracle("O15")
@pytest.mark.parametrize(
    ("step", "factor"), [(0, 1.0), (1400, 0.772506), (1500, 0.772506), (10_000, 0.772506), (1499, 0.756419)]
)
def test_question_answering_decays_before_the_ramp_begins(step: int, factor: float) -> None:
    found = rewound_factor(step, num_steps=14_754, warmup_steps=0, ramp_begin=1400, ramp_end=10_000, frequency=100)
    assert found == pytest.approx(factor, abs=5e-7)


@pytest.mark.oracle("O16")
def test_a_scaled_down_run_with_the_shipped_ramp_is_refused() -> None:
    words = r"num_steps=10000: expected more than ramp \+ warm-up = 50000 \+ 100 steps; give the ramp as a fraction"
    with pytest.raises(ValueError, match=words):
        check_rewinding(10_000, 100, 0, 50_000, 1000)
    with pytest.raises(ValueError, match=words):
        rewound_factor(5, num_steps=10_000, warmup_steps=100, ramp_begin=0, ramp_end=50_000, frequency=1000)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((50_500, 600, 0, 50_000, 1000), "expected more than ramp"),
        ((50_600, 600, 0, 50_000, 1000), "expected more than ramp"),
        ((100, 51, 0, 50, 10), "warmup_steps=51: expected 0 <= warmup_steps <= ramp_end=50"),
        ((100, -1, 0, 50, 10), "warmup_steps=-1"),
        ((100, 1, 0, 50, 7), "frequency=7: expected a divisor of the ramp's 50 steps; snap ramp_begin and ramp_end"),
        ((100, 1, 0, 50, 0), "frequency=0: expected a divisor"),
        ((100, 1, 30, 30, 1), "expected 0 <= ramp_begin < ramp_end"),
    ],
)
def test_broken_rewinding_schedules_are_refused(arguments: tuple[int, int, int, int, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_rewinding(*arguments)


def test_well_formed_rewinding_schedules_pass() -> None:
    check_rewinding(100_000, 1000, 0, 50_000, 1000)
    check_rewinding(14_754, 0, 1400, 10_000, 100)
    check_rewinding(50_601, 600, 0, 50_000, 1000)


def test_a_rewind_at_every_step_holds_the_rate_flat_during_the_ramp() -> None:
    factors = {
        rewound_factor(step, num_steps=100, warmup_steps=0, ramp_begin=20, ramp_end=60, frequency=1)
        for step in range(20, 61)
    }
    assert factors == {40 / 60}


@pytest.mark.parametrize(("num_steps", "warmup_steps"), [(20, 0), (20, 3), (7, 7)])
def test_linear_factor_is_the_schedule_of_transformers(num_steps: int, warmup_steps: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = get_linear_schedule_with_warmup(optimizer, warmup_steps, num_steps)
    for step in range(num_steps + 3):
        assert linear_factor(step, num_steps=num_steps, warmup_steps=warmup_steps) == scheduler.get_last_lr()[0]
        optimizer.step()
        scheduler.step()


def test_a_negative_step_is_refused() -> None:
    with pytest.raises(ValueError, match="expected step >= 0"):
        linear_factor(-1, num_steps=10, warmup_steps=0)
    with pytest.raises(ValueError, match="expected step >= 0"):
        rewound_factor(-1, num_steps=20, warmup_steps=2, ramp_begin=0, ramp_end=10, frequency=5)


# -- a short run again and again


def test_the_rate_of_a_short_run_is_repeated_with_its_warm_up() -> None:
    """12 steps in three runs of 4, warm-up 3 in all, so 1 each: 0, 1, 2/3, 1/3, three times; 0 at the end."""
    factors = [cyclic_factor(step, num_steps=12, warmup_steps=3, num_cycles=3) for step in range(13)]
    assert factors == pytest.approx([0, 1, 2 / 3, 1 / 3] * 3 + [0])


def test_without_warm_up_every_run_begins_at_the_peak() -> None:
    factors = [cyclic_factor(step, num_steps=10, warmup_steps=0, num_cycles=5) for step in range(11)]
    assert factors == [1, 0.5] * 5 + [0]


def test_runs_that_do_not_divide_the_steps_differ_by_one_step_at_most() -> None:
    """10 steps in 4: they begin at 0, 2.5, 5 and 7.5, rounded 0, 2, 5 and 8 (halves to even)."""
    factors = [cyclic_factor(step, num_steps=10, warmup_steps=0, num_cycles=4) for step in range(10)]
    assert factors == pytest.approx([1, 1 / 2, 1, 2 / 3, 1 / 3, 1, 2 / 3, 1 / 3, 1, 1 / 2])


def test_one_cycle_is_the_linear_schedule() -> None:
    for step in range(21):
        linear = linear_factor(step, num_steps=20, warmup_steps=4)
        assert cyclic_factor(step, num_steps=20, warmup_steps=4, num_cycles=1) == linear


@pytest.mark.parametrize(("num_steps", "num_cycles"), [(10, 0), (3, 4)])
def test_cycles_without_a_step_are_refused(num_steps: int, num_cycles: int) -> None:
    with pytest.raises(ValueError, match=f"num_cycles={num_cycles}, num_steps={num_steps}: expected 1 <= num_cycles"):
        cyclic_factor(0, num_steps=num_steps, warmup_steps=0, num_cycles=num_cycles)
