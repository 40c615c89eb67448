"""The cubic ramp and its mask updates, against values worked out by hand for the published configurations."""

from typing import Any

import pytest
import torch
from torch import nn

from harness.compression.schedule import PruningSchedule
from harness.compression.sparsify import attach_masks, update_masks

PRETRAINING: dict[str, Any] = {
    "ramp_begin": 0,
    "ramp_end": 50_000,
    "first_event": 0,
    "last_event": 80_000,
    "frequency": 1000,
}


@pytest.mark.oracle("O1")
@pytest.mark.parametrize(
    ("step", "sparsity"),
    [
        (0, 0.0),
        (1000, 0.0529272),
        (10_000, 0.4392),
        (25_000, 0.7875),
        (40_000, 0.8928),
        (49_000, 0.8999928),
        (50_000, 0.9),
        (80_000, 0.9),
        (100_000, 0.9),
    ],
)
def test_ramp_to_90_percent(step: int, sparsity: float) -> None:
    assert PruningSchedule(final_sparsity=0.9, **PRETRAINING).sparsity_at(step) == pytest.approx(sparsity, abs=1e-9)


@pytest.mark.oracle("O1")
def test_ramp_to_85_percent() -> None:
    schedule = PruningSchedule(final_sparsity=0.85, **PRETRAINING)
    values = [schedule.sparsity_at(step) for step in (1000, 10_000, 25_000, 40_000)]
    assert values == pytest.approx([0.0499868, 0.4148, 0.74375, 0.8432], abs=5e-8)


@pytest.mark.oracle("O1")
@pytest.mark.parametrize("final", [0.1, 0.3, 0.7, 0.85, 0.9, 0.95])
def test_ramp_never_falls_and_never_passes_its_target(final: float) -> None:
    schedule = PruningSchedule(final_sparsity=final, initial_sparsity=0.05, ramp_begin=7, ramp_end=971, frequency=1)
    values = [schedule.sparsity_at(step) for step in range(1100)]
    assert values == sorted(values)
    assert values[0] == 0.05
    assert max(values) == values[971] == final


@pytest.mark.oracle("O2")
def test_zeros_after_each_step_of_a_sixteen_step_ramp() -> None:
    schedule = PruningSchedule(final_sparsity=0.9, ramp_end=10, last_event=16, frequency=5)
    model = nn.Sequential(nn.Linear(10, 10, bias=False))
    attach_masks(model, ["0"])
    zeros_after_step, updated_after = {}, []
    for step in range(1, 21):
        if schedule.updates_masks_at(step - 1):
            update_masks(model, schedule.sparsity_at(step - 1))
            updated_after.append(step)
        zeros_after_step[step] = int((model[0].weight == 0).sum())
    assert updated_after == [1, 6, 11, 16]
    assert [zeros_after_step[step] for step in range(1, 21)] == [0] * 5 + [78] * 5 + [90] * 10


@pytest.mark.oracle("O3")
def test_pretraining_has_81_mask_updates_and_a_frozen_mask_at_the_end() -> None:
    schedule = PruningSchedule(final_sparsity=0.9, **PRETRAINING)
    steps = schedule.mask_update_steps(100_000)
    assert len(steps) == 81
    assert (steps[0], steps[-1]) == (0, 80_000)
    assert steps == [step for step in range(100_000) if schedule.updates_masks_at(step)]
    assert not schedule.updates_masks_at(81_000)
    assert not any(schedule.updates_masks_at(step) for step in range(80_001, 100_000))
    assert sum(schedule.sparsity_at(step) == 0.9 for step in steps) == 31


def test_without_a_last_event_pruning_goes_on_to_the_end() -> None:
    schedule = PruningSchedule(final_sparsity=0.9, ramp_end=4, first_event=1, frequency=3)
    assert schedule.mask_update_steps(12) == [1, 4, 7, 10]
    assert schedule.updates_masks_at(10**6)


def test_fractions_of_100000_steps_are_the_shipped_configuration() -> None:
    assert PruningSchedule.from_fractions(final_sparsity=0.9, num_steps=100_000) == PruningSchedule(
        final_sparsity=0.9, **PRETRAINING
    )


