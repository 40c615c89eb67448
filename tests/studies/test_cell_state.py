"""The state of a cell: which of its stages decides."""

from __future__ import annotations

import pytest
from grid_world import plan

from harness.planning.graph import Plan
from harness.studies.activity import Activity
from harness.studies.cell_state import CellState, cell_states
from harness.studies.state import plan_states


@pytest.fixture(scope="module")
def planned() -> Plan:
    """Five cells of a model and a task: dense; fine-tune pruning; prune-ofa without and with distillation, and int8."""
    return plan(tasks=["sst2"])


def all_states(planned: Plan, **of_kind: str) -> dict[str, str]:
    """Every stage done, but for those of the kinds named and what depends on them: pending, or blocked by a failure."""
    states: dict[str, str] = {}
    for stage_id, spec in planned.stages.items():
        parents = [states[parent] for parent in spec.parents.values()]
        states[stage_id] = of_kind.get(spec.kind, "done")
        if spec.kind not in of_kind and any(parent in ("failed", "cancelled", "blocked") for parent in parents):
            states[stage_id] = "blocked"
        elif spec.kind not in of_kind and any(parent != "done" for parent in parents):
            states[stage_id] = "pending"
    return states


def told(planned: Plan, states: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Method and precision -> the cell's state, and the kind of the stage that decides."""
    return {
        f"{cell.method} {cell.quantization}": (found.state, planned.stages[found.stage].kind if found.stage else "")
        for cell, found in cell_states(planned, states).items()
    }


NAMES = ("dense none", "finetune-pruning none", "prune-ofa-no-kd none", "prune-ofa none", "prune-ofa int8")


def expected(*found: str | tuple[str, str]) -> dict[str, tuple[str, str]]:
    return {name: (each, "") if isinstance(each, str) else each for name, each in zip(NAMES, found, strict=True)}


@pytest.mark.parametrize(
    ("of_kind", "found"),
    [
        ({}, ["done"] * 5),
        ({"evaluation": "pending"}, ["pending"] * 5),
        # Its own stage runs, or an own stage waits; that others' stages run above it is another matter.
        (
            {"transfer": "running", "evaluation": "queued"},
            [("queued", "evaluation"), ("queued", "evaluation"), *[("running", "transfer")] * 3],
        ),
        (
            {"student_pruning": "running", "transfer": "queued", "quantization": "queued", "evaluation": "queued"},
            [("queued", "evaluation"), ("queued", "evaluation"), *[("queued", "transfer")] * 3],
        ),
        ({"student_pruning": "running"}, ["done", "done", "pending", "pending", "pending"]),
        # Its own model failed, or one that it starts from or learns from.
        ({"transfer": "failed"}, ["done", "done", *[("failed", "transfer")] * 3]),
        ({"quantization": "cancelled"}, ["done"] * 4 + [("cancelled", "quantization")]),
        ({"student_pruning": "failed"}, ["done", "done", *[("blocked", "student_pruning")] * 3]),
        (
            {"dense": "failed"},
            [("failed", "dense"), ("blocked", "dense"), "done", ("blocked", "dense"), ("blocked", "dense")],
        ),
    ],
)
def test_the_stage_that_decides(planned: Plan, of_kind: dict[str, str], found: list[str]) -> None:
    assert told(planned, all_states(planned, **of_kind)) == expected(*found)


def test_a_failure_above_a_finished_stage_blocks_nothing(planned: Plan) -> None:
    """The teacher's record is gone and its second try failed; the transfer that learned from it is done."""
    states = {i: "failed" if spec.kind == "dense" else "done" for i, spec in planned.stages.items()}
    found = told(planned, states)
    assert found["prune-ofa none"] == ("done", "")
    assert found["dense none"] == ("done", "")  # its evaluation has a record


def test_a_failure_comes_before_what_still_runs(planned: Plan) -> None:
    states = all_states(planned, student_pruning="failed", dense="running")
    assert told(planned, states)["prune-ofa none"] == ("blocked", "student_pruning")


def test_every_cell_has_a_state(planned: Plan) -> None:
    found = cell_states(planned, plan_states(planned, (), {}, Activity()))
    assert found == dict.fromkeys(planned.paths, CellState("pending"))
