"""Recipe: every hyperparameter of every stage, each value with its evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import UsageError, unknown_name
from harness.identity import sha256_of
from harness.inputs.sparse_checkpoints import ReleasedCheckpoint
from harness.planning.kinds import DOMAINS, KINDS, TASK_DATA, StageKind
from harness.tasks import TASKS, get_task
from harness.wording import assignment, option

EVIDENCE = ("published", "partner", "assumed", "set")


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
        released = {f"sparse_checkpoints.{checkpoint}": checkpoint.content_id for checkpoint in self.sparse_checkpoints}
        return sha256_of({**values, **released})[:32]

    def released(self, model: str, sparsity: float) -> ReleasedCheckpoint:
        """The released checkpoint for a model and sparsity. Raises UsageError that lists those there are."""
        for checkpoint in self.sparse_checkpoints:
            if (checkpoint.model, checkpoint.sparsity) == (model, sparsity):
                return checkpoint
        raise UsageError(
            f"preset {self.preset!r} has no sparse checkpoint for {model} at {sparsity:g}. There are: "
            f"{', '.join(map(str, self.sparse_checkpoints))}. Bring one of your own with {option('sparse-from')} "
            "NAME=DIR, or "
            "prune here under another preset."
        )

    def changed(self, values: Mapping[str, Any]) -> Recipe:
        """A recipe with other values for some of its keys. Raises UsageError listing every bad one."""
        settings, problems = dict(self.settings), []
        for key, value in values.items():
            what = f"{option('set')} {assignment(key, value)}"
            expected = type_of_key(key)
            if expected is None:
                problems.append(f"{what}: " + unknown_name("recipe key", key, self.settings))
                continue
            try:
                settings[key] = Setting(typed_value(key, value, expected), "set", "command line")
            except ValueError as error:
                problems.append(f"{what}: {error}")
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
                if not get_task(task).has_setting(name):
                    continue
                if f"task.{task}.{name}" in self.settings:
                    found[name] = self.settings[f"task.{task}.{name}"].value
                else:
                    missing.append(f"task.{task}.{name}")
        if missing:
            raise UsageError(
                [
                    f"preset {self.preset!r} gives no value for {key}. Give one: {option('set')} {key}=.."
                    for key in missing
                ]
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
            fixed[name] = typed_value(name, values[name], kind.recipe[name])
        except ValueError as error:
            problems.append(f"{kind.name}.{name}: {error}")
    if problems:
        raise UsageError(problems)
    return fixed


def type_of_key(key: str) -> type | None:
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


def typed_value(key: str, value: Any, expected: type) -> Any:
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