def test_fractions_of_the_question_answering_run_are_the_shipped_steps() -> None:
    schedule = PruningSchedule.from_fractions(
        final_sparsity=0.85,
        num_steps=14_754,
        ramp_begin=0.095,
        ramp_end=0.68,
        first_event=0.095,
        last_event=0.81,
        frequency=0.0068,
    )
    assert schedule == PruningSchedule(
        final_sparsity=0.85, ramp_begin=1400, ramp_end=10_000, first_event=1400, last_event=12_000, frequency=100
    )


@pytest.mark.parametrize("num_steps", [3, 10, 37, 99, 150, 1234, 36_816])
def test_snapped_steps_are_multiples_of_the_frequency_near_their_fraction(num_steps: int) -> None:
    schedule = PruningSchedule.from_fractions(final_sparsity=0.9, num_steps=num_steps)
    for step, fraction in ((schedule.ramp_end, 0.5), (schedule.last_event, 0.8)):
        assert step % schedule.frequency == 0
        assert abs(step - fraction * num_steps) <= schedule.frequency / 2
    last = schedule.mask_update_steps(num_steps)[-1]
    assert schedule.sparsity_at(last) == 0.9


def test_halves_snap_upwards() -> None:
    schedule = PruningSchedule.from_fractions(final_sparsity=0.9, num_steps=100, frequency=0.1, ramp_end=0.45)
    assert (schedule.frequency, schedule.ramp_end) == (10, 50)


def test_schedule_reads_the_same_whatever_torch_draws() -> None:
    torch.manual_seed(0)
    first = PruningSchedule.from_fractions(final_sparsity=0.9, num_steps=1000)
    torch.manual_seed(1)
    assert first == PruningSchedule.from_fractions(final_sparsity=0.9, num_steps=1000)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"final_sparsity": 85}, "for 85 percent write 0.85"),
        ({"final_sparsity": 0.3, "initial_sparsity": 0.5}, "0 <= initial <= final"),
        ({"ramp_end": 0}, "expected 0 <= ramp_begin < ramp_end"),
        ({"frequency": 0}, "expected at least 1 step between two mask updates"),
        ({"first_event": -1}, "expected a pruning step >= 0"),
        ({"first_event": 5, "last_event": 4}, "last_event=4: expected -1"),
    ],
)
def test_impossible_schedules_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PruningSchedule(**({"final_sparsity": 0.9, "ramp_end": 10, "frequency": 2} | change))


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(ValueError, match=r"final_sparsity=1\.0.*ramp_end=0.*frequency=0"):
        PruningSchedule(final_sparsity=1.0, ramp_end=0, frequency=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_steps": 1}, "num_steps=1.*last pruning step of the run is 0. Lower last_event or train longer"),
        ({"num_steps": 0}, "expected at least 1 optimizer step"),
        ({"frequency": 0.0}, r"frequency=0.0: expected a fraction of the run in \(0, 1\]"),
        ({"ramp_begin": 0.5}, "snap to steps 50 and 50, an empty ramp"),
        ({"last_event": 0.4}, "before the ramp ends at step 50. Raise last_event or lower ramp_end"),
        ({"last_event": 1.0}, "the last pruning step of the run is 99. Lower last_event"),
        ({"first_event": 0.9}, "first_event=0.9 snaps to step 90, after last_event"),
        ({"final_sparsity": 1.0}, "0 <= initial <= final < 1"),
    ],
)
def test_fractions_that_miss_the_target_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PruningSchedule.from_fractions(**({"final_sparsity": 0.9, "num_steps": 100} | change))


def test_every_misfit_of_the_fractions_is_reported_at_once() -> None:
    with pytest.raises(ValueError, match="mask updates every 1 steps: ") as refused:
        PruningSchedule.from_fractions(
            final_sparsity=0.9, num_steps=100, ramp_begin=0.6, ramp_end=0.5, first_event=0.9, last_event=0.4
        )
    said = str(refused.value)
    assert "snap to steps 60 and 50, an empty ramp." in said
    assert "last_event=0.4 snaps to step 40, before the ramp ends at step 50." in said
    assert "first_event=0.9 snaps to step 90, after last_event at step 40." in said
    assert said.count("num_steps=100") == 1


def test_a_run_shorter_than_its_ramp_is_refused() -> None:
    schedule = PruningSchedule(final_sparsity=0.9, **PRETRAINING)
    schedule.check_reaches_final(100_000)
    schedule.check_reaches_final(50_001)
    with pytest.raises(ValueError, match=r"final_sparsity=0\.9 is never reached\. Train longer"):
        schedule.check_reaches_final(50_000)
