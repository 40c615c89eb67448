"""How much longer a run takes, told from what its stages took; worked by hand."""

from __future__ import annotations

import pytest
from grid_world import of_kind, plan

from harness.execution.pace import Pace, done_line
from harness.planning.graph import Plan


@pytest.fixture
def planned() -> Plan:
    return plan(models=["one", "two"], methods=["dense"], tasks=["sst2", "squad"], seeds=[1, 2])


def stages(planned: Plan, kind: str, model: str, task: str) -> list[str]:
    return [
        stage_id
        for stage_id, spec in of_kind(planned, kind).items()
        if planned.base_model(spec) == model and spec.parameters["task"] == task
    ]


def test_the_beginning_says_nothing(planned: Plan) -> None:
    pace = Pace(planned, dict.fromkeys(planned.stages, 60.0))
    assert pace.left(planned.stages, {}, 2) is None
    assert pace.left([], {}, 2) == 0


def test_stages_of_the_same_kind_model_and_task_are_the_measure_then_those_of_the_same_model(planned: Plan) -> None:
    pace = Pace(planned)
    first, second = stages(planned, "dense", "one", "sst2")
    other, _ = stages(planned, "dense", "one", "squad")
    pace.took(first, 10.0)
    assert pace.expected(second) == pace.expected(other) == 10.0
    pace.took(other, 50.0)
    assert pace.expected(second) == 10.0
    assert pace.left([second], {}, 2) == 10.0
    (foreign, _) = stages(planned, "dense", "two", "sst2")
    assert pace.expected(foreign) is None, "another model may take any time"
    assert pace.left([second, foreign], {}, 2) is None


def test_another_models_stages_are_scaled_by_the_estimate(planned: Plan) -> None:
    first, second = stages(planned, "dense", "one", "sst2")
    (foreign, _) = stages(planned, "dense", "two", "sst2")
    pace = Pace(planned, {first: 4.0, second: 4.0, foreign: 12.0})
    pace.took(first, 10.0)  # two and a half times the estimate
    assert pace.expected(foreign) == 30.0
    (unknown, _) = stages(planned, "evaluation", "one", "sst2")
    assert pace.left([foreign, unknown], {}, 1) is None, "of it there is no estimate"


def test_a_kind_that_was_not_measured_is_scaled_like_all_that_was_once_that_is_enough(planned: Plan) -> None:
    first, second = stages(planned, "dense", "one", "sst2")
    (unknown, _) = stages(planned, "evaluation", "one", "sst2")
    little = Pace(planned, {first: 4.0, second: 90.0, unknown: 6.0})
    little.took(first, 10.0)
    assert little.expected(unknown) is None, "4 of 100 seconds are too few"
    enough = Pace(planned, {first: 5.0, second: 89.0, unknown: 6.0})
    enough.took(first, 10.0)
    assert enough.expected(unknown) == 12.0, "twice the estimate, as the other"
    assert enough.left([unknown, second], {}, 2) == 12.0, "the second is expected to take what the first took"


def test_running_stages_count_what_is_left_of_them_and_stages_run_side_by_side(planned: Plan) -> None:
    pace = Pace(planned)
    first, second = stages(planned, "dense", "one", "sst2")
    squad = stages(planned, "dense", "one", "squad")
    pace.took(first, 10.0)
    pace.took(squad[0], 40.0)
    assert pace.left([], {second: 4.0}, 2) == 6.0
    assert pace.left([], {second: 400.0}, 2) == 0.0
    assert pace.left([second, *squad], {}, 3) == 40.0, "no sooner than the longest"
    assert pace.left([second, *squad], {}, 1) == 90.0


def test_the_line_of_a_stage_that_is_done() -> None:
    label = "transfer tiny-wide sst2 0.85 seed 1"
    told = done_line(label, 65.0, 12, 53, 200.0)
    assert told == "[12/53] transfer tiny-wide sst2 0.85 seed 1: done in 1 min 05 s; about 3 min left"
    assert done_line(label, 65.0, 1, 53, None) == "[1/53] transfer tiny-wide sst2 0.85 seed 1: done in 1 min 05 s"
    assert done_line(label, 8.0, 53, 53, 2.0) == done_line(label, 8.0, 53, 53, 0.0)
    assert done_line(label, 8.0, 53, 53, 0.0) == "[53/53] transfer tiny-wide sst2 0.85 seed 1: done in 8 s"
