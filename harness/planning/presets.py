"""Recipe: every hyperparameter of every stage, resolved from a TOML preset, each value with its evidence.

A value in a preset is a table {value = .., EVIDENCE = "source or reason"}, where EVIDENCE is one of

    published   stands in the paper or in the authors' release
    partner     stands in a recipe published by the authors' partners or in another project
    assumed     nobody published it; the text says why this value

Where a key is given more than once for a stage, the most specific one counts: KIND.models.MODEL.tasks.TASK.KEY, then
KIND.tasks.TASK.KEY, KIND.models.MODEL.KEY, KIND.KEY and common.KEY. Data settings stand under task.TASK.KEY.

A preset may extend a shipped one (extends = "NAME"): it takes over what it does not say itself. A preset of the user's
own is a file of the same form, named by its path.

[[sparse_checkpoints]] of a preset (model, sparsity, repository, revision, published) are released sparse encoders at
pinned commits of the hub. Where there are any, methods that prune in pre-training start from them and prune nothing.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from harness.errors import UsageError, unknown_name
from harness.inputs.sparse_checkpoints import parse_released
from harness.planning.preset_form import form_problems
from harness.planning.recipe import EVIDENCE, Recipe, Rows, Setting, type_of_key, typed_value


def preset_names() -> list[str]:
    """Presets shipped with the package."""
    return sorted(
        f.name[:-5] for f in resources.files("harness").joinpath("presets").iterdir() if f.name.endswith(".toml")
    )


def load_preset(word: str) -> Recipe:
    """Read and check a preset: the name of a shipped one, or the path of a file (`is_preset_file`).

    Raises UsageError for what is not there or cannot be read, and for a malformed preset with every problem.
    """
    if is_preset_file(word):
        return _from_file(Path(word))
    if word not in preset_names():
        raise UsageError(unknown_name("preset", word, preset_names()) + " A file of your own is named FILE.toml.")
    text = resources.files("harness").joinpath("presets", f"{word}.toml").read_text(encoding="utf-8")
    return parse_preset(word, text)


def is_preset_file(word: str) -> bool:
    """Whether `--preset WORD` means a file: a word that ends in .toml or has a path separator."""
    return word.endswith(".toml") or any(separator in word for separator in (os.sep, os.altsep) if separator)


def _from_file(path: Path) -> Recipe:
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
    return parse_preset(path.stem, text)


def parse_preset(name: str, text: str) -> Recipe:
    """A recipe from TOML text; see the module's head for the form. Raises UsageError with every problem."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"preset {name!r} is not TOML: {error}.") from None
    problems = form_problems(tree)
    extended = tree.get("extends")
    if isinstance(extended, str) and extended not in preset_names():
        problems.append("extends: " + unknown_name("preset", extended, preset_names()))
    settings, bad_settings = _settings(tree.get("recipe", {}))
    problems += bad_settings
    try:
        released = None if problems else parse_released(tree.get("sparse_checkpoints", ()))
    except UsageError as error:
        problems += [problem.message for problem in error.problems]
    if problems:
        raise UsageError([f"preset {name!r}: {problem}" for problem in problems])
    base = load_preset(extended) if extended else None
    rows = tuple(_rows(row) for row in tree["rows"]) if "rows" in tree else base.rows if base else ()
    return Recipe(
        preset=name,
        description=tree["description"],
        notes=(*(base.notes if base else ()), *tree.get("notes", ())),
        tasks=tuple(tree["tasks"]) if "tasks" in tree else base.tasks if base else (),
        models=tuple(tree["models"]) if "models" in tree else base.models if base else (),
        seeds=tuple(tree["seeds"]) if "seeds" in tree else base.seeds if base else (0,),
        data=tree.get("data", base.data if base else None),
        rows=rows,
        settings={**(base.settings if base else {}), **settings},
        sparse_checkpoints=released or (base.sparse_checkpoints if base else ()),
    )


def _rows(row: Mapping[str, Any]) -> Rows:
    return Rows(
        models=tuple(row["models"]) if "models" in row else None,
        method=row["method"],
        sparsities=tuple(float(s) for s in row["sparsities"]),
        quantization=tuple(row["quantization"]),
    )


def _settings(tree: Any) -> tuple[dict[str, Setting], list[str]]:
    """The settings by dotted key, and a sentence for each that cannot be meant."""
    problems: list[str] = []
    settings: dict[str, Setting] = {}
    for key, entry in _entries(tree if isinstance(tree, Mapping) else {}):
        expected = type_of_key(key)
        if expected is None:
            problems.append(f"recipe key {key!r} belongs to no stage kind.")
            continue
        evidence = [word for word in EVIDENCE[:3] if word in entry]
        if "value" not in entry or len(evidence) != 1 or len(entry) != 2:
            problems.append(f"{key} needs a value and exactly one of {', '.join(EVIDENCE[:3])}.")
            continue
        source = entry[evidence[0]]
        if not isinstance(source, str) or not source.strip():
            problems.append(f"{key}: {evidence[0]} = {source!r}: expected the source or reason as a text.")
            continue
        try:
            settings[key] = Setting(typed_value(key, entry["value"], expected), evidence[0], source)
        except ValueError as error:
            problems.append(f"{key}: {error}")
    return settings, problems


def _entries(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Mapping[str, Any]]]:
    for key, value in tree.items():
        if (
            isinstance(value, Mapping)
            and type_of_key(f"{prefix}{key}") is None
            and not {"value", *EVIDENCE} & set(value)
        ):
            yield from _entries(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, Mapping) else {}
