"""Study: a named, persisted set of cells with its recipe and the stages of every cell.

What `grid` writes and every reading verb reads. Two recipes are two studies.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import Problem, StoreError, UsageError, unknown
from harness.files import replace_files
from harness.identity import NAME_IN_WORDS, is_name
from harness.planning.graph import Plan
from harness.planning.kept_recipe import check_kept
from harness.planning.method_registry import find_method
from harness.planning.method_summary import MethodFacts
from harness.planning.planner import without_garbage_collection
from harness.planning.preset import Preset
from harness.specs import Cell, StageSpec, are_of
from harness.store.store import Store
from harness.store.turns import wait_for_lease
from harness.studies.cell_check import cell_problem
from harness.studies.json_pieces import JsonPieces
from harness.tasks import TASKS
from harness.wording import counted, option, shown

STUDY_SCHEMA = 1
STAY = "finished stages stay finished"
MOST_CELLS_NAMED = 3
MOST_CHARACTERS_QUOTED = 500  # of what a damaged file holds


@dataclass(frozen=True)
class Study:
    """recipe: in the form of `Preset.as_json`, with the declared defaults that stages use among its settings."""

    name: str
    recipe: dict[str, Any]
    plan: Plan

    def as_json(self) -> dict[str, Any]:
        methods = {name: facts.as_json() for name, facts in self.plan.methods.items()}
        return {
            "schema": STUDY_SCHEMA,
            **({"methods": methods} if methods else {}),
            "study": self.name,
            "recipe": self.recipe,
            "cells": [cell_row(self.plan, cell) for cell in self.plan.paths],
            "stages": {stage_id: spec.fingerprint_fields() for stage_id, spec in self.plan.stages.items()},
        }


def cell_row(plan: Plan, cell: Cell) -> dict[str, Any]:
    """A cell with its path, and the stages that measure its model where there are any."""
    measures = plan.measures.get(cell)
    return {
        **cell.as_json(),
        "stages": list(plan.paths[cell]),
        **({"measures": list(measures)} if measures else {}),
    }


def check_name(name: str) -> None:
    """Raises UsageError unless the name can stand as a file name."""
    if not is_name(name):
        raise UsageError(f"study {name!r}: use {NAME_IN_WORDS}.")


def read_study(store: Store, name: str, known: Plan | None = None, *, checked: bool = True) -> Study:
    """The study, checked: its recipe, every stage's id, and the stages of every cell.

    checked: False for who only looks, and neither runs nor reports what was computed: ids and cells are taken as they
    stand, in half of the time.
    known: a plan whose cells and stages are sound; those that the study has as well are taken from it, which saves time
    and memory and finds the same. Raises UsageError when there is no such study, StoreError for one that is damaged.
    """
    path = store.study_path(name)
    names = study_names(store)
    if name not in names:
        store.check_is_folder()
        if not names:
            where = f"name its folder with {option('store')}"
            raise UsageError(
                Problem(f"no study in {store.root}", next_move=f"Start one with harness grid, or {where}.")
            )
        raise UsageError(unknown("study", name, names))
    with _damage_told(path), path.open(encoding="utf-8") as file, without_garbage_collection():
        return _parse(JsonPieces(file), path, known or Plan(), checked)


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """Raises StoreError in the place of what goes wrong with a study that is damaged, or of another schema."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        with suppress(OSError, ValueError):
            _check_schema(_read_member(path, "schema"), path)
        raise _damaged(path, error) from None


def _check_schema(schema: Any, path: Path) -> None:
    if schema is not None and schema != STUDY_SCHEMA:
        raise StoreError(
            f"study {path}: schema {shown(schema)}, expected {STUDY_SCHEMA}. Read it with the version of the harness "
            f"that wrote it, or move it away and give its grid's command again: {STAY}."
        )


