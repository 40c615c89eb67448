"""Pruning in cycles: the published events and rates, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from harness.compression.cycles import PruningCycles

PUBLISHED: dict[str, Any] = {
    "final_sparsity": 0.9,
    "first_sparsity": 0.7,
    "first_event": 2 / 30,
    "last_event": 26 / 30,
    "num_events": 7,
    "cycle_end": 0.1,
}


def cycles(num_steps: int = 300, **changed: Any) -> PruningCycles:
    return PruningCycles.from_fractions(num_steps=num_steps, **{**PUBLISHED, **changed})


@pytest.mark.oracle("O42")
@pytest.mark.parametrize("steps_per_epoch", [1, 10, 11_067])
def test_the_published_events_of_thirty_epochs(steps_per_epoch: int) -> None:
    made = cycles(30 * steps_per_epoch)
    assert [event / steps_per_epoch for event in made.events] == [2, 6, 10, 14, 18, 22, 26]
    assert made.sparsities == pytest.approx([0.7, 0.784, 0.841, 0.875, 0.893, 0.899, 0.9], abs=5e-4)
    assert made.sparsities[-1] == 0.9
    assert [made.sparsity_after(2 * steps_per_epoch), made.sparsity_after(2 * steps_per_epoch + 1)] == [0.7, None]


def test_the_published_events_upstream_are_one_a_quarter_epoch_and_the_first_follows_the_first_step() -> None:
    made = cycles(1200, first_event=0.0, last_event=2.75 / 3, num_events=12)
    assert made.events == (1, *range(100, 1101, 100))


def test_the_published_rates() -> None:
    """8e-5 to 8e-6 over epochs 0 to 2, then over every four; of ten steps an epoch."""
    made = cycles()
    rates = [8e-5 * made.factor(step, warmup_steps=0) for step in range(300)]
    assert rates[:21] == pytest.approx([*(8e-5 - 7.2e-5 * step / 20 for step in range(20)), 8e-5])
    cycle = [8e-5 - 7.2e-5 * step / 40 for step in range(40)]
    assert rates[20:] == pytest.approx(cycle * 7)
    assert made.factor(300, warmup_steps=0) == pytest.approx(0.1)  # asked for once more by the library, at the end


def test_warm_up_goes_before_the_cycles() -> None:
    made = cycles()
    assert [made.factor(step, warmup_steps=60) for step in (0, 20, 30, 59)] == [0, 20 / 60, 0.5, 59 / 60]
    assert [made.factor(step, warmup_steps=60) for step in (60, 80)] == [1, pytest.approx(0.55)]


def test_another_final_sparsity_has_the_same_form() -> None:
    """To 0.8 from 0.7: a half of the way in sparsity of seven eighths at the fourth of seven events."""
    made = cycles(final_sparsity=0.8)
    assert (made.sparsities[0], made.sparsities[-1]) == (pytest.approx(0.7), 0.8)
    assert made.sparsities[3] == pytest.approx(0.8 - 0.1 / 8)
    assert cycles(final_sparsity=0.5).sparsities == (0.5,) * 7
    assert cycles(num_events=1).sparsities == (0.9,)
    for final in (0.29, 0.7, 0.85, 0.97):
        found = cycles(final_sparsity=final).sparsities
        assert list(found) == sorted(found)
        assert found[-1] == final


@pytest.mark.parametrize(
    ("num_steps", "changed", "words"),
    [
        (6, {}, "fall on steps 1, 1, 2, 3, 4, 4, 5: .* Train longer, or take fewer events"),
        (300, {"last_event": 1.0}, "after the last"),
        (300, {"num_events": 0}, "num_events=0"),
        (300, {"last_event": 0.0}, "between each two"),
    ],
)
def test_events_that_do_not_fit_the_run_are_refused(num_steps: int, changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cycles(num_steps, **changed)
