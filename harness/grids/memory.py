"""Whether stages fit into this machine's memory, as far as their kinds say what they need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache

from harness.grids.workload import shape_for
from harness.inputs.shapes import Shape
from harness.planning.graph import Plan
from harness.planning.kinds import KINDS
from harness.planning.method_call import faults_of
from harness.planning.method_registry import kind_of


def memory_problems(
    plan: Plan, waiting: Iterable[str], shapes: Mapping[str, Shape], available: Callable[[], int | None]
) -> list[str]:
    """A sentence for each stage of a method's own kind that needs more bytes at once than the machine has.

    available: bytes of the device that trains, None where nobody can tell; looked up once, where a kind gives its need.
    """
    found: dict[str, None] = {}
    machine = cache(available)
    for stage_id in waiting:
        spec = plan.stages[stage_id]
        if spec.kind in KINDS:
            continue
        memory, shape = kind_of(spec).memory, shape_for(spec, plan, shapes)
        if memory is None or shape is None:
            continue
        with faults_of(memory, f"stage kind {spec.kind!r}: its memory", plan.label(stage_id)):
            needed = float(memory(shape, spec.parameters))
        if (there := machine()) is not None and needed > there:
            found[
                f"{plan.label(stage_id)} needs {needed / 1e9:,.1f} GB of memory at once, and this machine has "
                f"{there / 1e9:,.1f} GB. Run it on a larger one, or change the setting that it grows with."
            ] = None
    return list(found)