def _parse(text: JsonPieces, path: Path, known: Plan, checked: bool) -> Study:
    found: dict[str, Any] = {}
    measures: dict[Cell, tuple[str, ...]] = {}
    for member in text.members():
        match member:
            case "cells":
                found[member], measures = _read_cells(text, known)
            case "stages":
                found[member] = _read_stages(text, path, known, checked)
            case _:
                found[member] = text.value()
    text.end()
    if missing := [member for member in ("schema", "study", "recipe", "cells", "stages") if member not in found]:
        raise ValueError(f"it has no {', '.join(missing)}")
    _check_schema(found["schema"], path)
    if found["study"] != path.stem:  # a study is written under its own name, wherever that would lead
        raise ValueError(f"it says that it is study {shown(found['study'])}")
    check_kept(found["recipe"])
    specs: dict[str, StageSpec] = found["stages"]
    cells: dict[Cell, tuple[str, ...]] = found["cells"]
    needed = {parent for spec in specs.values() for parent in spec.parents.values()}
    needed = needed.union(*cells.values(), *measures.values())
    if absent := needed - specs.keys():
        raise ValueError(f"it has no stage {', '.join(sorted(map(str, absent)))}, which others depend on")
    methods = {name: MethodFacts(**facts) for name, facts in found.get("methods", {}).items()}
    # A study of an earlier version has no facts of built-in methods: their declarations, which are here, give them.
    earlier = sorted({cell.method for cell in cells} - methods.keys())
    try:
        methods |= {name: find_method(name).facts() for name in earlier}
    except UsageError as error:
        raise ValueError(f"it has no facts of a cell's method, and {error}") from None
    ordered = {stage_id: specs[stage_id] for stage_id in parents_first(specs)}
    plan = Plan(stages=ordered, paths=cells, measures=measures, methods=methods)
    _check_tasks(plan)
    if checked:
        _check_cells(
            plan,
            path,
            [cell for cell in cells if cells[cell] is not known.paths.get(cell) or cell in measures],
        )
    return Study(found["study"], found["recipe"], plan)


def read_part(store: Store, name: str, stage_ids: Collection[str]) -> Plan:
    """The stages of a study, with all that they depend on: a plan without cells, for who runs these stages alone.

    Raises StoreError for a study that is not there or damaged, or has one of the stages no more, or another in its
    place.
    """
    path, chosen, wanted = store.study_path(name), set(stage_ids), set(stage_ids)
    specs: dict[str, StageSpec] = {}
    with _damage_told(path), path.open(encoding="utf-8") as file:
        text = JsonPieces(file)
        for member in text.members():
            if member == "cells":
                for row in text.elements():  # a cell's path lists parents first
                    last = max((i for i, stage_id in enumerate(row["stages"]) if stage_id in chosen), default=-1)
                    is_measured = not chosen.isdisjoint(row.get("measures", ()))
                    wanted.update(row["stages"] if is_measured else row["stages"][: last + 1])
            elif member == "stages":
                for stage_id in text.members():
                    if stage_id in wanted:
                        specs[stage_id] = _checked(stage_id, StageSpec.from_json(text.value()), path)
            elif member == "schema":
                _check_schema(text.value(), path)
    if gone := set(stage_ids) - specs.keys():
        raise StoreError(f"study {path} has no stage {', '.join(sorted(gone)[:3])} any more.")
    return Plan(stages={stage_id: specs[stage_id] for stage_id in parents_first(specs)})


def _read_cells(text: JsonPieces, known: Plan) -> tuple[dict[Cell, tuple[str, ...]], dict[Cell, tuple[str, ...]]]:
    """The path of every cell, where `known` has the same, that object itself; and the measures of those with any."""
    cells: dict[Cell, tuple[str, ...]] = {}
    measured: dict[Cell, tuple[str, ...]] = {}
    same = {cell: cell for cell in known.paths}
    for row in text.elements():
        if not isinstance(row, dict) or not isinstance(path := row.pop("stages", None), list):
            raise ValueError(f"cell {row!r} has no list of stages")
        if not isinstance(measures := row.pop("measures", []), list):
            raise ValueError(f"the measures of cell {row!r} are no list")
        cell = Cell.from_json(row)
        if cell in cells:
            raise ValueError(f"cell {cell} stands twice in it")
        theirs = known.paths.get(cell)
        cells[same.get(cell, cell)] = theirs if theirs is not None and list(theirs) == path else tuple(path)
        if measures:
            measured[same.get(cell, cell)] = tuple(measures)
    return cells, measured


