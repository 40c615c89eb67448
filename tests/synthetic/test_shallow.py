"""What the surface of a row tells in three worlds, and that the dense tiny encoders know more.

About twelve minutes on two cores: a minute a world for the shallow learners, and some three for the encoders.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import shallow
import shallow_answers

import harness
from harness.cli import main as cli
from harness.synthetic import source
from harness.synthetic.encoders import ENCODERS
from harness.synthetic.page import CEILINGS

WORLDS = (0, 1, 7)
MARGIN = 8  # points from a ceiling to the dense tiny encoders


@pytest.mark.slow
@pytest.mark.parametrize("task", [*CEILINGS])
@pytest.mark.parametrize("world", WORLDS)
def test_no_shallow_learner_passes_the_stated_ceiling(world: int, task: str) -> None:
    train, validation = (source.rows(task, split, world) for split in source.SPLITS[task])
    reached = shallow_answers.reached if task == "squad" else lambda *tables: shallow.reached(task, *tables)
    found = max(reached(train, validation), key=lambda each: each.percent)
    assert found.percent <= CEILINGS[task][0], found


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_the_dense_tiny_encoders_are_well_above_the_ceilings(world: int, tmp_path: Path) -> None:
    """Both shapes, one seed, the preset as shipped."""
    arguments = ["grid", "--preset", "quick", "--data", f"synthetic:{world}", "--methods", "dense", "--seeds", "0"]
    arguments += ["--models", ",".join(ENCODERS)]
    assert cli.main([*arguments, "--tasks", ",".join(CEILINGS), "--store", str(tmp_path), "--workers", "2"]) == 0
    frame = harness.records(tmp_path)
    frame = frame[frame["metric"].isin(["accuracy", "exact_match"])]
    assert len(frame) == len(ENCODERS) * len(CEILINGS)
    short = {
        (row.model, row.task): row.value for row in frame.itertuples() if row.value < CEILINGS[row.task][0] + MARGIN
    }
    assert not short
