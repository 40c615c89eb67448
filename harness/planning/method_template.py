"""Template: the stages that a built-in method gives any cell, with the cell's own values left open.

What a study says of a cell is held against it. It has what the plan decides (kinds, parents, model, task, sparsity,
seeds) and nothing of a recipe, so a study of another recipe or code version fits it as well. Another package's method
has none: its declaration may have changed since, or be gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from harness.planning.graph import Plan
from harness.planning.method_needs import StandIn
from harness.planning.method_registry import find_method
from harness.planning.planner import add_stages
from harness.specs import Cell, StageSpec

# Values that no cell has, by the field that they stand for.
_OPEN: Mapping[str, Any] = {"model": "\0", "sparsity": 0.123456789, "seed": -1, "pruning_seed": -2}
_FIELDS = {value: name for name, value in _OPEN.items()}


@dataclass(frozen=True)
class Template:
    """A stage with all that it depends on. fields: parameters that are the cell's, by the name of its field."""

    kind: str
    fields: Mapping[str, str]
    fixed: Mapping[str, Any]
    parents: Mapping[str, Template]

    def mismatch(self, plan: Plan, stage_id: str, cell: Cell) -> str | None:
        """The first thing in which a stage and its parents are not such a cell's; None where all fits."""
        spec = plan.stages[stage_id]
        if spec.kind != self.kind:
            return f"there is a stage {spec.kind} where its method has {self.kind}"
        if differing := sorted(spec.parents.keys() ^ self.parents.keys()):
            has = "a" if differing[0] in spec.parents else "no"
            return f"{spec.kind} has {has} {differing[0]}, unlike its method's"
        wanted = {**self.fixed, **{name: getattr(cell, field) for name, field in self.fields.items()}}
        for name, value in wanted.items():
            if spec.parameters.get(name) != value:
                return f"{spec.kind}.{name} is {spec.parameters.get(name)!r}, not {value!r}"
        problems = (parent.mismatch(plan, spec.parents[role], cell) for role, parent in self.parents.items())
        return next((problem for problem in problems if problem), None)


@cache
def templates(method: str, task: str, quantization: str) -> tuple[Template, ...]:
    """What the cells of a built-in method may look like: with pre-trained weights and random, released and pruned here.

    Raises UsageError for a method there is not.
    """
    found = find_method(method)
    cell = Cell(
        **{**_OPEN, "sparsity": _OPEN["sparsity"] if found.method.sparse else 0.0},
        method=method,
        task=task,
        quantization=quantization,
    )
    made: dict[str, Template] = {}
    for released in (False, True):
        for pretrained in (True, False):
            stand_in = StandIn(found.method, released=released, pretrained=pretrained)
            end = add_stages(found, stand_in.chain(cell))
            made.setdefault(end, _template(stand_in.plan.stages[end], stand_in.plan))
    return tuple(made.values())


def _template(spec: StageSpec, plan: Plan) -> Template:
    return Template(
        kind=spec.kind,
        fields={name: _FIELDS[value] for name, value in spec.parameters.items() if value in _FIELDS},
        fixed={name: value for name, value in spec.parameters.items() if value not in _FIELDS},
        parents={role: _template(plan.stages[parent], plan) for role, parent in spec.parents.items()},
    )
