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

import json
import math
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from harness.errors import UsageError, unknown_name
from harness.identity import sha256_of
from harness.kinds import DOMAINS, KINDS, TASK_DATA, StageKind
from harness.preset_form import form_problems
from harness.sparse_checkpoints import ReleasedCheckpoint, parse_released
from harness.tasks import TASKS, get_task

EVIDENCE = ("published", "partner", "assumed", "set")
QA_ONLY = ("doc_stride", "max_query_length", "n_best", "max_answer_length")


@dataclass(frozen=True)
class Setting:
    """A value, the kind of evidence it rests on, and the source or reason."""

    value: Any
    evidence: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Cells that a preset runs when the user names no method, sparsity or quantization. models None: any model."""

    models: tuple[str, ...] | None = None
    method: str
    sparsities: tuple[float, ...]
    quantization: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of a preset by dotted key, after `--set`. models: those of a grid that names none; may be empty."""

    preset: str
    description: str
    notes: tuple[str, ...]
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    data: str | None
    rows: tuple[Rows, ...]
    settings: Mapping[str, Setting]
    sparse_checkpoints: tuple[ReleasedCheckpoint, ...] = ()

    @property
    def recipe_hash(self) -> str:
        """128 bits over every dotted key and value, and the released checkpoints; evidence and sources do not count."""
        values = {key: setting.value for key, setting in self.settings.items()}
        released = {f"sparse_checkpoints.{checkpoint}": checkpoint.identity for checkpoint in self.sparse_checkpoints}
        return sha256_of({**values, **released})[:32]

    def released(self, model: str, sparsity: float) -> ReleasedCheckpoint:
        """The released checkpoint for a model and sparsity. Raises UsageError that lists those there are."""
        for checkpoint in self.sparse_checkpoints:
            if (checkpoint.model, checkpoint.sparsity) == (model, sparsity):
                return checkpoint
        raise UsageError(
            f"preset {self.preset!r} has no sparse checkpoint for {model} at {sparsity:g}. There are: "
            f"{', '.join(map(str, self.sparse_checkpoints))}. Bring one of your own with --sparse-from NAME=DIR, or "
            "prune here under another preset."
        )

    def changed(self, assignments: Sequence[str]) -> Recipe:
        """A recipe with `KEY=VALUE` assignments applied. Raises UsageError listing every bad one."""
        settings, problems = dict(self.settings), []
        for text in assignments:
            key, equals, raw = text.partition("=")
            key = key.strip()
            if not equals:
                problems.append(f"--set {text}: expected KEY=VALUE, for example transfer.learning_rate=1e-4.")
                continue
            expected = _type_of(key)
            if expected is None:
                problems.append(f"--set {text}: " + unknown_name("recipe key", key, self.settings))
                continue
            try:
                value = _typed(key, _parsed(raw.strip()), expected)
            except ValueError as error:
                problems.append(f"--set {text}: {error}")
                continue
            settings[key] = Setting(value, "set", "command line")
        if problems:
            raise UsageError(problems)
        return replace(self, settings=settings)

    def parameters(self, kind: StageKind, *, model: str | None = None, task: str | None = None) -> dict[str, Any]:
        """Every recipe parameter of a stage, fully resolved. Raises UsageError naming every missing key."""
        found, missing = {}, []
        for name in kind.recipe:
            prefixes = [
                f"{kind.name}.models.{model}.tasks.{task}",
                f"{kind.name}.tasks.{task}",
                f"{kind.name}.models.{model}",
                kind.name,
                "common",
            ]
            setting = next((self.settings[f"{p}.{name}"] for p in prefixes if f"{p}.{name}" in self.settings), None)
            if setting is None:
                missing.append(f"{kind.name}.{name}")
            else:
                found[name] = setting.value
        if task is not None:
            for name in kind.task_data:
                if name in QA_ONLY and get_task(task).kind != "extractive-qa":
                    continue
                if f"task.{task}.{name}" in self.settings:
                    found[name] = self.settings[f"task.{task}.{name}"].value
                else:
                    missing.append(f"task.{task}.{name}")
        if missing:
            raise UsageError(
                [f"preset {self.preset!r} gives no value for {key}. Give one: --set {key}=.." for key in missing]
            )
        return found

    def as_json(self) -> dict[str, Any]:
        return {
            "preset": self.preset,
            "description": self.description,
            "notes": list(self.notes),
            "hash": self.recipe_hash,
            "settings": {key: [s.value, s.evidence, s.source] for key, s in sorted(self.settings.items())},
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


def fixed_settings(kind: StageKind, values: Mapping[str, Any], *, without: Sequence[str] = ()) -> dict[str, Any]:
    """What a method gives in the place of a recipe's values, in the recipe's types.

    without: parameters that this stage has not. Raises UsageError for an unknown name or a value that cannot be meant.
    """
    known = [name for name in kind.recipe if name not in without]
    problems = [f"{kind.name}: {unknown_name('setting', name, known)}" for name in values if name not in known]
    fixed = {}
    for name in values.keys() & set(known):
        try:
            fixed[name] = _typed(name, values[name], kind.recipe[name])
        except ValueError as error:
            problems.append(f"{kind.name}.{name}: {error}")
    if problems:
        raise UsageError(problems)
    return fixed


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
        problems += error.problems
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
        expected = _type_of(key)
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
            settings[key] = Setting(_typed(key, entry["value"], expected), evidence[0], source)
        except ValueError as error:
            problems.append(f"{key}: {error}")
    return settings, problems


def _entries(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Mapping[str, Any]]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and _type_of(f"{prefix}{key}") is None and not {"value", *EVIDENCE} & set(value):
            yield from _entries(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, Mapping) else {}


def _type_of(key: str) -> type | None:
    """The type a dotted recipe key must have, or None when no stage kind knows it."""
    head, _, name = key.rpartition(".")
    if head == "common":
        return next((kind.recipe[name] for kind in KINDS.values() if name in kind.recipe), None)
    section, *scope = head.split(".")
    if section == "task" and len(scope) == 1 and scope[0] in TASKS:
        return TASK_DATA.get(name)
    if section in KINDS and _is_scope(scope):
        return KINDS[section].recipe.get(name)
    return None


def _is_scope(words: list[str]) -> bool:
    """[], [tasks, TASK], [models, MODEL] or [models, MODEL, tasks, TASK]."""
    if words[:1] == ["models"] and len(words) >= 2:
        words = words[2:]
    return not words or (len(words) == 2 and words[0] == "tasks" and words[1] in TASKS)


def _typed(key: str, value: Any, expected: type) -> Any:
    """The value as the key's type. Raises ValueError when it is of another type or outside the key's domain."""
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not expected:
        raise ValueError(f"{value!r} is {type(value).__name__}, expected {expected.__name__}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value!r}: expected a finite number.")
    domain = DOMAINS.get(key.rpartition(".")[2])
    if domain is not None and not domain.holds(value):
        raise ValueError(f"{value!r}: expected {domain.words}.")
    return value


def _parsed(raw: str) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw
