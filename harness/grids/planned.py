"""A grid that makes sense, with its plan and what there is to do; and its start."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TextIO

from harness.errors import UsageError, system_problem
from harness.execution.display import display_on
from harness.execution.executors import run_in_process, run_locally
from harness.execution.hardware import this_machine
from harness.execution.outcome import Outcome
from harness.grids.estimate import Estimate, check_limit, estimate
from harness.grids.memory import memory_problems
from harness.grids.request import Asked, Request, read_request, words
from harness.grids.workload import read_timings
from harness.inputs.content_hashes import ContentHashes
from harness.planning.graph import Plan
from harness.planning.planner import plan_cells
from harness.planning.presets import load_preset
from harness.store.store import Store
from harness.studies.state import Work, local_snapshot, read_cancelled, read_states, work
from harness.studies.state_table import state_table
from harness.studies.study import add_to_study, check_recipe
from harness.studies.verification import gone_artifacts, verified_records


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A grid that makes sense, with its plan; nothing has run. What the command line and `harness.api` start from."""

    asked: Asked
    store: Store
    study: str
    request: Request
    plan: Plan
    hashes: ContentHashes

    def outlook(self) -> Outlook:
        """What there is to do in the store as it is now."""
        states = read_states(self.plan, self.store, local_snapshot(self.plan, self.store))
        found = work(self.plan, states, read_cancelled(states, self.store))
        missing = [*self.request.missing, *gone_artifacts(self.plan, found.waiting, self.store)]
        missing += memory_problems(self.plan, found.waiting, self.request.world.shapes, this_machine().memory_bytes)
        return Outlook(states, found, tuple(missing), estimated(self.plan, found.waiting, self.store, self.request))


@dataclass(frozen=True)
class Outlook:
    """The states of a plan's stages at one moment. missing: a sentence for each thing that keeps it from running."""

    states: Mapping[str, str]
    found: Work
    missing: tuple[str, ...]
    cost: Estimate


def planned_grid(asked: Asked, store: Store) -> Planned:
    """Reads, checks and plans; writes nothing. Raises UsageError with every problem found."""
    store.check_is_folder()
    hashes = ContentHashes(store.content_hashes_path)
    request = read_request(asked, hashes)
    name = asked.study or request.preset.name
    check_recipe(store, name, request.preset)
    plan = plan_cells(request.grid.cells, request.preset.recipe, request.inputs, request.grid.methods)
    return Planned(asked=asked, store=store, study=name, request=request, plan=plan, hashes=hashes)


def start(planned: Planned, outlook: Outlook, *, executor: str, workers: int | None) -> Outcome:
    """Write the study and run what is not done, telling on standard error how far it is.

    Raises UsageError when something is missing or it costs more than allowed, Interrupted on a signal.
    """
    plan, store, request = planned.plan, planned.store, planned.request
    if outlook.missing:
        raise UsageError(outlook.missing)
    check_limit(outlook.cost, request.max_hours)
    try:
        if outlook.found.waiting:
            store.check_writable()
        add_to_study(store, planned.study, request.preset, plan)
    except OSError as error:
        raise UsageError(f"nothing was started: {system_problem(error)}") from None
    planned.hashes.remember()
    verified_records(plan, store)
    if executor == "debug":
        with _progress_on(sys.stderr):
            return run_in_process(
                plan, store, request.sources, request.resources, lambda line: print(line, file=sys.stderr, flush=True)
            )
    with display_on(sys.stderr) as display:
        return run_locally(plan, store, request.sources, request.resources, workers, display)


def without_effect(planned: Planned) -> list[str]:
    """Assignments that no stage of the grid reads (or that give a key the value it has).

    No recipe key tells seeds apart, so one cell of those that differ in nothing else stands for all of them.
    """
    assigned, request = list(planned.asked.set), planned.request
    if not assigned:
        return []
    cells = {replace(cell, seed=0, pruning_seed=0): None for cell in request.grid.cells}
    base = load_preset(planned.asked.preset, words(planned.asked.methods or "")).recipe

    def stages(assignments: list[str]) -> Set[str]:
        try:
            return plan_cells(cells, base.changed(assignments), request.inputs, request.grid.methods).stages.keys()
        except UsageError:  # without it the recipe lacks a value: it has an effect
            return frozenset()

    as_asked = stages(assigned)
    others = [[a for i, a in enumerate(assigned) if i != position] for position in range(len(assigned))]
    return [idle for idle, rest in zip(assigned, others, strict=True) if stages(rest) == as_asked]


def estimated(plan: Plan, waiting: Sequence[str], store: Store, request: Request) -> Estimate:
    """The cost on this machine of the stages that wait."""
    timings = read_timings(plan, store, waiting, request.world.shapes)
    return estimate(plan, waiting, request.world, timings, this_machine())


def cancelled_note(count: int) -> str:
    stages = "stage is" if count == 1 else "stages are"
    return f"{count} {stages} cancelled and not started (harness retry WHAT lifts it)."


@contextmanager
def _progress_on(stream: TextIO) -> Iterator[None]:
    """The stages' own progress lines, indented under the line that announces the stage."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("    %(message)s"))
    logger = logging.getLogger("harness")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def plan_as_text(planned: Planned, outlook: Outlook) -> str:
    """The plan for people: counts by kind and state, what is cancelled, what was dropped, and what it costs."""
    plan, found = planned.plan, outlook.found
    lines = [f"study {planned.study}: {len(plan.paths)} cells, {len(plan.stages)} stages, {len(found.waiting)} to run"]
    lines.append(state_table(plan, outlook.states))
    lines += [cancelled_note(len(found.cancelled))] if found.cancelled else []
    lines += [f"dropped: {reason}" for reason in planned.request.grid.dropped]
    lines += ["", outlook.cost.as_text()]
    return "\n".join(lines)


def plan_as_json(planned: Planned, outlook: Outlook) -> dict[str, Any]:
    """The public form of a plan: cells with their stages, stages with their parents and state, counts, estimate."""
    plan, states = planned.plan, outlook.states
    return {
        "study": planned.study,
        "cells": [{**cell.as_json(), "stages": list(path)} for cell, path in plan.paths.items()],
        "stages": [
            {"id": stage_id, "kind": spec.kind, "parents": list(spec.parents.values()), "state": states[stage_id]}
            for stage_id, spec in plan.stages.items()
        ],
        "counts": {"cells": len(plan.paths), "stages": plan.counts(), "to_run": len(outlook.found.waiting)},
        "estimate": outlook.cost.as_json(),
    }
