"""`harness grid`: axes to cells to stages, and running what is not done."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from harness.catalogue import BUILT_IN, get_method
from harness.commands.status import state_table
from harness.errors import UsageError, unknown_name
from harness.executors import run_in_process
from harness.grid import Axes, Grid, expand
from harness.identity import ContentHashes
from harness.models import find_models
from harness.plan import Inputs, ModelIdentity, Plan, plan_cells
from harness.processes import local_snapshot
from harness.recipes import Recipe, load_preset
from harness.state import read_states, to_run
from harness.store import Store
from harness.study import check_name, merged, write_study
from harness.tasks import TASKS, Task, get_task
from harness.verification import verified_records
from harness.worker import Resources, Sources

if TYPE_CHECKING:
    from harness.data.places import DataPlace

if TYPE_CHECKING:
    from harness.data.places import DataPlace

EXECUTORS = ("debug", "local", "slurm")
AVAILABLE_EXECUTORS = ("debug",)


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 all is done (or planned, with --dry-run), 1 a stage failed, 4 some stages run elsewhere.

    Raises UsageError, Interrupted.
    """
    store = Store(Path(options.store))
    hashes = ContentHashes(store.root / "content_hashes.json")
    request = _read(options, hashes)
    plan = plan_cells(request.grid.cells, request.recipe, request.inputs)
    for assignment in _without_effect(options, request, plan):
        print(f"note: --set {assignment} changes nothing in this grid.", file=sys.stderr)
    study = merged(store, options.study or request.recipe.preset, request.recipe, plan)
    states = read_states(plan, store, local_snapshot(plan, store))
    if options.dry_run and options.json:
        print(json.dumps(plan_as_json(study.name, plan, states), indent=1))
    else:
        print(plan_as_text(study.name, plan, states, request.grid), file=sys.stderr if options.json else sys.stdout)
    if options.dry_run:
        for sentence in request.missing:
            print(f"warning: {sentence}", file=sys.stderr)
        return 0
    if request.missing:
        raise UsageError(list(request.missing))
    write_study(store, study)
    hashes.remember()
    return _execute(options, store, study.name, plan, request)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for, checked: the cells, the recipe, where models and data are, what is not here yet."""

    grid: Grid
    recipe: Recipe
    inputs: Inputs
    sources: Sources
    resources: Resources
    missing: tuple[str, ...]


def _without_effect(options: argparse.Namespace, request: Request, plan: Plan) -> list[str]:
    """Assignments that no stage of the grid reads (or that give a key the value it has)."""
    idle = []
    for position, assignment in enumerate(options.set):
        others = load_preset(options.preset).changed([a for i, a in enumerate(options.set) if i != position])
        if plan_cells(request.grid.cells, others, request.inputs).stages.keys() == plan.stages.keys():
            idle.append(assignment)
    return idle


def _execute(options: argparse.Namespace, store: Store, study: str, plan: Plan, request: Request) -> int:
    verified_records(plan, store)
    with _progress_on(sys.stderr):
        outcome = run_in_process(
            plan, store, request.sources, request.resources, lambda line: print(line, file=sys.stderr, flush=True)
        )
    if options.json:
        print(json.dumps({"study": study, **asdict(outcome)}))
    else:
        print(f"{len(outcome.done)} stages done, {len(outcome.failed)} failed, {len(outcome.blocked)} blocked.")
        if outcome.elsewhere:
            print(f"{len(outcome.elsewhere)} run in another process; the same command goes on when they are done.")
        elif not outcome.failed:
            print(f"next: harness tables --store {options.store} --study {study}")
    if outcome.failed:
        return 1
    return 4 if outcome.elsewhere else 0


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


def _read(options: argparse.Namespace, hashes: ContentHashes) -> Request:
    """Everything the user wrote, checked together. Raises UsageError with every problem found."""
    problems: list[str] = []

    def attempt(action: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return action()
        except UsageError as error:
            problems.extend(error.problems)
            return otherwise

    recipe = attempt(lambda: load_preset(options.preset), None)
    if recipe is not None:
        base = recipe
        recipe = attempt(lambda: base.changed(options.set), base)
    found = find_models(_words(options.models), hashes)
    problems += found.problems
    axes = Axes(
        models=[word.partition("=")[0] for word in _words(options.models)],
        methods=None if options.methods is None else _words(options.methods),
        sparsities=attempt(lambda: _numbers("--sparsities", options.sparsities, float), None),
        tasks=None if options.tasks is None else _words(options.tasks),
        quantization=None if options.quantization is None else _words(options.quantization),
        seeds=attempt(lambda: _numbers("--seeds", options.seeds, int), None),
        pruning_seeds=attempt(lambda: _numbers("--pruning-seeds", options.pruning_seeds, int), (0,)),
    )
    if options.study:
        attempt(lambda: check_name(options.study), None)
    problems += axes.problems()
    resources = attempt(lambda: _resources(options.resource), {})
    if options.executor not in EXECUTORS:
        problems.append(unknown_name("executor", options.executor, AVAILABLE_EXECUTORS))
    elif options.executor not in AVAILABLE_EXECUTORS:
        problems.append(
            f"executor {options.executor!r} is not in this version; use --executor {AVAILABLE_EXECUTORS[0]}."
        )
    place = attempt(lambda: _place(options.data or (recipe.data if recipe else None), hashes), None)
    tasks, needs_corpus = _reads(axes, recipe)
    if place is not None:
        problems += place.problems(tasks, corpus=needs_corpus)
    if problems or recipe is None or place is None:
        raise UsageError(problems)
    grid = expand(axes, recipe)
    identities = {a: ModelIdentity(weights=m.weights, tokenizer=m.tokenizer) for a, m in found.models.items()}
    return Request(
        grid=grid,
        recipe=recipe,
        inputs=Inputs(models=identities, data=place.identities(tasks, corpus=needs_corpus)),
        sources=Sources(models=found.models, data=place),
        resources=Resources(**resources),
        missing=(*found.missing, *place.missing(tasks, corpus=needs_corpus)),
    )


def _place(data: str | None, hashes: ContentHashes) -> DataPlace:
    from harness.data.places import FolderPlace, HubPlace

    if data is None:
        raise UsageError("--data is missing: give a folder with TASK/SPLIT.parquet in the hub's schema, or hub.")
    if data == "synthetic":
        raise UsageError("--data synthetic is not in this version; give a folder in the hub's schema, or hub.")
    return HubPlace() if data == "hub" else FolderPlace(Path(data), hashes)


def _reads(axes: Axes, recipe: Recipe | None) -> tuple[list[Task], bool]:
    """The known tasks a grid names, and whether one of its methods needs the corpus."""
    named = axes.tasks or (recipe.tasks if recipe else ())
    methods = axes.methods or (row.method for row in (recipe.rows if recipe else ()))
    needs_corpus = any(get_method(name).prunes_in_pretraining for name in methods if name in BUILT_IN)
    return [get_task(name) for name in dict.fromkeys(named) if name in TASKS], needs_corpus


def plan_as_text(name: str, plan: Plan, states: Mapping[str, str], grid: Grid) -> str:
    """The plan for people: counts by kind and state, and what was dropped."""
    lines = [f"study {name}: {len(plan.paths)} cells, {len(plan.stages)} stages, {len(to_run(plan, states))} to run"]
    lines.append(state_table(plan, states))
    lines += [f"dropped: {reason}" for reason in grid.dropped]
    return "\n".join(lines)


def plan_as_json(name: str, plan: Plan, states: Mapping[str, str]) -> dict[str, Any]:
    """The public form of a plan: cells with their stages, stages with their parents and state, counts."""
    return {
        "study": name,
        "cells": [{**cell.as_json(), "stages": list(path)} for cell, path in plan.paths.items()],
        "stages": [
            {"id": stage_id, "kind": spec.kind, "parents": list(spec.parents.values()), "state": states[stage_id]}
            for stage_id, spec in plan.stages.items()
        ],
        "counts": {"cells": len(plan.paths), "stages": plan.counts(), "to_run": len(to_run(plan, states))},
    }


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(option: str, text: str | None, kind: type) -> list[Any] | None:
    if text is None:
        return None
    numbers, problems = [], []
    for word in _words(text):
        try:
            numbers.append(kind(word))
        except ValueError:
            expected = "a whole number" if kind is int else "a number"
            problems.append(f"{option} {word}: expected {expected}.")
    if problems:
        raise UsageError(problems)
    return numbers


def _resources(assignments: list[str]) -> dict[str, float]:
    values: dict[str, float] = {}
    problems = []
    for text in assignments:
        key, _, raw = text.partition("=")
        if key != "checkpoint_minutes":
            problems.append(f"--resource {text}: " + unknown_name("resource", key, ["checkpoint_minutes"]))
            continue
        try:
            values[key] = float(raw)
        except ValueError:
            problems.append(f"--resource {text}: expected a number of minutes.")
    if problems:
        raise UsageError(problems)
    return values
