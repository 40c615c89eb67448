"""The state of every cell of a plan, from the states of its stages. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from harness.planning.graph import Plan
from harness.specs import Cell

STOPPED = ("failed", "cancelled")


class CellState(NamedTuple):
    """state: one of `state.STATES`. stage: the one that makes it so; "" for a cell that is done or pending.

    failed, cancelled, running, queued: a stage of the cell's own model is. blocked: another stage that the cell needs,
    such as its teacher or the model that it starts from, failed or is cancelled.
    """

    state: str
    stage: str = ""


DONE, PENDING = CellState("done"), CellState("pending")


def cell_states(plan: Plan, states: Mapping[str, str]) -> dict[Cell, CellState]:
    """The state of every cell. states: of every stage of the plan."""
    return {cell: _state(plan, path, states) for cell, path in plan.paths.items()}


def _state(plan: Plan, path: tuple[str, ...], states: Mapping[str, str]) -> CellState:
    if states[path[-1]] == "done":
        return DONE
    unfinished = _unfinished(plan, path, states)
    own = _own(plan, path[-1])
    for stage_id in unfinished:
        if states[stage_id] in STOPPED:
            return CellState(states[stage_id] if stage_id in own else "blocked", stage_id)
    for state in ("running", "queued"):
        for stage_id in unfinished:
            if stage_id in own and states[stage_id] == state:
                return CellState(state, stage_id)
    return PENDING


def _unfinished(plan: Plan, path: tuple[str, ...], states: Mapping[str, str]) -> list[str]:
    """The stages that must still end for the cell to be done, parents first."""
    needed, found = {path[-1]}, []
    for stage_id in reversed(path):
        if stage_id in needed and states[stage_id] != "done":
            found.append(stage_id)
            needed.update(plan.stages[stage_id].parents.values())
    return found[::-1]


def _own(plan: Plan, end: str) -> set[str]:
    """The stages that make the cell's own model and score it: from the first that trains it on the cell's task."""
    line = [end]
    while (parent := plan.stages[line[-1]].parents.get("model", "")) in plan.stages:
        line.append(parent)
    with_task = [number for number, stage_id in enumerate(line) if "task" in plan.stages[stage_id].parameters]
    return {end, *line[: with_task[-1] + 1 if with_task else 1]}