def _read_stages(text: JsonPieces, path: Path, known: Plan, checked: bool) -> dict[str, StageSpec]:
    """Raises StoreError for the first stage that is not the one its id names."""
    specs: dict[str, StageSpec] = {}
    for stage_id in text.members():
        fields, theirs = text.value(), known.stages.get(stage_id)
        if theirs is not None and are_of(fields, theirs):
            specs[stage_id] = theirs
            continue
        spec = StageSpec.from_json(fields)
        specs[stage_id] = _checked(stage_id, spec, path) if checked else spec
    return specs


def _checked(stage_id: str, spec: StageSpec, path: Path) -> StageSpec:
    """Raises StoreError for a stage that is not the one its id names."""
    if spec.stage_id != stage_id:
        raise StoreError(
            f"study {path}: the parameters of stage {stage_id} were changed (they give {spec.stage_id}). Move it "
            f"away and give its grid's command again: {STAY}."
        )
    return spec


def _check_tasks(plan: Plan) -> None:
    """Raises ValueError for a cell of a task that is neither known nor declared by its own stages."""
    for cell, path in plan.paths.items():
        if cell.task not in TASKS and path:
            plan.task_of(cell)


def _check_cells(plan: Plan, path: Path, cells: Collection[Cell]) -> None:
    """Raises StoreError that names those of the cells whose stages are not their own."""
    found = [(cell, problem) for cell in cells if (problem := cell_problem(plan, cell))]
    if found:
        named = "; ".join(f"{cell}: {problem}" for cell, problem in found[:MOST_CELLS_NAMED])
        more = f"; and {counted(len(found) - MOST_CELLS_NAMED, 'cell')} more" if len(found) > MOST_CELLS_NAMED else ""
        raise StoreError(
            f"study {path}: the stages of a cell are not its own ({named}{more}). The file was edited, or is of a "
            f"version whose method had other stages. Move it away and give its grid's command again: {STAY}."
        )


def study_names(store: Store) -> list[str]:
    """The names of the store's studies. Files of other names, as of a copy beside one, are not the store's.

    Raises StoreError where there is a folder of studies that cannot be listed.
    """
    folder = store.root / "studies"
    try:
        names = os.listdir(folder) if os.path.lexists(folder) and store.blocked_by() is None else []
    except OSError as error:
        raise StoreError(
            f"studies in {folder} cannot be read ({error.strerror}). Bring the folder back, or make it readable."
        ) from None
    stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    return sorted(stem for stem in stems if is_name(stem))


def only_study(store: Store) -> str:
    """The store's one study. Raises UsageError when there is none or a choice to make."""
    store.check_is_folder()
    names = study_names(store)
    if not names:
        raise UsageError(Problem(f"{store.root} holds no study", next_move="Start one with harness grid."))
    if len(names) > 1:
        several = f"{store.root} holds several studies: {', '.join(names)}"
        raise UsageError(Problem(several, next_move=f"Name one with {option('study')}."))
    return names[0]


def _read_member(path: Path, wanted: str) -> Any:
    """The value of one member of a study's file, without what follows it; None where it has none."""
    with path.open(encoding="utf-8") as file:
        text = JsonPieces(file)
        return next((text.value() for member in text.members() if member == wanted), None)


def check_recipe(store: Store, name: str, preset: Preset) -> None:
    """Raises UsageError when a study of that name has another recipe. Its stages are not read: see `joined_study`."""
    check_name(name)
    path = store.study_path(name)
    if os.path.lexists(path):
        with _damage_told(path):
            recipe = _read_member(path, "recipe")
            check_kept(recipe)
        _check_same(name, recipe, preset)


