"""What a user asked of a grid: the words of the command line, read and checked together."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.catalogue import BUILT_IN, get_method
from harness.errors import UsageError, unknown_name
from harness.grid import Axes, Grid, expand
from harness.identity import ContentHashes
from harness.models import find_models
from harness.plan import Inputs, ModelIdentity
from harness.recipes import Recipe, load_preset
from harness.shapes import Shape, shape_of
from harness.study import check_name
from harness.tasks import TASKS, Task, get_task
from harness.worker import Resources, Sources
from harness.workload import World

if TYPE_CHECKING:
    from harness.data.places import DataPlace

EXECUTORS = ("debug", "local", "slurm")
AVAILABLE_EXECUTORS = ("debug",)

T = TypeVar("T")


@dataclass
class Reading:
    """Collects every problem of a command line instead of stopping at the first."""

    problems: list[str] = field(default_factory=list)

    def attempt(self, action: Callable[[], T], otherwise: T) -> T:
        """The action's value, or `otherwise` with its problems noted."""
        try:
            return action()
        except UsageError as error:
            self.problems.extend(error.problems)
            return otherwise

    def check(self) -> None:
        """Raises UsageError with all that was noted."""
        if self.problems:
            raise UsageError(self.problems)


@dataclass(frozen=True, kw_only=True)
class Request:
    """A grid that makes sense: its cells, the recipe, where models and data are, and what is not here yet.

    world: how large models and data are. max_hours: what --max-gpu-hours allows; None: it was not given.
    """

    grid: Grid
    recipe: Recipe
    inputs: Inputs
    sources: Sources
    resources: Resources
    missing: tuple[str, ...]
    world: World
    max_hours: float | None


def read_request(options: argparse.Namespace, hashes: ContentHashes) -> Request:
    """Everything the user wrote, checked together. Raises UsageError with every problem found."""
    reading = Reading()
    recipe = read_recipe(options, reading)
    found = find_models(words(options.models), hashes)
    reading.problems += found.problems
    axes = read_axes(options, reading)
    if options.study:
        reading.attempt(lambda: check_name(options.study), None)
    resources: dict[str, float] = reading.attempt(lambda: _resources(options.resource), dict[str, float]())
    reading.problems += _executor_problems(options.executor)
    place = reading.attempt(lambda: _place(options.data or (recipe.data if recipe else None), hashes), None)
    tasks, needs_corpus = reads(axes, recipe)
    if place is not None:
        reading.problems += place.problems(tasks, corpus=needs_corpus)
    read = {alias: reading.attempt(partial(shape_of, model), None) for alias, model in found.models.items()}
    shapes: dict[str, Shape] = {alias: shape for alias, shape in read.items() if shape is not None}
    max_hours = reading.attempt(lambda: _max_hours(options.max_gpu_hours), None)
    reading.check()
    assert recipe is not None
    assert place is not None
    identities = {a: ModelIdentity(weights=m.weights, tokenizer=m.tokenizer) for a, m in found.models.items()}
    return Request(
        grid=expand(axes, recipe),
        recipe=recipe,
        inputs=Inputs(models=identities, data=place.identities(tasks, corpus=needs_corpus)),
        sources=Sources(models=found.models, data=place),
        resources=Resources(**resources),
        missing=(*found.missing, *place.missing(tasks, corpus=needs_corpus)),
        world=World(shapes=shapes, sizes=place.sizes(tasks, corpus=needs_corpus)),
        max_hours=max_hours,
    )


def read_recipe(options: argparse.Namespace, reading: Reading) -> Recipe | None:
    """The preset with `--set` applied; None when there is no such preset."""
    base: Recipe | None = reading.attempt(lambda: load_preset(options.preset), None)
    if base is None:
        return None
    return reading.attempt(lambda: base.changed(options.set), base)


def read_axes(options: argparse.Namespace, reading: Reading) -> Axes:
    """The axes as written; their problems are noted."""
    pruning_seeds = _numbers("--pruning-seeds", options.pruning_seeds, int, reading)
    axes = Axes(
        models=[word.partition("=")[0] for word in words(options.models)],
        methods=None if options.methods is None else words(options.methods),
        sparsities=_numbers("--sparsities", options.sparsities, float, reading),
        tasks=None if options.tasks is None else words(options.tasks),
        quantization=None if options.quantization is None else words(options.quantization),
        seeds=_numbers("--seeds", options.seeds, int, reading),
        pruning_seeds=(0,) if pruning_seeds is None else pruning_seeds,
    )
    reading.problems += axes.problems()
    return axes


def reads(axes: Axes, recipe: Recipe | None) -> tuple[list[Task], bool]:
    """The known tasks a grid names, and whether one of its methods needs the corpus."""
    named = axes.tasks or (recipe.tasks if recipe else ())
    methods = axes.methods or (row.method for row in (recipe.rows if recipe else ()))
    needs_corpus = any(get_method(name).prunes_in_pretraining for name in methods if name in BUILT_IN)
    return [get_task(name) for name in dict.fromkeys(named) if name in TASKS], needs_corpus


def words(text: str) -> list[str]:
    """Comma-separated words, stripped, without empty ones."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _place(data: str | None, hashes: ContentHashes) -> DataPlace:
    from harness.data.places import FolderPlace, HubPlace

    if data is None:
        raise UsageError("--data is missing: give a folder with TASK/SPLIT.parquet in the hub's schema, or hub.")
    if data == "synthetic":
        raise UsageError("--data synthetic is not in this version; give a folder in the hub's schema, or hub.")
    return HubPlace() if data == "hub" else FolderPlace(Path(data), hashes)


def _executor_problems(name: str) -> list[str]:
    if name not in EXECUTORS:
        return [unknown_name("executor", name, AVAILABLE_EXECUTORS)]
    if name not in AVAILABLE_EXECUTORS:
        return [f"executor {name!r} is not in this version; use --executor {AVAILABLE_EXECUTORS[0]}."]
    return []


def _numbers(option: str, text: str | None, kind: type, reading: Reading) -> list[Any] | None:
    """The numbers that can be read; a problem for every word that is none. None where none was given or readable."""
    if text is None:
        return None
    numbers = []
    for word in words(text):
        try:
            numbers.append(kind(word))
        except ValueError:
            expected = "a whole number" if kind is int else "a number"
            reading.problems.append(f"{option} {word}: expected {expected}.")
    return numbers if numbers or not words(text) else None


def _max_hours(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        hours = float(text)
    except ValueError:
        hours = -1.0
    if not 0 < hours < float("inf"):
        raise UsageError(f"--max-gpu-hours {text}: expected a number of hours above 0.")
    return hours


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
            continue
        if not 0 <= values[key] < float("inf"):
            problems.append(f"--resource {text}: expected a number of minutes, 0 or more.")
    if problems:
        raise UsageError(problems)
    return values
