"""`harness grid`: axes to cells to stages, and running what is not done."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

from harness.commands.request import Request, read_request
from harness.commands.status import state_table
from harness.display import display_on
from harness.errors import UsageError, system_problem
from harness.estimate import Estimate, check_limit, estimate
from harness.executors import run_in_process, run_locally
from harness.grid import Grid
from harness.hardware import this_machine
from harness.identity import ContentHashes
from harness.plan import Plan, plan_cells
from harness.processes import local_snapshot
from harness.recipes import load_preset
from harness.state import Work, read_cancelled, read_states, work
from harness.store import Store
from harness.study import check_recipe, merged, write_study
from harness.verification import gone_artifacts, verified_records
from harness.workload import read_timings


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 all is done (or planned, with --dry-run), 1 a stage failed or is cancelled, 4 some run elsewhere.

    Raises UsageError, Interrupted.
    """
    store = Store(Path(options.store))
    store.check_is_folder()
    hashes = ContentHashes(store.content_hashes_path)
    request = read_request(options, hashes)
    name = options.study or request.recipe.preset
    check_recipe(store, name, request.recipe)
    plan = plan_cells(request.grid.cells, request.recipe, request.inputs)
    for assignment in _without_effect(options, request):
        print(f"note: --set {assignment} changes nothing in this grid.", file=sys.stderr)
    states = read_states(plan, store, local_snapshot(plan, store))
    found = work(plan, states, read_cancelled(states, store))
    missing = [*request.missing, *gone_artifacts(plan, found.waiting, store)]
    cost = estimated(plan, found.waiting, store, request)
    if options.dry_run and options.json:
        print(json.dumps(plan_as_json(name, plan, states, found, cost), indent=1))
    else:
        told = plan_as_text(name, plan, states, found, request.grid, cost)
        print(told, file=sys.stderr if options.json else sys.stdout)
    if options.dry_run:
        for sentence in missing:
            print(f"warning: {sentence}", file=sys.stderr)
        return 0
    if missing:
        raise UsageError(missing)
    check_limit(cost, request.max_hours)
    try:
        if found.waiting:
            store.check_writable()
        write_study(store, merged(store, name, request.recipe, plan))
    except OSError as error:
        raise UsageError(f"nothing was started: {system_problem(error)}") from None
    hashes.remember()
    return _execute(options, store, name, plan, request)


def _without_effect(options: argparse.Namespace, request: Request) -> list[str]:
    """Assignments that no stage of the grid reads (or that give a key the value it has).

    No recipe key tells seeds apart, so one cell of those that differ in nothing else stands for all of them.
    """
    if not options.set:
        return []
    cells = {replace(cell, seed=0, pruning_seed=0): None for cell in request.grid.cells}
    base = load_preset(options.preset)

    def stages(assignments: list[str]) -> Set[str]:
        return plan_cells(cells, base.changed(assignments), request.inputs).stages.keys()

    as_asked = stages(options.set)
    others = [[a for i, a in enumerate(options.set) if i != position] for position in range(len(options.set))]
    return [idle for idle, rest in zip(options.set, others, strict=True) if stages(rest) == as_asked]


def estimated(plan: Plan, waiting: Sequence[str], store: Store, request: Request) -> Estimate:
    """The cost on this machine of the stages that wait."""
    timings = read_timings(plan, store, waiting, request.world.shapes)
    return estimate(plan, waiting, request.world, timings, this_machine())


def _execute(options: argparse.Namespace, store: Store, study: str, plan: Plan, request: Request) -> int:
    verified_records(plan, store)
    if options.executor == "debug":
        with _progress_on(sys.stderr):
            outcome = run_in_process(
                plan, store, request.sources, request.resources, lambda line: print(line, file=sys.stderr, flush=True)
            )
    else:
        with display_on(sys.stderr) as display:
            outcome = run_locally(plan, store, request.sources, request.resources, options.workers, display)
    if options.json:
        print(json.dumps({"study": study, **asdict(outcome)}))
    else:
        print(f"{len(outcome.done)} stages done, {len(outcome.failed)} failed, {len(outcome.blocked)} blocked.")
        if outcome.elsewhere:
            print(f"{len(outcome.elsewhere)} run in another process; the same command goes on when they are done.")
        elif not outcome.failed and not outcome.cancelled:
            print(f"next: harness tables --store {options.store} --study {study}")
        if outcome.cancelled:
            print(_cancelled(len(outcome.cancelled)))
    if outcome.failed or outcome.cancelled:
        return 1
    return 4 if outcome.elsewhere else 0


def _cancelled(count: int) -> str:
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


def plan_as_text(name: str, plan: Plan, states: Mapping[str, str], found: Work, grid: Grid, cost: Estimate) -> str:
    """The plan for people: counts by kind and state, what is cancelled, what was dropped, and what it costs."""
    lines = [f"study {name}: {len(plan.paths)} cells, {len(plan.stages)} stages, {len(found.waiting)} to run"]
    lines.append(state_table(plan, states))
    lines += [_cancelled(len(found.cancelled))] if found.cancelled else []
    lines += [f"dropped: {reason}" for reason in grid.dropped]
    lines += ["", cost.as_text()]
    return "\n".join(lines)


def plan_as_json(name: str, plan: Plan, states: Mapping[str, str], found: Work, cost: Estimate) -> dict[str, Any]:
    """The public form of a plan: cells with their stages, stages with their parents and state, counts, estimate."""
    return {
        "study": name,
        "cells": [{**cell.as_json(), "stages": list(path)} for cell, path in plan.paths.items()],
        "stages": [
            {"id": stage_id, "kind": spec.kind, "parents": list(spec.parents.values()), "state": states[stage_id]}
            for stage_id, spec in plan.stages.items()
        ],
        "counts": {"cells": len(plan.paths), "stages": plan.counts(), "to_run": len(found.waiting)},
        "estimate": cost.as_json(),
    }
