"""Template: the stages that a built-in method gives any cell, with the cell's own values left open.

What a study says of a cell is held against it. It has what the plan decides (kinds, parents, model, task, sparsity,
seeds) and nothing of a recipe, so a study of another recipe or code version fits it as well. Another package's method
has none: its declaration may have changed since, or be gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

from harness.planning.graph import Plan
from harness.planning.method_needs import StandIn
from harness.planning.method_registry import find_method
from harness.planning.planner import add_stages
from harness.specs import TEACHER_LOGITS, Cell, StageSpec
from harness.tasks import Task

# Values that no cell has, by the field that they stand for.
_OPEN: Mapping[str, Any] = {"model": "\0", "sparsity": 0.123456789, "seed": -1, "pruning_seed": -2}
_FIELDS = {value: name for name, value in _OPEN.items()}
# What a cell has of a field that no stage of its method holds.
_NEUTRAL: Mapping[str, Any] = {"sparsity": 0.0, "pruning_seed": 0}


class Mismatch(NamedTuple):
    """In what a cell's stages are not those of its method.

    what: "kind" of a stage, "parent" (whether it has one), "value" of a parameter, or "cell": a value of the cell that
    none of its stages holds. name: "kind", "KIND.ROLE", "KIND.PARAMETER" or the cell's field.
    """

    what: str
    name: str
    found: Any
    expected: Any

    def __str__(self) -> str:
        match self.what:
            case "kind":
                return f"there is a stage {self.found} where its method has {self.expected}"
            case "parent":
                kind, _, role = self.name.rpartition(".")
                return f"{kind} has {'a' if self.found else 'no'} {role}, unlike its method's"
            case "cell":
                return f"its {self.name} is {self.found!r}, not {self.expected!r}: none of its method's stages has one"
        return f"{self.name} is {self.found!r}, not {self.expected!r}"


@dataclass(frozen=True)
class Template:
    """A stage with all that it depends on. fields: parameters that are the cell's, by the name of its field."""

    kind: str
    fields: Mapping[str, str]
    fixed: Mapping[str, Any]
    parents: Mapping[str, Template]

    def mismatch(self, plan: Plan, cell: Cell) -> Mismatch | None:
        """The first thing in which a cell and its stages are not such a cell's; None where all fits.

        A value of the cell that no stage holds cannot be told from the stages: it must be the neutral one.
        """
        values = {field: getattr(cell, field) for field in _NEUTRAL.keys() - self.held}
        unheld = (
            Mismatch("cell", field, value, _NEUTRAL[field])
            for field, value in sorted(values.items())
            if value != _NEUTRAL[field]
        )
        return self._mismatch(plan, plan.endpoint(cell), cell) or next(unheld, None)

    @cached_property
    def held(self) -> frozenset[str]:
        """The cell's fields that a parameter of the stage or of one it depends on holds."""
        return frozenset(self.fields.values()).union(*(parent.held for parent in self.parents.values()))

    def _mismatch(self, plan: Plan, stage_id: str, cell: Cell) -> Mismatch | None:
        spec = plan.stages[stage_id]
        if spec.kind != self.kind:
            return Mismatch("kind", "kind", spec.kind, self.kind)
        if roles := (spec.parents.keys() ^ self.parents.keys()) - {TEACHER_LOGITS}:  # which a recipe decides
            role = min(roles)
            return Mismatch("parent", f"{spec.kind}.{role}", role in spec.parents, role in self.parents)
        wanted = {**self.fixed, **{name: getattr(cell, field) for name, field in self.fields.items()}}
        if not wanted.items() <= spec.parameters.items():  # most often all are there: one look instead of many
            for name, value in wanted.items():
                if spec.parameters.get(name) != value:
                    return Mismatch("value", f"{spec.kind}.{name}", spec.parameters.get(name), value)
        for role, parent in self.parents.items():
            if problem := parent._mismatch(plan, before_rounds(spec, role, plan), cell):
                return problem
        return None


def before_rounds(spec: StageSpec, role: str, plan: Plan) -> str:
    """The id of the parent of a stage that is of another kind, past the rounds before it.

    A method may run a kind of its own in rounds, each the parent of the next in the same role. How many there are is
    the recipe's matter, of which a template has nothing: the last stands for them all.
    """
    parent = spec.parents[role]
    while ":" in spec.kind and plan.stages[parent].kind == spec.kind and role in plan.stages[parent].parents:
        parent = plan.stages[parent].parents[role]
    return parent


@cache
def templates(method: str, task: Task, quantization: str) -> tuple[Template, ...]:
    """What the cells of a built-in method may look like: with pre-trained weights and random, released and pruned here.

    Raises UsageError for a method there is not.
    """
    found = find_method(method)
    cell = Cell(
        **{**_OPEN, "sparsity": _OPEN["sparsity"] if found.method.sparse else 0.0},
        method=method,
        task=task.name,
        quantization=quantization,
    )
    made: dict[str, Template] = {}
    for released in (False, True):
        for pretrained in (True, False):
            stand_in = StandIn(found.method, released=released, pretrained=pretrained, tasks={task.name: task})
            end = add_stages(found, stand_in.chain(cell))
            made.setdefault(end, _template(stand_in.plan.stages[end], stand_in.plan))
    return tuple(made.values())


def _template(spec: StageSpec, plan: Plan) -> Template:
    return Template(
        kind=spec.kind,
        fields={name: _FIELDS[value] for name, value in spec.parameters.items() if value in _FIELDS},
        fixed={name: value for name, value in spec.parameters.items() if value not in _FIELDS},
        parents={role: _template(plan.stages[before_rounds(spec, role, plan)], plan) for role in spec.parents},
    )
