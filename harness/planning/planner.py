"""Plan: cells in, a graph of stages out.

Planning is pure: it reads no disk and starts nothing. Stages with equal identity are one stage, so that what cells
share (corpus, teacher preparation, student pruning, task teachers) appears once.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from harness.errors import Problem, UsageError
from harness.planning.chain import Chain, PlanCache
from harness.planning.graph import Inputs, Plan
from harness.planning.method_registry import FoundMethod, find_method
from harness.planning.recipe import Recipe
from harness.specs import Cell


def plan_cells(
    cells: Iterable[Cell], recipe: Recipe, inputs: Inputs, known: Mapping[str, FoundMethod] | None = None
) -> Plan:
    """The plan of `cells` in the order given. Raises UsageError with every problem that they have.

    known: methods that were found already, by name; others are looked up.
    """
    with _without_garbage_collection():
        return _planned(cells, recipe, inputs, dict(known or {}))


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """A plan only grows: the collector would walk through all of it again and again, and find nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _planned(cells: Iterable[Cell], recipe: Recipe, inputs: Inputs, methods: dict[str, FoundMethod]) -> Plan:
    plan, cache = Plan(), PlanCache()
    named: dict[str, None] = {}
    problems: dict[Problem, None] = {}
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
            end = _add_stages(found, chain)
        except UsageError as error:
            problems.update(dict.fromkeys(error.problems))
            continue
        named[cell.method] = None
        plan.paths[cell] = plan.ancestors(end)
    if problems:
        raise UsageError(list(problems))
    plan.methods.update({name: methods[name].facts() for name in sorted(named)})
    return plan


def _add_stages(found: FoundMethod, chain: Chain) -> str:
    """Add a cell's stages and return the id of the last. What another package's code raises is a UsageError."""
    try:
        model = found.method.stages(chain)
        is_int8 = chain.cell.quantization == "int8"
        if is_int8:
            model = found.method.quantize(chain, model)
        return chain.evaluation(model, arithmetic="int8" if is_int8 else "fp32").stage_id
    except UsageError:
        raise
    except Exception as error:
        if found.package is None:
            raise
        text = " ".join(str(error).split())
        raise UsageError(
            f"{found.origin}: its stages for {chain.cell.model} on {chain.cell.task} cannot be planned "
            f"({type(error).__name__}{': ' if text else ''}{text}). Mend the package, or leave the method out."
        ) from error
