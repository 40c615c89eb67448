"""Bundles: which stages one worker runs one after another.

A bundle is a chain such as transfer, evaluation, quantization, evaluation. It starts with a stage all of whose parents
are done; later stages depend on nothing else that is unfinished. What many cells wait for (a task teacher, a sparse
pre-trained model) ends its bundle, so that those cells run in parallel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from harness.planning.graph import Plan
from harness.specs import StageSpec


@dataclass(frozen=True)
class Bundle:
    """Stages in the order in which they run; parents come first."""

    stages: tuple[StageSpec, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(spec.stage_id for spec in self.stages)


def next_bundles(plan: Plan, waiting: Collection[str], finished: Collection[str]) -> list[Bundle]:
    """The bundles that can start now, in the plan's order; no stage is in two.

    waiting: stages to run that are in no bundle yet. finished: stages that have a record. A waiting stage that depends
    on any other (one that runs, a failed one) starts none.
    """
    order = [stage_id for stage_id in plan.stages if stage_id in waiting]
    children = Counter(parent for stage_id in order for parent in set(plan.stages[stage_id].parents.values()))
    home: dict[str, int] = {}
    bundles: list[list[StageSpec]] = []
    for stage_id in order:
        spec = plan.stages[stage_id]
        unfinished = [parent for parent in spec.parents.values() if parent not in finished]
        if not unfinished:
            home[stage_id] = len(bundles)
            bundles.append([spec])
            continue
        homes = {home.get(parent) for parent in unfinished}
        if len(homes) == 1 and any(_follows(plan, spec, parent, children[parent]) for parent in unfinished):
            (number,) = homes
            if number is not None:
                home[stage_id] = number
                bundles[number].append(spec)
    return [Bundle(tuple(stages)) for stages in bundles]


def _follows(plan: Plan, spec: StageSpec, parent: str, children: int) -> bool:
    """Whether a stage continues its parent's bundle: as its only child, or with its model on the same task."""
    task = spec.parameters.get("task")
    same_task = task is not None and plan.stages[parent].parameters.get("task") == task
    return children == 1 or (spec.parents.get("model") == parent and same_task)
