"""Study: a named, persisted set of cells with its recipe and the stages of every cell.

What `grid` writes and every reading verb reads. Two recipes are two studies.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from harness.errors import Problem, StoreError, UsageError, unknown
from harness.files import replace_file
from harness.identity import NAME_IN_WORDS, STAGE_ID_HEX_DIGITS, is_name, parse_json
from harness.planning.graph import Plan
from harness.planning.method_registry import find_method
from harness.planning.method_summary import MethodFacts
from harness.planning.preset import Preset
from harness.specs import Cell, StageSpec
from harness.store.leases import HeartbeatMonitor, Lease, acquire
from harness.store.processes import is_gone, this_process
from harness.store.store import Store
from harness.studies.cell_check import cell_problem
from harness.wording import counted, option

STUDY_SCHEMA = 1
BLOCK = 1 << 20  # bytes of a study that are read at a time
_STAGE = re.compile(rb'"([0-9a-f]{%d})"' % STAGE_ID_HEX_DIGITS)
_SPACE = re.compile(r"[ \t\n\r]*")  # of JSON
MOST_CELLS_NAMED = 3
POLL_SECONDS = 0.1  # between two tries to take the lease of a study that another grid is being added to


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
            "cells": [{**cell.as_json(), "stages": list(path)} for cell, path in self.plan.paths.items()],
            "stages": {stage_id: spec.fingerprint_fields() for stage_id, spec in self.plan.stages.items()},
        }


def check_name(name: str) -> None:
    """Raises UsageError unless the name can stand as a file name."""
    if not is_name(name):
        raise UsageError(f"study {name!r}: use {NAME_IN_WORDS}.")


def read_study(store: Store, name: str) -> Study:
    """Raises UsageError when there is no such study, StoreError when ids or cells do not fit their stages."""
    path = store.study_path(name)
    known = study_names(store)
    if name not in known:
        store.check_is_folder()
        if not known:
            where = f"name its folder with {option('store')}"
            raise UsageError(
                Problem(f"no study in {store.root}", next_move=f"Start one with harness grid, or {where}.")
            )
        raise UsageError(unknown("study", name, known))
    try:
        return _parse(parse_json(path.read_bytes()), path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from None


def _parse(tree: dict[str, Any], path: Path) -> Study:
    if tree.get("schema") != STUDY_SCHEMA:
        raise StoreError(
            f"study {path}: schema {tree.get('schema')}, expected {STUDY_SCHEMA}. Read it with the version of the "
            "harness that wrote it, or move it away and give its grid's command again: finished stages stay finished."
        )
    methods = {name: MethodFacts(**facts) for name, facts in tree.get("methods", {}).items()}
    # A study of an earlier version has no facts of built-in methods: their declarations, which are here, give them.
    earlier = sorted({row["method"] for row in tree["cells"]} - methods.keys())
    plan = Plan(methods={**methods, **{name: find_method(name).facts() for name in earlier}})
    specs = {stage_id: StageSpec.from_json(identity) for stage_id, identity in tree["stages"].items()}
    if unknown := {parent for spec in specs.values() for parent in spec.parents.values()} - specs.keys():
        raise ValueError(f"it has no stage {', '.join(sorted(unknown))}, which others depend on")
    for stage_id in parents_first(specs):
        spec = specs[stage_id]
        if spec.stage_id != stage_id:
            raise StoreError(
                f"study {path}: the parameters of stage {stage_id} were changed (they give {spec.stage_id})."
            )
        plan.add(spec)
    for row in tree["cells"]:
        fields = dict(row)
        path_ids = tuple(fields.pop("stages"))
        if (cell := Cell(**fields)) in plan.paths:
            raise ValueError(f"cell {cell} stands twice in it")
        plan.paths[cell] = path_ids
    _check_cells(plan, path)
    return Study(tree["study"], tree["recipe"], plan)


def _check_cells(plan: Plan, path: Path) -> None:
    """Raises StoreError that names the cells whose stages are not their own."""
    found = [(cell, problem) for cell in plan.paths if (problem := cell_problem(plan, cell))]
    if found:
        named = "; ".join(f"{cell}: {problem}" for cell, problem in found[:MOST_CELLS_NAMED])
        more = f"; and {counted(len(found) - MOST_CELLS_NAMED, 'cell')} more" if len(found) > MOST_CELLS_NAMED else ""
        raise StoreError(
            f"study {path}: the stages of a cell are not its own ({named}{more}). The file was edited, or is of a "
            "version whose method had other stages. Move it away and give its grid's command again: finished stages "
            "stay finished."
        )


def study_names(store: Store) -> list[str]:
    """The names of the store's studies. Files of other names, as of a copy beside one, are not the store's."""
    return sorted(path.stem for path in (store.root / "studies").glob("*.json") if is_name(path.stem))


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


def stages_named(store: Store, name: str, wanted: Collection[str]) -> set[str]:
    """Those of the stages that the study has; none where there is no study. It is read piece by piece."""
    left, found = set(wanted), set[str]()
    try:
        with store.study_path(name).open("rb") as handle:
            tail = b""
            while left and (block := handle.read(BLOCK)):
                here = left.intersection(digits.decode() for digits in _STAGE.findall(tail + block))
                found |= here
                left -= here
                tail = block[-STAGE_ID_HEX_DIGITS - 1 :]
    except FileNotFoundError:
        pass
    return found


def read_cells(store: Store, name: str) -> dict[Cell, tuple[str, ...]]:
    """The path of every cell of a study, its stages not checked; none where there is no study."""
    rows = _read_member(store, name, "cells") or []
    return {Cell(**{key: row[key] for key in row if key != "stages"}): tuple(row["stages"]) for row in rows}


def read_stage_fields(store: Store, name: str) -> dict[str, dict[str, Any]]:
    """What `StageSpec.fingerprint_fields` gave for every stage of a study, unchecked; none where there is no study."""
    return _read_member(store, name, "stages") or {}


def _read_member(store: Store, name: str, member: str) -> Any:
    """None where there is no such study. Raises StoreError where its file cannot be read."""
    path = store.study_path(name)
    if not os.path.lexists(path):
        return None
    try:
        return _member(path.read_text(encoding="utf-8"), member)
    except RecursionError:
        raise _damaged(path, ValueError("JSON nested too deep")) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from None


def check_recipe(store: Store, name: str, preset: Preset) -> None:
    """Raises UsageError when a study of that name has another recipe. Its stages are not read: see `merged`."""
    check_name(name)
    if os.path.lexists(store.study_path(name)):
        try:
            _check_same(name, _read_member(store, name, "recipe"), preset)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(store.study_path(name), error) from None


def _member(text: str, name: str) -> Any:
    """The value of one member of a JSON object, without parsing the members after it.

    The recipe of a study comes before its stages, which are most of the file: `write_study` sorts the keys.
    Raises KeyError when the object has no such member, ValueError when the text before it is no JSON object.
    """
    decode = json.JSONDecoder().raw_decode
    position = _expect("{", text, 0)
    while not text.startswith("}", position):
        key, position = decode(text, position)
        value, position = decode(text, _expect(":", text, position))
        if key == name:
            return value
        position = _skip_space(text, position)
        if not text.startswith("}", position):
            position = _expect(",", text, position)
    raise KeyError(name)


def _expect(token: str, text: str, position: int) -> int:
    """The position after a token and the white space around it."""
    position = _skip_space(text, position)
    if not text.startswith(token, position):
        raise json.JSONDecodeError(f"expected {token!r}", text, position)
    return _skip_space(text, position + 1)


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    assert match is not None
    return match.end()


def _check_same(name: str, old: dict[str, Any], preset: Preset) -> None:
    if old["hash"] != preset.recipe_hash:
        before, now = old["settings"], preset.as_json()["settings"]
        differing = sorted(key for key in {*before, *now} if before.get(key, [None])[0] != now.get(key, [None])[0])
        if old.get("sparse_checkpoints", []) != preset.as_json()["sparse_checkpoints"]:
            differing.insert(0, "sparse_checkpoints")
        raise UsageError(
            f"study {name!r} has another recipe (it differs in {', '.join(differing[:5])}). "
            f"Give this grid its own name: {option('study')} NAME."
        )


def _damaged(path: Path, error: Exception) -> StoreError:
    reason = error.strerror if isinstance(error, OSError) else error
    return StoreError(
        f"study {path} is damaged ({type(error).__name__}: {reason}). "
        "Move it away and give its grid's command again: finished stages stay finished."
    )


def merged(store: Store, name: str, preset: Preset, plan: Plan) -> Study:
    """The study with the cells of `plan` added to those it already has.

    Raises UsageError when a study of that name has another recipe.
    """
    check_name(name)
    if not os.path.lexists(store.study_path(name)):
        return Study(name, _with_defaults(name, preset, {}, plan), plan)
    older = read_study(store, name)
    _check_same(name, older.recipe, preset)
    known, paths = {**older.plan.stages, **plan.stages}, {**older.plan.paths, **plan.paths}
    union = Plan(paths=paths, methods={**older.plan.methods, **plan.methods})
    for path in paths.values():  # a cell's path lists parents first; stages that no cell needs any more are dropped
        for stage_id in path:
            union.add(known[stage_id])
    return Study(name, _with_defaults(name, preset, older.recipe["settings"], plan), union)


def _with_defaults(name: str, preset: Preset, older: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """The preset's JSON, the declared defaults that stages use among its settings.

    older: the settings of the study so far. Raises UsageError where it has another value of a default: the declaration
    changed since, and cells of both would share a table.
    """
    recipe = preset.as_json()
    defaults = {key: [s.value, s.evidence, s.source] for key, s in plan.defaults.items()}
    if differing := sorted(key for key in defaults if key in older and older[key][0] != defaults[key][0]):
        raise UsageError(
            f"study {name!r} has another value of {', '.join(differing[:5])}: the default changed since. "
            f"Give this grid its own name: {option('study')} NAME."
        )
    settings = {**older, **defaults, **recipe["settings"]}
    return {**recipe, "settings": dict(sorted(settings.items()))}


def add_to_study(store: Store, name: str, preset: Preset, plan: Plan) -> Study:
    """Write the study with the cells of `plan` added, and return it; cells that others add at the same time stay.

    Holds a lease from the reading to the writing. Writes nothing, no lease either, where the study has all the cells: a
    store that is finished can be read-only. Raises as `merged` does.
    """
    found = merged(store, name, preset, plan)
    if not _is_written(store, found):
        with _lease_of(store, name).held() as lease:
            found = merged(store, name, preset, plan)
            lease.check()
            write_study(store, found)
    return found


def _lease_of(store: Store, name: str) -> Lease:
    """The right to change a study; waits until its holder releases it, dies or lets it expire."""
    folder, monitor = store.study_lease_path(name), HeartbeatMonitor()
    while True:
        lease = acquire(folder, this_process(), lambda holder: is_gone(holder) or monitor.is_expired(folder, holder))
        if lease is not None:
            return lease
        time.sleep(POLL_SECONDS)


def write_study(store: Store, study: Study) -> None:
    """Write the study in place of an older one; `add_to_study` is for one that others may change too."""
    replace_file(store.study_path(study.name), _text(study))


def _is_written(store: Store, study: Study) -> bool:
    """Whether the store has the study as it is, or as an earlier version wrote it, without built-in methods' facts."""
    path = store.study_path(study.name)
    if not path.is_file():
        return False
    others = {name: facts for name, facts in study.plan.methods.items() if not facts.is_built_in}
    earlier = replace(study, plan=replace(study.plan, methods=others))
    return path.read_text(encoding="utf-8") in (_text(study), _text(earlier))


def _text(study: Study) -> str:
    return json.dumps(study.as_json(), indent=1, sort_keys=True) + "\n"


def parents_first(specs: Mapping[str, StageSpec]) -> list[str]:
    """The ids of stages, each after its parents and otherwise in the order of `specs`.

    Parents that are not among `specs` are left out. Raises graphlib.CycleError (a ValueError) where stages depend on
    themselves. Not the order of `TopologicalSorter`, which goes by depth: pages of results list stages in this one.
    """
    TopologicalSorter({stage_id: spec.parents.values() for stage_id, spec in specs.items()}).prepare()
    ordered: dict[str, None] = {}

    def visit(stage_id: str) -> None:
        if stage_id in specs and stage_id not in ordered:
            for parent in specs[stage_id].parents.values():
                visit(parent)
            ordered[stage_id] = None

    for stage_id in specs:
        visit(stage_id)
    return list(ordered)
