"""What the surface of a row tells in three worlds: a minute for each.

That the dense tiny encoders know more is held in tests/end_to_end/test_quick_as_shipped.py and tests/results.
"""

from __future__ import annotations

import pytest
import shallow
import shallow_answers

from harness.synthetic import source
from harness.synthetic.page import CEILINGS

WORLDS = (0, 1, 7)


@pytest.mark.slow
@pytest.mark.parametrize("task", [*CEILINGS])
@pytest.mark.parametrize("world", WORLDS)
def test_no_shallow_learner_passes_the_stated_ceiling(world: int, task: str) -> None:
    train, validation = (source.rows(task, split, world) for split in source.SPLITS[task])
    reached = shallow_answers.reached if task == "squad" else lambda *tables: shallow.reached(task, *tables)
    found = max(reached(train, validation), key=lambda each: each.percent)
    assert found.percent <= CEILINGS[task][0], found
