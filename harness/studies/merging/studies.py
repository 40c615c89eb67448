"""Studies of one name in several stores as one: the same recipe, the cells and stages of all. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.planning.difference import Comparison, described
from harness.studies.merging.contents import Contents
from harness.studies.study import Study, differing_tasks, union_of
from harness.wording import counted

MOST_NAMED = 3


def united(
    name: str, every: Sequence[Contents], preferred: Contents | None = None
) -> tuple[Study, list[str], list[str]]:
    """The study with the cells of all, a sentence for each conflict, and notes.

    every: the stores that have it, the first of equals first; where `preferred` is among them its cells count.
    """
    holders = sorted(every, key=lambda contents: contents is not preferred)  # stable: the preferred one first
    first, others = holders[0], holders[1:]
    whole, problems, notes = first.studies[name], list[str](), list[str]()
    for contents in others:
        theirs = contents.studies[name]
        where = f"study {name!r} of {first.name} and of {contents.name}"
        if differing := _recipe_problems(whole.recipe, theirs.recipe):
            problems.append(
                f"{where}: another recipe (they differ in {', '.join(differing[:5])}). Two recipes are two studies: "
                "give the grid's command in one of the stores again with another name, --study NAME, and merge that "
                "study alone"
            )
            continue
        if otherwise := differing_tasks(whole.plan, theirs.plan):
            problems.append(
                f"{where}: another declaration of {', '.join(otherwise)}. Two tasks are two studies: give the grid's "
                "command in one of the stores again with another name, --study NAME, and merge that study alone"
            )
            continue
        apart = _cell_problems(whole, theirs)
        if apart and preferred is not first:
            problems += [f"{where}: {told}" for told in apart]
            continue
        notes += [f"{where}: {told}; those of {first.name} count." for told in apart]
        notes += _texts_apart(where, whole.recipe, theirs.recipe, first.name)
        whole = _joined(whole, theirs)
    return whole, problems, notes


def _recipe_problems(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The settings in which two recipes differ: where both have them, or where their hashes differ."""
    ours, theirs = one["settings"], other["settings"]
    shared = ours.keys() & theirs.keys() if one["hash"] == other["hash"] else {*ours, *theirs}
    found = sorted(key for key in shared if ours.get(key, [None])[0] != theirs.get(key, [None])[0])
    if one.get("sparse_checkpoints", []) != other.get("sparse_checkpoints", []):
        found.insert(0, "sparse_checkpoints")
    return found or ([] if one["hash"] == other["hash"] else ["the recipe's hash"])


def _cell_problems(one: Study, other: Study) -> list[str]:
    """Cells that lead to other stages, and methods of which other facts are kept."""
    comparison, told = Comparison(one.plan, other.plan), list[str]()
    apart = [
        cell for cell in one.plan.paths if other.plan.paths.get(cell, one.plan.paths[cell]) != one.plan.paths[cell]
    ]
    if apart:
        found = [
            each
            for cell in apart
            for each in comparison.differences(one.plan.endpoint(cell), other.plan.endpoint(cell))
        ]
        more = f", and {len(apart) - MOST_NAMED} more" if len(apart) > MOST_NAMED else ""
        told.append(
            f"{counted(len(apart), 'cell')} ({', '.join(map(str, apart[:MOST_NAMED]))}{more}) were made otherwise; "
            f"they differ in {', '.join(described(found)) or 'stages'}"
        )
    shared = sorted(one.plan.methods.keys() & other.plan.methods.keys())
    told += [
        f"method {method} is not declared alike"
        for method in shared
        if one.plan.methods[method] != other.plan.methods[method]
    ]
    return told


def _texts_apart(where: str, one: Mapping[str, Any], other: Mapping[str, Any], kept: str) -> list[str]:
    apart = [name for name in ("preset", "description", "notes") if one.get(name) != other.get(name)]
    return [f"{where}: the recipe's {' and '.join(apart)} are worded otherwise; those of {kept} stay."] if apart else []


def _joined(one: Study, other: Study) -> Study:
    """The first study with the cells of the other that it lacks."""
    plan = union_of(one.plan, other.plan, counts=one.plan)
    settings = dict(sorted({**other.recipe["settings"], **one.recipe["settings"]}.items()))
    defaults = sorted({*one.recipe.get("defaults", ()), *other.recipe.get("defaults", ())})
    listed = {"defaults": defaults} if defaults or "defaults" in one.recipe else {}
    return Study(one.name, {**one.recipe, **listed, "settings": settings}, plan)
