"""Plan: cells in, a graph of stages out.

Planning is pure: it reads no disk and starts nothing. Stages with equal identity are one stage, so that what cells
share (corpus, teacher preparation, student pruning, task teachers) appears once.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.errors import Problem, UsageError
from harness.planning.chain import Chain, Known
from harness.planning.graph import Inputs, Plan
from harness.planning.method_registry import get_method, method_facts
from harness.planning.recipe import Recipe
from harness.specs import Cell


def plan_cells(cells: Iterable[Cell], recipe: Recipe, inputs: Inputs) -> Plan:
    """The plan of `cells` in the order given. Raises UsageError with every setting the recipe lacks for them."""
    plan, known = Plan(), Known()
    problems: dict[Problem, None] = {}
    for cell in cells:
        chain = Chain(plan=plan, cell=cell, recipe=recipe, inputs=inputs, known=known)
        try:
            model = get_method(cell.method).stages(chain)
            if cell.quantization == "int8":
                model = chain.quantization(model)
            end = chain.evaluation(model)
        except UsageError as error:
            problems.update(dict.fromkeys(error.problems))
            continue
        plan.paths[cell] = plan.ancestors(end.stage_id)
    if problems:
        raise UsageError(list(problems))
    named = sorted({cell.method for cell in plan.paths})
    plan.methods.update({name: facts for name in named if (facts := method_facts(name)) is not None})
    return plan
