"""Recipe: every hyperparameter of every stage, resolved from a TOML preset, each value with its evidence.

A value in a preset is a table {value = .., EVIDENCE = "source or reason"}, where EVIDENCE is one of

    published   stands in the paper or in the authors' release
    partner     stands in a recipe published by the authors' partners or in another project
    assumed     nobody published it; the text says why this value

Where a key is given more than once for a stage, the most specific one counts: KIND.models.MODEL.tasks.TASK.KEY, then
KIND.tasks.TASK.KEY, KIND.models.MODEL.KEY, KIND.KEY and common.KEY. Data settings stand under task.TASK.KEY.

A preset may extend another one (extends = "NAME"): it takes over what it does not say itself.

[[sparse_checkpoints]] of a preset (model, sparsity, repository, revision, published) are released sparse encoders at
pinned commits of the hub. Where there are any, methods that prune in pre-training start from them and prune nothing.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

from harness.errors import UsageError, unknown_name
from harness.identity import sha256_of
from harness.kinds import DOMAINS, KINDS, TASK_DATA, StageKind
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
    """All settings of a preset by dotted key, after `--set`."""

    preset: str
    description: str
    notes: tuple[str, ...]
    tasks: tuple[str, ...]
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


def preset_names() -> list[str]:
    """Presets shipped with the package."""
    return sorted(
        f.name[:-5] for f in resources.files("harness").joinpath("presets").iterdir() if f.name.endswith(".toml")
    )


def load_preset(name: str) -> Recipe:
    """Read and check a shipped preset. Raises UsageError for an unknown name or a malformed file (every problem)."""
    if name not in preset_names():
        raise UsageError(unknown_name("preset", name, preset_names()))
    text = resources.files("harness").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")
    return parse_preset(name, text)


def parse_preset(name: str, text: str) -> Recipe:
    """A recipe from TOML text; see the module's head for the form. Raises UsageError with every problem."""
    tree = tomllib.loads(text)
    base = load_preset(tree["extends"]) if "extends" in tree else None
    rows = tuple(_rows(row) for row in tree["rows"]) if "rows" in tree else base.rows if base else ()
    return Recipe(
        preset=name,
        description=tree["description"],
        notes=(*(base.notes if base else ()), *tree.get("notes", ())),
        tasks=tuple(tree["tasks"]) if "tasks" in tree else base.tasks if base else (),
        seeds=tuple(tree["seeds"]) if "seeds" in tree else base.seeds if base else (0,),
        data=tree.get("data", base.data if base else None),
        rows=rows,
        settings={**(base.settings if base else {}), **_settings(name, tree.get("recipe", {}))},
        sparse_checkpoints=(
            parse_released(name, tree["sparse_checkpoints"])
            if "sparse_checkpoints" in tree
            else base.sparse_checkpoints
            if base
            else ()
        ),
    )


def _rows(row: Mapping[str, Any]) -> Rows:
    return Rows(
        models=tuple(row["models"]) if "models" in row else None,
        method=row["method"],
        sparsities=tuple(float(s) for s in row["sparsities"]),
        quantization=tuple(row["quantization"]),
    )


def _settings(preset: str, tree: Mapping[str, Any]) -> dict[str, Setting]:
    problems: list[str] = []
    settings: dict[str, Setting] = {}
    for key, entry in _entries(tree):
        expected = _type_of(key)
        if expected is None:
            problems.append(f"preset {preset!r}: recipe key {key!r} belongs to no stage kind.")
            continue
        evidence = [word for word in EVIDENCE[:3] if word in entry]
        if "value" not in entry or len(evidence) != 1 or len(entry) != 2:
            problems.append(f"preset {preset!r}: {key} needs a value and exactly one of {', '.join(EVIDENCE[:3])}.")
            continue
        try:
            settings[key] = Setting(_typed(key, entry["value"], expected), evidence[0], entry[evidence[0]])
        except ValueError as error:
            problems.append(f"preset {preset!r}: {key}: {error}")
    if problems:
        raise UsageError(problems)
    return settings


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
