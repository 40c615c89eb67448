"""Preset: what a grid runs where the user says nothing else, and its recipe, read from TOML.

A value in a preset is a table {value = .., EVIDENCE = "source or reason"}, where EVIDENCE is one of

    published   given in the paper or in the authors' release
    partner     given in a recipe published by the authors' partners or in another project
    searched    tried against others on data that no score is of; the text says which values, data and seeds, and is the
                same for every method that was searched alike
    assumed     nobody published it; the text says why this value

Where a key is given more than once for a stage, the most specific one counts: KIND.models.MODEL.tasks.TASK.KEY, then
KIND.tasks.TASK.KEY, KIND.models.MODEL.KEY, KIND.KEY and common.KEY. Of a kind that has a sparsity the first four may be
given for one, KIND.sparsities."0.9".KEY, which goes before the same without. Data settings stand under task.TASK.KEY.
The section of a kind that a method brings is [recipe."OWNER:NAME"]; it counts in grids that name such a method.

A preset may extend a shipped one (extends = "NAME"): what it does not give, it takes from there. A preset of the user's
own is a file of the same form, named by its path.

[[sparse_checkpoints]] of a preset (model, sparsity, repository, revision, published) are released sparse encoders at
pinned commits of the hub. Where there are any, methods that prune in pre-training start from them and prune nothing.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from harness.errors import UsageError, unknown, unknown_name
from harness.inputs.sparse_checkpoints import ReleasedCheckpoint, parse_released
from harness.planning.kept_recipe import hash_of
from harness.planning.kinds import KINDS, StageKind
from harness.planning.method_registry import all_loaded, is_owner, owned_kinds
from harness.planning.preset_form import form_problems
from harness.planning.recipe import PRESET_EVIDENCE, Recipe, Setting, is_of_unknown_owner, parameter_of_key, split_key
from harness.tasks import TASKS, Task


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Cells that a preset runs when the user names no method, sparsity or quantization. models None: any model."""

    models: tuple[str, ...] | None = None
    method: str
    sparsities: tuple[float, ...]
    quantization: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named grid with its recipe. models: those of a grid that names none; may be empty.

    sparse_checkpoints: released sparse encoders that take the place of pruning here; empty: there are none.
    """

    name: str
    description: str
    notes: tuple[str, ...]
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    data: str | None
    rows: tuple[Rows, ...]
    recipe: Recipe
    sparse_checkpoints: tuple[ReleasedCheckpoint, ...] = ()

    @property
    def recipe_hash(self) -> str:
        """128 bits over every dotted key and value, and the released checkpoints.

        Evidence and sources do not count, nor do declared defaults: a study lists those it uses among its settings.
        """
        return hash_of({key: setting.value for key, setting in self.recipe.settings.items()}, self.sparse_checkpoints)

    @property
    def released(self) -> dict[tuple[str, float], str]:
        """(model, sparsity) -> content of the released sparse encoder."""
        return {(found.model, found.sparsity): found.content_id for found in self.sparse_checkpoints}

    def changed(self, values: Mapping[str, Any]) -> Preset:
        """The preset with other values for some keys of its recipe. Raises UsageError listing every bad one."""
        return replace(self, recipe=self.recipe.changed(values))

    def as_json(self) -> dict[str, Any]:
        """What a study keeps of it.

        Where it speaks of methods' own kinds it says that none of its settings is a declared default, so that its hash
        can be checked (`kept_recipe`).
        """
        speaks_of_owned = any(":" in key for key in self.recipe.settings)
        return {
            **({"defaults": []} if speaks_of_owned else {}),
            "preset": self.name,
            "description": self.description,
            "notes": list(self.notes),
            "hash": self.recipe_hash,
            "settings": {key: [s.value, s.evidence, s.source] for key, s in sorted(self.recipe.settings.items())},
            "sparse_checkpoints": [
                {
                    "model": checkpoint.model,
                    "sparsity": checkpoint.sparsity,
                    "repository": checkpoint.source.repository,
                    "revision": checkpoint.source.revision,
                }
                for checkpoint in self.sparse_checkpoints
            ],
        }


def preset_names() -> list[str]:
    """Presets shipped with the package."""
    return sorted(
        f.name[:-5]
        for f in resources.files("harness.planning").joinpath("presets").iterdir()
        if f.name.endswith(".toml")
    )


def load_preset(word: str, methods: Collection[str] = (), tasks: Mapping[str, Task] = TASKS) -> Preset:
    """Read and check a preset: the name of a shipped one, or the path of a file (`is_preset_file`).

    methods: those that a grid names; the recipe may speak of their stage kinds, as of those of the preset's rows.
    tasks: those that the preset and the grid may name.
    Raises UsageError for what is not there or cannot be read, and for a malformed preset with every problem.
    """
    if is_preset_file(word):
        return _from_file(Path(word), methods, tasks)
    if word not in preset_names():
        problem = unknown("preset", word, preset_names())
        raise UsageError(replace(problem, next_move=f"{problem.next_move} A file of your own is named FILE.toml."))
    text = resources.files("harness.planning").joinpath("presets", f"{word}.toml").read_text(encoding="utf-8")
    return parse_preset(word, text, methods, tasks)


def is_preset_file(word: str) -> bool:
    """Whether `--preset WORD` means a file: a word that ends in .toml or has a path separator."""
    return word.endswith(".toml") or any(separator in word for separator in (os.sep, os.altsep) if separator)


def _from_file(path: Path, methods: Collection[str], tasks: Mapping[str, Task]) -> Preset:
    """The preset in a file, named by the file's stem."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        shipped = ", ".join(preset_names())
        raise UsageError(
            f"preset file {path} does not exist: correct the path, or name a shipped preset: {shipped}."
        ) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"preset file {path} is not UTF-8 text (byte {error.start}).") from None
    except OSError as error:
        raise UsageError(f"preset file {path} cannot be read: {error.strerror}.") from None
    if path.stem in preset_names():  # its records would pass for the shipped preset's
        raise UsageError(f"preset file {path}: {path.stem!r} is a shipped preset; give the file a name of its own.")
    return parse_preset(path.stem, text, methods, tasks)