def _check_same(name: str, old: dict[str, Any], preset: Preset) -> None:
    if old["hash"] != preset.recipe_hash:
        before, now = old["settings"], preset.as_json()["settings"]
        keys = {*before, *now} - ({*old.get("defaults", ())} - now.keys())  # a default that neither of them gives
        differing = sorted(key for key in keys if before.get(key, [None])[0] != now.get(key, [None])[0])
        if old.get("sparse_checkpoints", []) != preset.as_json()["sparse_checkpoints"]:
            differing.insert(0, "sparse_checkpoints")
        raise UsageError(
            f"study {name!r} has another recipe (it differs in {', '.join(differing[:5])}). "
            f"Give this grid its own name: {option('study')} NAME."
        )


def _damaged(path: Path, error: Exception) -> StoreError:
    reason = str(error.strerror if isinstance(error, OSError) else error)
    if len(reason) > MOST_CHARACTERS_QUOTED:
        reason = f"{reason[:MOST_CHARACTERS_QUOTED]}.."
    return StoreError(
        f"study {path} is damaged ({type(error).__name__}: {reason}). "
        f"Move it away and give its grid's command again: {STAY}."
    )


def joined_study(store: Store, name: str, preset: Preset, plan: Plan) -> Study | None:
    """The study of that name as it is, which the cells of `plan` may join; None where there is none.

    Raises StoreError where it is damaged, UsageError where it has another recipe, another value of a declared
    default or another declaration of a task: it changed since, and cells of both would share a table.
    """
    check_name(name)
    if not os.path.lexists(store.study_path(name)):
        return None
    older = read_study(store, name, plan)
    _check_same(name, older.recipe, preset)
    settings = older.recipe["settings"]
    if differing := sorted(
        key for key, now in plan.defaults.items() if key in settings and settings[key][0] != now.value
    ):
        raise UsageError(
            f"study {name!r} has another value of {', '.join(differing[:5])}: the default changed since. "
            f"Give this grid its own name: {option('study')} NAME."
        )
    if otherwise := differing_tasks(older.plan, plan):
        raise UsageError(
            f"study {name!r} has another declaration of {', '.join(otherwise)}, and cells of both would share a row. "
            f"Give this grid its own name: {option('study')} NAME."
        )
    return older


def differing_tasks(one: Plan, other: Plan) -> list[str]:
    """The tasks that two plans declare otherwise, by name."""
    ours, theirs = (plan.declarations() for plan in (one, other))
    return sorted(name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name])


def merged(store: Store, name: str, preset: Preset, plan: Plan) -> Study:
    """The study with the cells of `plan` added to those it already has. Raises as `joined_study` does."""
    found, _ = _merged(store, name, preset, plan)
    return found


def _merged(store: Store, name: str, preset: Preset, plan: Plan) -> tuple[Study, bool]:
    """The study with the cells of `plan` added, and whether the store has it so already."""
    older = joined_study(store, name, preset, plan)
    if older is None:
        return Study(name, _with_defaults(preset, {}, plan), plan), False
    union = union_of(older.plan, plan, counts=plan)
    found = Study(name, _with_defaults(preset, older.recipe, plan), union)
    return found, _is_same(older, found)


def union_of(one: Plan, other: Plan, *, counts: Plan) -> Plan:
    """The cells of both, in this order, and their measures.

    counts: that one of them whose path and facts are those of a cell that both have. A measure of a model that the cell
    does not lead to is left out, as are stages that no cell needs.
    """
    known = {**one.stages, **other.stages}
    paths = {**one.paths, **other.paths, **counts.paths}
    union = Plan(paths=paths, methods={**one.methods, **other.methods, **counts.methods})
    for path in paths.values():  # a cell's path lists parents first
        for stage_id in path:
            union.add(known[stage_id])
    for cell, path in paths.items():
        model = known[path[-1]].parents.get("model")
        both = dict.fromkeys((*one.measures.get(cell, ()), *other.measures.get(cell, ())))
        if measures := tuple(i for i in both if known[i].parents.get("model") == model):
            union.measures[cell] = measures
            for stage_id in measures:
                union.add(known[stage_id])
    return union


