"""A grid's options resolved: all of them checked together, models and data found, the grid expanded to cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.errors import Problem, Problems, UsageError, unknown
from harness.grids.options import GridOptions, ModelChoice, read_models, read_number
from harness.grids.workload import InputSizes
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.machine_facts import machine_in_words
from harness.inputs.models import BaseModel, FoundModels, config_of, find_models, model_problems
from harness.inputs.shapes import shape_of
from harness.inputs.sparse_checkpoints import (
    OwnCheckpoints,
    ReleasedCheckpoint,
    ReleasedCheckpoints,
    find_own,
    locate_released,
)
from harness.planning.graph import Inputs, ModelIdentity
from harness.planning.grid import Axes, Grid, expand, one_of_each
from harness.planning.kinds import MEASURES
from harness.planning.method_needs import needs
from harness.planning.method_registry import get_method, is_method
from harness.planning.method_summary import SPARSE_FROM
from harness.planning.planner import plan_cells
from harness.planning.preset import Preset, load_preset
from harness.stages.context import Resources, Sources
from harness.studies.study import check_name
from harness.task_files.form import read_task_files
from harness.tasks import CORPUS_SPLITS, TASKS, Task
from harness.wording import assignment, option

if TYPE_CHECKING:
    from harness.inputs.data_sources import DataSource


ANY_MODEL = "MODEL"  # stands for the models of a preset that names none


@dataclass(frozen=True, kw_only=True)
class Request:
    """Valid options, resolved: the cells, the preset, and where models and data are.

    missing: a sentence for each input that is not on this machine. sizes: of models and data, for an estimate.
    """

    grid: Grid
    preset: Preset
    inputs: Inputs
    sources: Sources
    resources: Resources
    missing: tuple[str, ...]
    sizes: InputSizes


def read_request(options: GridOptions, hashes: ContentHashes, problems: Problems) -> Request:
    """The options resolved. problems: those found when they were read. Raises UsageError with these and its own."""
    preset = read_preset(options, problems)
    found = find_models(chosen_models(options, preset, problems), hashes)
    problems.extend(found.problems, "models")
    own = _own_checkpoints(options, found, hashes)
    problems.extend(own.problems, "sparse-from")
    axes = read_axes(options, problems, preset, own)
    problems.extend(
        (unknown("measure", name, MEASURES) for name in options.measures if name not in MEASURES), "measures"
    )
    if options.study:
        problems.attempt(partial(check_name, options.study), None, "study")
    resources = _resources(options.resource, problems)
    source = _data_source(options, preset, hashes, problems)
    tasks, needs_corpus = required_data(axes, preset, problems, found.models.values())
    if source is not None:
        problems.extend(source.problems(tasks, corpus=needs_corpus), "data")
        problems.extend(_foreign_vocabularies(found.models.values(), source))
    identities = {alias: _identity(model) for alias, model in found.models.items()}
    grid = _expanded(axes, preset, problems)
    released = ReleasedCheckpoints()
    if grid is not None and preset is not None:
        released = locate_released(released_for(grid, preset), found.models)
        problems.extend(released.problems)
        if problems.found and not problems.concern("set"):  # with none the plan itself finds them
            problems.extend(settings_problems(grid, preset, identities, options.measures))
    problems.check()
    assert preset is not None
    assert source is not None
    assert grid is not None
    checkpoints = {checkpoint.content_id: checkpoint for checkpoint in (*own.found.values(), *released.located)}
    return Request(
        grid=grid,
        preset=preset,
        inputs=Inputs(
            models=identities,
            data=source.content_ids(tasks, corpus=needs_corpus),
            sparse_from={name: checkpoint.content_id for name, checkpoint in own.found.items()},
            released=preset.released,
            machine=machine_in_words() if "latency" in options.measures else "",
        ),
        sources=Sources(models=found.models, data=source, checkpoints=checkpoints, hashes=hashes),
        resources=Resources(**resources),
        missing=(*found.missing, *released.missing, *source.missing(tasks, corpus=needs_corpus)),
        sizes=InputSizes(
            shapes={alias: shape_of(model) for alias, model in found.models.items()},
            data=source.sizes(tasks, corpus=needs_corpus),
        ),
    )


def _identity(model: BaseModel) -> ModelIdentity:
    found = config_of(model)
    return ModelIdentity(
        weights=model.weights,
        tokenizer=model.tokenizer,
        pretrained=model.pretrained,
        positions=shape_of(model).positions,
        attention=None if found is None else found[1].attention,
    )


def _expanded(axes: Axes, preset: Preset | None, problems: Problems) -> Grid | None:
    """The cells, where preset, axes and methods can be read; that there are none is a problem of its own."""
    if preset is None or axes.problems() or problems.concern("methods"):
        return None
    return problems.attempt(lambda: expand(axes, preset), None)


def settings_problems(
    grid: Grid, preset: Preset, models: Mapping[str, ModelIdentity], measures: Sequence[str] = ()
) -> list[Problem]:
    """What is wrong with the settings of a grid, whatever its models and data are: those that are not known have names.

    models: those that are known, by alias.
    """
    cells = one_of_each(grid.cells)
    unknown_models = {cell.model: ModelIdentity(weights=cell.model, tokenizer=cell.model) for cell in cells}
    splits = [f"{task.name}/{split}" for task in preset.recipe.tasks.values() for split in task.splits]
    splits += [f"corpus/{split}" for split in CORPUS_SPLITS]
    own = [cell.method.removeprefix(SPARSE_FROM) for cell in cells if cell.method.startswith(SPARSE_FROM)]
    inputs = Inputs(
        models={**unknown_models, **models},
        data={split: split for split in splits},
        sparse_from={name: name for name in own},
        released=preset.released,
    )
    try:
        plan_cells(cells, preset.recipe, inputs, grid.methods, [name for name in measures if name in MEASURES])
    except UsageError as error:
        return list(error.problems)
    return []


def check_preset(word: str) -> Preset:
    """The preset, once everything that a grid under it would check of it alone is found to be right.

    Raises UsageError with every problem.
    """
    preset = load_preset(word)
    problems = Problems()
    models = read_models(preset.models, problems)
    problems.extend(model_problems(models))
    aliases = [alias for alias, _ in models] + [alias for row in preset.rows for alias in row.models or ()]
    grid = _expanded(Axes(models=aliases or [ANY_MODEL]), preset, problems)
    if grid is not None:
        problems.extend(settings_problems(grid, preset, {}))
    if problems.found:
        raise UsageError(
            [replace(problem, found=f"preset {preset.name!r}: {problem.found}") for problem in problems.found]
        )
    return preset


def _foreign_vocabularies(models: Iterable[BaseModel], source: DataSource) -> list[Problem]:
    """A problem for every encoder whose vocabulary is the synthetic world's where the data are others."""
    from harness.inputs.data_sources import SyntheticData

    return [
        Problem(
            f"model {model.alias!r} knows the words of the synthetic world alone; of other data nearly every word is "
            "unknown to it",
            "models",
            next_move=f"Give {option('data')} synthetic, or another model (harness ls models, or NAME=DIR).",
        )
        for model in models
        if model.generated and not isinstance(source, SyntheticData)
    ]


