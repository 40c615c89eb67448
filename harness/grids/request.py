"""What a user asked of a grid: the words of the command line (or of `harness.api`), read and checked together."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from harness.errors import UsageError, unknown_name
from harness.execution.executors import execution_problems
from harness.grids.workload import World
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.models import BaseModel, FoundModels, find_models
from harness.inputs.shapes import Shape, shape_of
from harness.inputs.sparse_checkpoints import OwnCheckpoints, ReleasedCheckpoint, find_own, locate_released
from harness.planning.graph import Inputs, ModelIdentity
from harness.planning.grid import Axes, Grid, expand
from harness.planning.method_needs import needs
from harness.planning.method_registry import get_method, is_method
from harness.planning.presets import Preset, load_preset
from harness.stages.context import Resources, Sources
from harness.studies.study import check_name
from harness.tasks import TASKS, Task, get_task

if TYPE_CHECKING:
    from harness.inputs.data_sources import DataPlace


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
        """Raises UsageError with all that was noted, each problem once."""
        if self.problems:
            raise UsageError([*dict.fromkeys(self.problems)])


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A grid in the user's words, nothing checked yet: one field for each option of `harness grid` that shapes it.

    Axes are comma-separated words. None: not said.
    """

    models: str | None = None
    methods: str | None = None
    sparsities: str | None = None
    tasks: str | None = None
    quantization: str | None = None
    seeds: str | None = None
    pruning_seeds: str = "0"
    preset: str = "paper"
    data: str | None = None
    set: Sequence[str] = ()
    sparse_from: Sequence[str] = ()
    study: str | None = None
    executor: str = "local"
    workers: int | None = None
    resource: Sequence[str] = ()
    max_gpu_hours: str | None = None


def asked(options: argparse.Namespace) -> Asked:
    """What the command line says. A verb that has not all the options leaves the others as they are."""
    said = vars(options)
    return Asked(**{each.name: said[each.name] for each in fields(Asked) if each.name in said})


@dataclass(frozen=True, kw_only=True)
class Request:
    """A grid that makes sense: its cells, the preset, where models and data are, and what is not here yet.

    world: how large models and data are. max_hours: what --max-gpu-hours allows; None: it was not given.
    """

    grid: Grid
    preset: Preset
    inputs: Inputs
    sources: Sources
    resources: Resources
    missing: tuple[str, ...]
    world: World
    max_hours: float | None


def read_request(options: Asked, hashes: ContentHashes) -> Request:
    """Everything the user wrote, checked together. Raises UsageError with every problem found."""
    reading = Reading()
    preset = read_preset(options, reading)
    found = find_models(read_models(options, preset), hashes)
    reading.problems += found.problems
    own = _own_checkpoints(options, found, hashes)
    reading.problems += own.problems
    axes = read_axes(options, reading, preset, own)
    if options.study:
        reading.attempt(partial(check_name, options.study), None)
    resources: dict[str, Any] = reading.attempt(lambda: _resources(options.resource), dict[str, Any]())
    reading.problems += execution_problems(options.executor, options.workers)
    place = reading.attempt(lambda: _place(options.data or (preset.data if preset else None), hashes), None)
    tasks, needs_corpus = reads(axes, preset, reading, found.models.values())
    if place is not None:
        reading.problems += place.problems(tasks, corpus=needs_corpus)
        reading.problems += _foreign_words(found.models.values(), place)
    read = {alias: reading.attempt(partial(shape_of, model), None) for alias, model in found.models.items()}
    shapes: dict[str, Shape] = {alias: shape for alias, shape in read.items() if shape is not None}
    max_hours = reading.attempt(lambda: _max_hours(options.max_gpu_hours), None)
    reading.check()
    assert preset is not None
    assert place is not None
    identities = {
        alias: ModelIdentity(weights=model.weights, tokenizer=model.tokenizer, pretrained=model.pretrained)
        for alias, model in found.models.items()
    }
    grid = expand(axes, preset)
    released, not_cached = locate_released(released_for(grid, preset))
    checkpoints = {checkpoint.identity: checkpoint for checkpoint in (*own.found.values(), *released)}
    return Request(
        grid=grid,
        preset=preset,
        inputs=Inputs(
            models=identities,
            data=place.identities(tasks, corpus=needs_corpus),
            sparse_from={name: checkpoint.identity for name, checkpoint in own.found.items()},
            released=preset.released,
        ),
        sources=Sources(models=found.models, data=place, checkpoints=checkpoints),
        resources=Resources(**resources),
        missing=(*found.missing, *not_cached, *place.missing(tasks, corpus=needs_corpus)),
        world=World(shapes=shapes, sizes=place.sizes(tasks, corpus=needs_corpus)),
        max_hours=max_hours,
    )


def _foreign_words(models: Iterable[BaseModel], place: DataPlace) -> list[str]:
    """What is wrong with encoders whose vocabulary is the synthetic world's where the data are others."""
    from harness.inputs.data_sources import SyntheticPlace

    return [
        f"model {model.alias!r} knows the words of the synthetic world alone; of other data nearly every word is "
        "unknown to it. Expected --data synthetic, or another model (harness ls models, or NAME=DIR)."
        for model in models
        if model.embedded and not isinstance(place, SyntheticPlace)
    ]


