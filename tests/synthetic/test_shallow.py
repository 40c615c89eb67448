"""What the surface of a row tells in three worlds.

That the dense tiny encoders know more is held in tests/end_to_end/test_quick_as_shipped.py and tests/results.
"""

from __future__ import annotations

import pytest
import shallow_reached

from harness.synthetic.page import CEILINGS

LEARNERS, RECORDED = shallow_reached.read()
CASES = [(world, task) for world in shallow_reached.WORLDS for task in CEILINGS]
AS_BEFORE = 1.0  # points, from one version of scikit-learn to another


def test_every_task_of_every_world_is_recorded() -> None:
    assert sorted(RECORDED) == sorted(CASES)


def test_the_learners_are_those_that_were_recorded() -> None:
    assert shallow_reached.learners() == LEARNERS, "they changed: make shallow"


@pytest.mark.parametrize(("world", "task"), CASES)
def test_no_shallow_learner_passes_the_stated_ceiling(world: int, task: str) -> None:
    recorded = RECORDED[world, task]
    assert shallow_reached.rows_digest(task, world) == recorded.rows, "the generator's rows changed: make shallow"
    assert recorded.best.percent <= CEILINGS[task][0], recorded


@pytest.mark.slow
@pytest.mark.parametrize("task", [*CEILINGS])
def test_the_learners_reach_what_is_recorded(task: str) -> None:
    found, recorded = shallow_reached.best(task, 0), RECORDED[0, task].best
    assert found.percent == pytest.approx(recorded.percent, abs=AS_BEFORE)
    assert found.percent <= CEILINGS[task][0]
