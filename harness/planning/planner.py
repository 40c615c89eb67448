"""Plan: cells in, a graph of stages out.

Planning is pure: it reads no disk and starts nothing. Stages with equal identity are one stage, so that what cells
share (corpus, teacher preparation, student pruning, task teachers) appears once.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from harness.errors import Problem, UsageError
from harness.planning.chain import Chain, PlanCache
from harness.planning.graph import Inputs, Plan
from harness.planning.method_call import MethodFault, model_stage
from harness.planning.method_registry import FoundMethod, find_method
from harness.planning.recipe import Recipe
from harness.specs import Cell


def plan_cells(
    cells: Iterable[Cell],
    recipe: Recipe,
    inputs: Inputs,
    known: Mapping[str, FoundMethod] | None = None,
    measures: Sequence[str] = (),
) -> Plan:
    """The plan of `cells` in the order given. Raises UsageError with every problem that they have.

    known: methods that were found already, by name; others are looked up. measures: kinds of `MEASURES` that every
    cell's model is measured by.
    """
    with without_garbage_collection():
        return _planned(cells, recipe, inputs, dict(known or {}), measures)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """For work on a large plan, which only grows: the collector would walk through all of it again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _planned(
    cells: Iterable[Cell],
    recipe: Recipe,
    inputs: Inputs,
    methods: dict[str, FoundMethod],
    measures: Sequence[str],
) -> Plan:
    plan, cache = Plan(), PlanCache()
    named: dict[str, None] = {}
    problems: dict[Problem, None] = {}
    faults: dict[tuple[str, str], Problem] = {}  # one for all cells that have it
    for cell in cells:
        try:
            if cell.method not in methods:
                methods[cell.method] = find_method(cell.method)
            found = methods[cell.method]
            chain = Chain(
                plan=plan,
                cell=cell,
                recipe=recipe,
                inputs=inputs,
                owned=found.kinds,
                declared_by=found.target,
                cache=cache,
                problems=problems,
            )
            end = add_stages(found, chain)
            measured = tuple(chain.measure(kind, plan.stages[end]).stage_id for kind in measures)
        except MethodFault as error:
            faults.setdefault(error.source, error.problems[0])
            continue
        except UsageError as error:
            problems.update(dict.fromkeys(error.problems))
            continue
        named[cell.method] = None
        plan.paths[cell] = plan.ancestors(end)
        if measured:
            plan.measures[cell] = measured
    if problems or faults:
        raise UsageError([*problems, *faults.values()])
    plan.methods.update({name: methods[name].facts() for name in sorted(named)})
    return plan


def add_stages(found: FoundMethod, chain: Chain) -> str:
    """Add a cell's stages and return the id of the last. Raises UsageError."""
    model = model_stage(found.method, chain, found.origin if found.package is not None else None)
    return chain.evaluation(model, arithmetic="int8" if chain.cell.quantization == "int8" else "fp32").stage_id
