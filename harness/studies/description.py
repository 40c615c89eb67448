"""All that is known of one stage or one cell of a study, as data: what `harness show` prints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from harness.errors import Problem, UsageError, unknown_name
from harness.planning.graph import Plan
from harness.planning.kept_recipe import recipe_of
from harness.planning.kinds import KINDS, TASK_DATA, StageKind
from harness.planning.parameter import Parameter
from harness.planning.recipe import Recipe, Setting, setting_keys
from harness.progress import read_progress
from harness.specs import Cell, StageSpec
from harness.store.attempts import Attempt, outcome_named
from harness.store.stage import StoredStage
from harness.store.store import Store
from harness.studies.reasons import Reason, read_reasons
from harness.studies.state import read_states, remaining
from harness.studies.study import Study
from harness.studies.verification import verified_records

CELL_KEYS = tuple(each.name for each in fields(Cell))
# Where a value has no setting of the recipe behind it: the plan gives it (seed, sparsity, ..), or the method fixes it.
PLAN, METHOD = "plan", "method"


def cells_named(plan: Plan, text: str) -> list[Cell] | None:
    """The cells that words such as method=prune-ofa,task=sst2 name; None where they are no words of cells alone.

    Raises UsageError for a value that no cell has, or where no cell has them all.
    """
    words = [tuple(part.strip() for part in word.partition("=")[::2]) for word in text.split(",") if word.strip()]
    if not words or any(key not in CELL_KEYS or not value for key, value in words):
        return None
    problems: list[Problem | str] = []
    for key, value in words:
        known = {_written(getattr(cell, key)) for cell in plan.paths}
        if _comparable(key, value) not in known:
            problems.append(unknown_name(key, value, known))
    if problems:
        raise UsageError(problems)
    wanted = [(key, _comparable(key, value)) for key, value in words]
    found = [cell for cell in plan.paths if all(_written(getattr(cell, key)) == value for key, value in wanted)]
    if not found:
        raise UsageError(
            f"no cell of this study is {text}. harness show with fewer of these words lists those there are."
        )
    return found


def _comparable(key: str, value: str) -> str:
    try:
        return _written(float(value)) if key == "sparsity" else value
    except ValueError:
        return value


def _written(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Descriptions:
    """Of the stages and cells of a study, as its store is now."""

    store: Store
    study: Study

    @property
    def plan(self) -> Plan:
        return self.study.plan

    @cached_property
    def states(self) -> dict[str, str]:
        return read_states(self.plan, self.store)

    @cached_property
    def reasons(self) -> dict[str, Reason]:
        work = remaining(self.plan, self.states)
        return read_reasons(self.plan, work, self.states, self.store, self.plan)

    @cached_property
    def cells_of(self) -> Mapping[str, list[Cell]]:
        """The cells that need a stage, by its id."""
        found: dict[str, list[Cell]] = defaultdict(list)
        for cell in self.plan.paths:
            for stage_id in self.plan.stages_of(cell):
                found[stage_id].append(cell)
        return found

    def stage(self, stage_id: str) -> dict[str, Any]:
        """The stage's identity, settings with their evidence, state and why, attempts, artifact, and its record.

        Raises StoreError for a record that cannot be trusted.
        """
        spec, stored = self.plan.stages[stage_id], self.store.stage(stage_id)
        record = self._records([stage_id, *spec.parents.values()]).get(stage_id)
        reason = self.reasons.get(stage_id)
        return {
            **self.line(stage_id),
            "reason": None if reason is None else reason.why,
            "detail": None if reason is None else reason.detail,
            "progress": self._progress(stage_id),
            "settings": settings_with_evidence(spec, self.plan, recipe_of(self.study.recipe)),
            "parents": [{"role": role, **self.line(parent)} for role, parent in spec.parents.items()],
            "inputs": dict(spec.inputs),
            "versions": dict(spec.versions),
            "cells": [cell.as_json() for cell in self.cells_of[stage_id]],
            "attempts": [_attempt(stored, attempt) for attempt in stored.attempts()],
            "artifact": {"path": str(stored.artifact_path), "there": stored.has_artifact()},
            "record_path": str(stored.record_path),
            "record": record,
        }

    def cell(self, cell: Cell) -> dict[str, Any]:
        """The cell, its state, metrics and counted sparsity, and its path of stages."""
        path, stages = self.plan.paths[cell], self.plan.stages_of(cell)
        records = self._records(stages)
        result = records.get(path[-1], {}).get("result", {})
        return {
            "cell": cell.as_json(),
            "scored_by": list(self.plan.task_of(cell).metrics),
            "label": str(cell),
            "state": self.states[path[-1]],
            "metrics": result.get("metrics"),
            "sparsity": result.get("cell_sparsity"),
            "stages": [{**self.line(stage_id), "seconds": _seconds(records.get(stage_id))} for stage_id in stages],
        }

    def line(self, stage_id: str) -> dict[str, Any]:
        """What a list has of a stage."""
        spec = self.plan.stages[stage_id]
        return {"id": stage_id, "label": self.plan.label(stage_id), "kind": spec.kind, "state": self.states[stage_id]}

    def _records(self, stage_ids: Collection[str]) -> Mapping[str, Mapping[str, Any]]:
        return verified_records(
            Plan(stages={stage_id: self.plan.stages[stage_id] for stage_id in stage_ids}), self.store
        )

    def _progress(self, stage_id: str) -> dict[str, Any] | None:
        stored = self.store.stage(stage_id)
        last = stored.last_attempt() if self.states[stage_id] == "running" else None
        found = read_progress(stored.progress_path(last.number)) if last is not None else None
        return None if found is None else asdict(found)


def _attempt(stored: StoredStage, attempt: Attempt) -> dict[str, Any]:
    log = stored.log_path(attempt.number)
    return {
        "number": attempt.number,
        "started": attempt.started,
        "ended": attempt.ended,
        "outcome": attempt.outcome,
        "label": None if attempt.outcome is None else outcome_named(attempt.outcome).label,
        "message": attempt.message,
        "retried": attempt.retried,
        "host": attempt.host,
        "log": str(log) if log.is_file() else None,
    }


def _seconds(record: Mapping[str, Any] | None) -> float | None:
    times = (record or {}).get("times", {})
    return times["ended"] - times["started"] if {"ended", "started"} <= times.keys() else None


def settings_with_evidence(spec: StageSpec, plan: Plan, recipe: Recipe) -> list[dict[str, Any]]:
    """Every parameter of a stage with the recipe's key that gave it, and the evidence for the value."""
    model, task, sparsity = plan.base_model(spec), spec.parameters.get("task"), _sparsity(spec)
    kind = KINDS.get(spec.kind) or _told_by(spec, recipe, model)
    rows = []
    for name, value in sorted(spec.parameters.items()):
        key = recipe.key_for(kind, name, model, task, sparsity)
        given = Setting(value, PLAN, "") if key is None else recipe.settings[key]
        evidence, source = given.evidence, given.source
        if given.value != value:
            evidence, source = METHOD, f"fixed by the method; the recipe has {given.value}"
        rows.append({"name": name, "value": value, "key": key, "evidence": evidence, "source": source})
    return rows


def _sparsity(spec: StageSpec) -> float | None:
    """An author's kind may have another thing of that name."""
    found = spec.parameters.get("sparsity")
    return found if isinstance(found, float) else None


def _told_by(spec: StageSpec, recipe: Recipe, model: str | None) -> StageKind:
    """A method's own kind as far as a stage tells it: its package may be gone.

    A parameter that has a setting of the kind is no setting of the task's data.
    """
    task, sparsity = spec.parameters.get("task"), _sparsity(spec)
    own = {
        name
        for name in spec.parameters
        if set(setting_keys(spec.kind, name, model=model, task=task, sparsity=sparsity)) & {*recipe.settings}
    }
    shared = {name for kind in KINDS.values() for name, each in kind.recipe.items() if each.shared}
    return StageKind(
        name=spec.kind,
        version=1,
        run="not:known",
        recipe={name: Parameter(str, shared=name in shared) for name in spec.parameters},
        work="data",
        task_data=tuple(name for name in TASK_DATA if name in spec.parameters.keys() - own),
    )