def read_preset(options: GridOptions, problems: Problems) -> Preset | None:
    """The preset with the settings of `set`; None when there is no such preset."""
    none: dict[str, Task] = {}
    declared = problems.attempt(lambda: read_task_files(options.task_file, TASKS), none, "task-file")
    base: Preset | None = problems.attempt(
        lambda: load_preset(options.preset, options.methods or (), {**TASKS, **declared}), None, "preset"
    )
    if base is None:
        return None
    return problems.attempt(lambda: base.changed(options.set), base, "set")


def chosen_models(options: GridOptions, preset: Preset | None, problems: Problems) -> tuple[ModelChoice, ...]:
    """The models of the options, else the preset's, which may be none."""
    if options.models is not None or preset is None:
        return options.models or ()
    return read_models(preset.models, problems)


def read_axes(
    options: GridOptions, problems: Problems, preset: Preset | None, own: OwnCheckpoints | None = None
) -> Axes:
    """The axes of the options; their problems are noted."""
    own = own or OwnCheckpoints()
    axes = Axes(
        models=[alias for alias, _ in chosen_models(options, preset, problems)],
        methods=options.methods,
        sparsities=options.sparsities,
        tasks=options.tasks,
        quantization=options.quantization,
        seeds=options.seeds,
        pruning_seeds=options.pruning_seeds,
        sparse_from={name: own.found[name].sparsity if name in own.found else 0.0 for name in own.names},
        known_tasks=TASKS if preset is None else preset.recipe.tasks,
    )
    # A model that could not be read is not missing as well; nor is one that a preset nobody can read might name.
    known_bad = {"models"} if problems.concern("models") or (preset is None and options.models is None) else set()
    known_bad |= {"tasks"} if problems.concern("task-file") else set()  # the file may declare what is not known
    problems.extend(problem for problem in axes.problems() if problem.option not in known_bad)
    return axes


