"""Whether the stages that a study lists for a cell are that cell's own.

Of every method the model, the task, the quantization, the seed and the completeness of the path can be told; of a
built-in one every stage (`harness.planning.method_template`).
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.planning.graph import Plan
from harness.planning.method_template import Mismatch, templates
from harness.specs import Cell

# How much of a form a cell still has that differs from it in this; the most first.
_LIKENESS = ("cell", "value", "parent", "kind")


def cell_problem(plan: Plan, cell: Cell) -> str | None:
    """What shows that a cell's stages are not its own; None where nothing does."""
    path = plan.paths[cell]
    if not path or plan.stages[path[-1]].kind != "evaluation":
        return "they do not end with an evaluation"
    if plan.methods[cell.method].is_built_in:
        found = _unlike_its_method(plan, cell)
    else:
        found = next(_unlike_its_facts(plan, cell), None)
    if found is None and path != (needed := plan.ancestors(path[-1])) and set(path) != set(needed):
        return "they are not its last stage and all that it depends on"
    if found is not None:
        return str(found)
    model = plan.stages[path[-1]].parents["model"]
    for measure in (plan.stages[stage_id] for stage_id in plan.measures.get(cell, ())):
        if plan.work_of_kind(measure.kind) != "measuring" or measure.parents.get("model") != model:
            return f"its {measure.kind} is no measure of the model that its evaluation scores"
    return None


def _unlike_its_method(plan: Plan, cell: Cell) -> Mismatch | None:
    """The first difference from the form of the method's cells that they are most like; None where they have a form."""
    task = plan.task_of(cell)
    if task.name != cell.task:
        return next(_unlike_its_facts(plan, cell))
    found = []
    for form in templates(cell.method, task, cell.quantization):
        problem = form.mismatch(plan, cell)
        if problem is None:
            return None
        found.append(problem)
    # A difference in the cell's facts tells more than that in the stages of a form which was not meant.
    facts = next(_unlike_its_facts(plan, cell), None)
    return facts or min(found, key=lambda problem: _LIKENESS.index(problem.what))


def _unlike_its_facts(plan: Plan, cell: Cell) -> Iterator[Mismatch]:
    """What can be told of any method."""
    end = plan.endpoint(cell)
    evaluation, models = plan.stages[end].parameters, [*plan.models_behind(plan.stages[end])]
    arithmetic = "int8" if cell.quantization == "int8" else "fp32"
    facts: list[tuple[str, object, object]] = [
        ("evaluation.task", evaluation.get("task"), cell.task),
        ("evaluation.arithmetic", evaluation.get("arithmetic"), arithmetic),
    ]
    for spec in models:
        facts += [
            (f"{spec.kind}.model", spec.parameters.get("model", cell.model), cell.model),
            (f"{spec.kind}.task", spec.parameters.get("task", cell.task), cell.task),
        ]
    for spec in models[:1]:
        facts.append((f"{spec.kind}.seed", spec.parameters.get("seed", cell.seed), cell.seed))
    for name, found, expected in facts:
        if found != expected:
            yield Mismatch("value", name, found, expected)
    if cell.pruning_seed and not plan.methods[cell.method].prunes_in_pretraining:
        yield Mismatch("cell", "pruning_seed", cell.pruning_seed, 0)