def read_preset(options: Asked, reading: Reading) -> Preset | None:
    """The preset with `--set` applied; None when there is no such preset."""
    methods = words(options.methods or "")
    base: Preset | None = reading.attempt(lambda: load_preset(options.preset, methods), None)
    if base is None:
        return None
    return reading.attempt(lambda: base.changed(options.set), base)


def read_models(options: Asked, preset: Preset | None) -> list[str]:
    """The models as written, ALIAS or NAME=DIR each; where nothing is written the preset's, which may be none."""
    if options.models is not None:
        return words(options.models)
    return list(preset.models) if preset is not None else []


def read_axes(options: Asked, reading: Reading, preset: Preset | None, own: OwnCheckpoints | None = None) -> Axes:
    """The axes as written; their problems are noted."""
    own = own or OwnCheckpoints()
    pruning_seeds = _numbers("--pruning-seeds", options.pruning_seeds, int, reading)
    axes = Axes(
        models=[word.partition("=")[0] for word in read_models(options, preset)],
        methods=None if options.methods is None else words(options.methods),
        sparsities=_numbers("--sparsities", options.sparsities, float, reading),
        tasks=None if options.tasks is None else words(options.tasks),
        quantization=None if options.quantization is None else words(options.quantization),
        seeds=_numbers("--seeds", options.seeds, int, reading),
        pruning_seeds=(0,) if pruning_seeds is None else pruning_seeds,
        sparse_from={name: own.found[name].sparsity if name in own.found else 0.0 for name in own.names},
    )
    reading.problems += axes.problems()
    return axes


def reads(
    axes: Axes, preset: Preset | None, reading: Reading, models: Iterable[BaseModel] = ()
) -> tuple[list[Task], bool]:
    """The known tasks a grid names, and whether one of its methods or models needs the corpus.

    A method of another package that cannot be loaded is a problem.
    """
    named = axes.tasks or (preset.tasks if preset else ())
    in_rows = () if preset is None or axes.sparse_from else (row.method for row in preset.rows)
    known = [name for name in dict.fromkeys(axes.methods or in_rows) if is_method(name)]
    loaded = [method for name in known if (method := reading.attempt(partial(get_method, name), None)) is not None]
    released = preset is not None and bool(preset.sparse_checkpoints)
    needs_corpus = any(needs(method, released=released).corpus for method in loaded)
    needs_corpus |= any(not model.pretrained for model in models)
    return [get_task(name) for name in dict.fromkeys(named) if name in TASKS], needs_corpus


def released_for(grid: Grid, preset: Preset) -> list[ReleasedCheckpoint]:
    """The preset's released checkpoints that cells of the grid start from."""
    starts = {
        (cell.model, cell.sparsity)
        for cell in grid.cells
        if needs(grid.methods[cell.method].method, released=True).released
    }
    return [found for found in preset.sparse_checkpoints if (found.model, found.sparsity) in starts]


def _own_checkpoints(options: Asked, found: FoundModels, hashes: ContentHashes) -> OwnCheckpoints:
    """The folders of --sparse-from, compared with the base model where the grid has just one."""
    base = next(iter(found.models.values())) if len(found.models) == 1 else None
    return find_own([word for text in options.sparse_from for word in words(text)], base, hashes, is_method)


def words(text: str) -> list[str]:
    """Comma-separated words, stripped, without empty ones."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _place(data: str | None, hashes: ContentHashes) -> DataPlace:
    from harness.inputs.data_sources import FolderPlace, HubPlace, SyntheticPlace

    if data is None:
        raise UsageError(
            "--data is missing: give a folder with TASK/SPLIT.parquet in the hub's schema, or hub, or synthetic."
        )
    world, colon, seed = data.partition(":")
    if world == "synthetic":
        if colon and not (seed.isascii() and seed.isdigit()):
            raise UsageError(f"--data {data}: expected synthetic or synthetic:SEED, SEED a whole number, 0 or more.")
        return SyntheticPlace(int(seed or 0))
    return HubPlace() if data == "hub" else FolderPlace(Path(data), hashes)


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


class _Resource(NamedTuple):
    """How a value of `--resource` is read, the values it may have, and both in words."""

    read: Callable[[str], Any]
    allows: Callable[[Any], bool]
    expected: str


RESOURCES = {
    "checkpoint_minutes": _Resource(float, lambda value: 0 <= value < float("inf"), "a number of minutes, 0 or more"),
    "device_batch": _Resource(
        int, lambda value: value >= 0, "a whole number of examples, 1 or more, or 0 for the whole batch"
    ),
}


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


def _resources(assignments: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    problems = []
    for text in assignments:
        key, _, raw = text.partition("=")
        if key not in RESOURCES:
            problems.append(f"--resource {text}: " + unknown_name("resource", key, RESOURCES))
            continue
        resource = RESOURCES[key]
        try:
            values[key] = resource.read(raw)
        except ValueError:
            problems.append(f"--resource {text}: expected {resource.expected}.")
            continue
        if not resource.allows(values[key]):
            problems.append(f"--resource {text}: expected {resource.expected}.")
    if problems:
        raise UsageError(problems)
    return values