def required_data(
    axes: Axes, preset: Preset | None, problems: Problems, models: Iterable[BaseModel] = ()
) -> tuple[list[Task], bool]:
    """The known tasks a grid names, and whether one of its methods or models needs the corpus.

    A method of another package that cannot be loaded is a problem.
    """
    named = axes.tasks or (preset.tasks if preset else ())
    in_rows = () if preset is None or axes.sparse_from else (row.method for row in preset.rows)
    known = [name for name in dict.fromkeys(axes.methods or in_rows) if is_method(name)]
    found = [problems.attempt(partial(get_method, name), None, "methods") for name in known]
    methods = [method for method in found if method is not None]
    released = preset is not None and bool(preset.sparse_checkpoints)
    needs_corpus = any(needs(method, released=released).corpus for method in methods)
    needs_corpus |= any(not model.pretrained for model in models)
    known_tasks = axes.known_tasks
    return [known_tasks[name] for name in dict.fromkeys(named) if name in known_tasks], needs_corpus


def released_for(grid: Grid, preset: Preset) -> list[ReleasedCheckpoint]:
    """The preset's released checkpoints that cells of the grid start from."""
    starts = {
        (cell.model, cell.sparsity)
        for cell in grid.cells
        if needs(grid.methods[cell.method].method, released=True).released
    }
    return [found for found in preset.sparse_checkpoints if (found.model, found.sparsity) in starts]


def _own_checkpoints(options: GridOptions, found: FoundModels, hashes: ContentHashes) -> OwnCheckpoints:
    """The user's sparse checkpoints, compared with the base model where the grid has just one."""
    base = next(iter(found.models.values())) if len(found.models) == 1 else None
    return find_own(options.sparse_from, base, hashes, is_method)


def _data_source(
    options: GridOptions, preset: Preset | None, hashes: ContentHashes, problems: Problems
) -> DataSource | None:
    """What the options name, else the preset. Of a preset that cannot be read nobody knows whether it names any.

    An option that could not be read is noted already, and not missing as well.
    """
    if problems.concern("data"):
        return None
    data = options.data or (preset.data if preset else None)
    if data is None:
        if preset is not None:
            choices = "Give a folder with TASK/SPLIT.parquet in the hub's schema, or hub, or synthetic."
            problems.add(Problem(f"{option('data')} is missing", "data", next_move=choices))
        return None
    from harness.inputs.data_sources import named_source

    return problems.attempt(lambda: named_source(data, hashes), None, "data")


class _Resource(NamedTuple):
    """A resource: the type of its value (int or float), the values it may have, and both in words."""

    kind: type
    allows: Callable[[Any], bool]
    expected: str


MOST_RANKS = 1024
RESOURCES = {
    "checkpoint_minutes": _Resource(float, lambda value: 0 <= value < float("inf"), "a number of minutes, 0 or more"),
    "micro_batch_size": _Resource(
        int, lambda value: value >= 0, "a whole number of examples, 1 or more, or 0 for the whole batch"
    ),
    "processes": _Resource(
        int, lambda value: 1 <= value <= MOST_RANKS, f"a whole number of processes, 1 to {MOST_RANKS}"
    ),
    "ranks": _Resource(int, lambda value: 1 <= value <= MOST_RANKS, f"a whole number of processes, 1 to {MOST_RANKS}"),
}


def _resources(given: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """The arguments of `Resources`; what cannot be meant is noted and left out."""
    values: dict[str, Any] = {}
    for key, value in given.items():
        what = f"{option('resource')} {assignment(key, value)}"
        if key not in RESOURCES:
            problems.add(unknown("resource", key, RESOURCES, where=f"{what}: "), "resource")
            continue
        resource = RESOURCES[key]
        try:
            number = read_number(resource.kind, value)
        except ValueError:
            number = None
        if number is None or not resource.allows(number):
            problems.add(Problem(what, "resource", resource.expected))
        else:
            values[key] = number
    return values