def parse_preset(name: str, text: str, methods: Collection[str] = (), tasks: Mapping[str, Task] = TASKS) -> Preset:
    """A preset from TOML text; see the module's head for the form. Raises UsageError with every problem."""
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of TOML, or of a number of thousands of digits
        raise UsageError(f"preset {name!r} is not TOML: {error}.") from None
    problems = form_problems(tree, tasks)
    extended = tree.get("extends")
    if isinstance(extended, str) and extended not in preset_names():
        problems.append("extends: " + unknown_name("preset", extended, preset_names()))
    named = [*methods, *_methods_of_rows(tree)]
    owned, all_owned = owned_kinds(named), all_loaded(named)
    settings, bad_settings = _settings(tree.get("recipe", {}), owned, named, all_owned, tasks)
    problems += bad_settings
    try:
        released = None if problems else parse_released(tree.get("sparse_checkpoints", ()))
    except UsageError as error:
        problems += [problem.message for problem in error.problems]
    if problems:
        raise UsageError([f"preset {name!r}: {problem}" for problem in problems])
    base = load_preset(extended, methods, tasks) if extended else None
    if base:
        settings, owned = {**base.recipe.settings, **settings}, {**base.recipe.owned, **owned}
    rows = tuple(_rows(row) for row in tree["rows"]) if "rows" in tree else base.rows if base else ()
    return Preset(
        name=name,
        description=tree["description"],
        notes=(*(base.notes if base else ()), *tree.get("notes", ())),
        tasks=tuple(tree["tasks"]) if "tasks" in tree else base.tasks if base else (),
        models=tuple(tree["models"]) if "models" in tree else base.models if base else (),
        seeds=tuple(tree["seeds"]) if "seeds" in tree else base.seeds if base else (0,),
        data=tree.get("data", base.data if base else None),
        rows=rows,
        recipe=Recipe(settings=settings, owned=owned, all_owned=all_owned, tasks=tasks),
        sparse_checkpoints=released or (base.sparse_checkpoints if base else ()),
    )


def _methods_of_rows(tree: Mapping[str, Any]) -> list[str]:
    """The methods that a preset's rows name, as far as the rows can be read."""
    rows = tree.get("rows")
    named = [row.get("method") for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    return [name for name in named if isinstance(name, str)]


def _rows(row: Mapping[str, Any]) -> Rows:
    return Rows(
        models=tuple(row["models"]) if "models" in row else None,
        method=row["method"],
        sparsities=tuple(float(s) for s in row["sparsities"]),
        quantization=tuple(row["quantization"]),
    )


def _settings(
    tree: Any,
    owned: Mapping[str, StageKind],
    named: Collection[str],
    all_owned: bool,
    tasks: Mapping[str, Task],
) -> tuple[dict[str, Setting], list[str]]:
    """The settings by dotted key, and a sentence for each that cannot be read.

    owned: the stage kinds of the `named` methods. A section of a method that is not among them is kept as it is:
    nothing reads it. all_owned: as in `Recipe`.
    """
    problems: list[str] = []
    settings: dict[str, Setting] = {}
    kinds = {**KINDS, **owned}
    for key, entry in _entries(tree if isinstance(tree, Mapping) else {}, kinds, tasks):
        declared = parameter_of_key(key, kinds, tasks)
        is_judged = all_owned or not is_of_unknown_owner(key, kinds)
        others = {*named, *(kind.owner for kind in owned.values())}
        if declared is None and is_judged and not _is_of_another_method(key, others):
            problems.append(f"recipe key {key!r} belongs to no stage kind.")
            continue
        evidence = [word for word in PRESET_EVIDENCE if word in entry]
        if "value" not in entry or len(evidence) != 1 or len(entry) != 2:
            problems.append(f"{key} needs a value and exactly one of {', '.join(PRESET_EVIDENCE)}.")
            continue
        source = entry[evidence[0]]
        if not isinstance(source, str) or not source.strip():
            problems.append(f"{key}: {evidence[0]} = {source!r}: expected the source or reason as a text.")
            continue
        try:
            value = entry["value"] if declared is None else declared.parse(entry["value"])
            settings[key] = Setting(value, evidence[0], source)
        except ValueError as error:
            problems.append(f"{key}: {error}")
    return settings, problems


def _is_of_another_method(key: str, named: Collection[str | None]) -> bool:
    """Whether the key is of an owned kind whose OWNER is a method or package there is, but none that is `named`."""
    owner, colon, _ = split_key(key)[0].partition(":")
    return bool(colon) and owner not in named and is_owner(owner)


def _entries(
    tree: Mapping[str, Any], kinds: Mapping[str, StageKind], tasks: Mapping[str, Task], prefix: str = ""
) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for key, value in tree.items():
        if (
            isinstance(value, Mapping)
            and parameter_of_key(f"{prefix}{key}", kinds, tasks) is None
            and not {"value", *PRESET_EVIDENCE, "set"} & set(value)
        ):
            yield from _entries(value, kinds, tasks, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, Mapping) else {}