def _is_same(older: Study, found: Study) -> bool:
    """Whether nothing was added. An earlier version did not list the declared defaults, and need not."""
    unlisted = {key: value for key, value in found.recipe.items() if key != "defaults"}
    return (
        older.plan.paths == found.plan.paths
        and older.plan.measures == found.plan.measures
        and older.plan.stages.keys() == found.plan.stages.keys()
        and older.plan.methods == found.plan.methods
        and older.recipe in (found.recipe, unlisted)
    )


def _with_defaults(preset: Preset, older: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """The preset's JSON, the declared defaults that stages use among its settings. older: the recipe so far."""
    recipe = preset.as_json()
    defaults = {key: [s.value, s.evidence, s.source] for key, s in plan.defaults.items()}
    settings = {**older.get("settings", {}), **defaults, **recipe["settings"]}
    named = sorted({*older.get("defaults", ()), *defaults} - recipe["settings"].keys())
    listed = {"defaults": named} if named else {}
    return {**recipe, **listed, "settings": dict(sorted(settings.items()))}


def add_to_study(store: Store, name: str, preset: Preset, plan: Plan) -> Study:
    """Write the study with the cells of `plan` added, and return it; cells that others add at the same time stay.

    Holds a lease from the reading to the writing. Writes nothing, no lease either, where the study has all the cells: a
    store that is finished can be read-only. Raises as `merged` does.
    """
    found, is_written = _merged(store, name, preset, plan)
    if not is_written:
        with wait_for_lease(store.study_lease_path(name)).held() as lease:
            found, _ = _merged(store, name, preset, plan)
            lease.check()
            write_study(store, found)
    return found


def write_study(store: Store, study: Study) -> None:
    """Write the study in place of an older one; `add_to_study` is for one that others may change too."""
    replace_files({store.study_path(study.name): _pieces(study)})


def _pieces(study: Study) -> Iterator[str]:
    """`Study.as_json` as sorted JSON, a line for each cell and stage, without all of it standing in memory."""
    plan = study.plan
    methods = {name: facts.as_json() for name, facts in plan.methods.items()}
    yield from _member("{", "cells", "[", (cell_row(plan, cell) for cell in plan.paths), "]")
    if methods:
        yield f',\n "methods": {_dumped(methods, 1)}'
    yield f',\n "recipe": {_dumped(study.recipe, 1)},\n "schema": {STUDY_SCHEMA}'
    specs = ((f'"{i}": ', plan.stages[i].fingerprint_fields()) for i in sorted(plan.stages))
    yield from _member(",", "stages", "{", specs, "}")
    yield f',\n "study": {_dumped(study.name, 1)}\n}}\n'


def _member(before: str, name: str, opening: str, values: Iterable[Any], closing: str) -> Iterator[str]:
    """A member whose value is a list of `values`, or an object of (key, value), one of them at a time."""
    yield f'{before}\n "{name}": {opening}'
    is_first = True
    for value in values:
        key, content = value if isinstance(value, tuple) else ("", value)
        yield f"{'' if is_first else ','}\n  {key}{json.dumps(content, sort_keys=True)}"
        is_first = False
    yield closing if is_first else f"\n {closing}"


def _dumped(value: Any, depth: int) -> str:
    """JSON that stands `depth` deep; a string of it holds no line break, so that all of them can be indented."""
    return json.dumps(value, indent=1, sort_keys=True).replace("\n", "\n" + depth * " ")


def parents_first(specs: Mapping[str, StageSpec]) -> list[str]:
    """The ids of stages, each after its parents and otherwise in the order of `specs`.

    Parents that are not among `specs` are left out. Raises ValueError where stages depend on themselves. Not the order
    of graphlib's `TopologicalSorter`, which goes by depth: pages of results list stages in this one.
    """
    ordered: dict[str, None] = {}
    begun: set[str] = set()

    def visit(stage_id: str) -> None:
        if stage_id in begun:
            raise ValueError(f"its stages depend on each other in a cycle, {stage_id} among them")
        begun.add(stage_id)
        for parent in specs[stage_id].parents.values():
            if parent not in ordered and parent in specs:
                visit(parent)
        ordered[stage_id] = None

    for stage_id in specs:
        if stage_id not in ordered:
            visit(stage_id)
    return list(ordered)
