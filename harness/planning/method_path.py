"""The path of a method in words and counts: its stages, which of them its cells share, and what a cell costs.

Nothing of it is declared: it is read off the stages that the method adds for stand-in cells. A stage that two cells
have in common is one stage of the plan, so what changes from a cell to its neighbour along an axis is what that
neighbour costs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from harness.planning.kinds import KINDS
from harness.planning.method import Method
from harness.planning.method_call import model_stage
from harness.planning.method_needs import StandIn
from harness.specs import Cell, StageSpec
from harness.wording import counted

# Seeds other than that of the teacher: a cell of that seed may have its teacher's stage for one of its own.
_CELL: dict[str, Any] = {"sparsity": 0.9, "task": "sst2", "seed": 1, "pruning_seed": 1}
_NEIGHBOUR: dict[str, Any] = {"sparsity": 0.85, "task": "qnli", "seed": 2, "pruning_seed": 2}
_TRAINED = {"pretraining": "pre-training", "training": "training"}


@dataclass(frozen=True, kw_only=True)
class PathStages:
    """Stages of one kind in the path of a cell that differ by the same axes.

    axes: "sparsity", "task", "seed", "pruning seed": cells that differ by another one share the stages.
    """

    kind: str
    count: int
    axes: tuple[str, ...]

    def __str__(self) -> str:
        number = "one" if self.count == 1 else str(self.count)
        return f"{self.kind}: {number} for each {' x '.join(self.axes) or 'model'}"


@dataclass(frozen=True, kw_only=True)
class MethodPath:
    """The stages of a method's fp32 cells for one model, where nothing is released; without the evaluation.

    trained: the trainings of one cell at sparsity 0.9, as a count by the words for them.
    trained_anew: what a cell trains that differs by one axis from one that is there, by axis; at sparsity 0.85, for it.
    """

    stages: tuple[PathStages, ...]
    trained: dict[str, int]
    trained_anew: dict[str, dict[str, int]]

    @property
    def cost(self) -> str:
        """A cell: 2 pre-trainings, 2 trainings. Another task: 2 trainings. .. Axes that cost nothing are left out."""
        told = [f"another {axis}: {_told(anew)}" for axis, anew in self.trained_anew.items() if anew]
        return "; ".join([f"a cell: {_told(self.trained)}", *told])


def path_of(method: Method) -> MethodPath:
    """The path of a built-in method. Raises UsageError where its stages cannot be added for a stand-in cell."""
    stand_in = StandIn(method, released=False)
    sparsity = {} if method.sparse else {"sparsity": 0.0}
    cell = Cell(**{**_CELL, **sparsity}, model="model", method=method.name, quantization="none")
    own = _path(method, stand_in, cell)
    neighbours = {
        axis.replace("_", " "): _path(method, stand_in, replace(cell, **{axis: value}))
        for axis, value in _NEIGHBOUR.items()
        if axis != "sparsity" or method.sparse
    }
    grouped: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for stage_id, spec in own.items():
        grouped[spec.kind, tuple(axis for axis, stages in neighbours.items() if stage_id not in stages)] += 1
    return MethodPath(
        stages=tuple(PathStages(kind=kind, count=count, axes=axes) for (kind, axes), count in grouped.items()),
        trained=_trained(method, own),
        trained_anew={
            axis: _trained(method, {key: spec for key, spec in stages.items() if key not in own})
            for axis, stages in neighbours.items()
        },
    )


def _path(method: Method, stand_in: StandIn, cell: Cell) -> dict[str, StageSpec]:
    end = model_stage(method, stand_in.chain(cell), None)
    return {stage_id: stand_in.plan.stages[stage_id] for stage_id in stand_in.plan.ancestors(end.stage_id)}


def _trained(method: Method, stages: dict[str, StageSpec]) -> dict[str, int]:
    work = {kind.name: kind.work for kind in (*KINDS.values(), *method.kinds)}
    count = Counter(work[spec.kind] for spec in stages.values())
    return {word: count[each] for each, word in _TRAINED.items() if count[each]}


def _told(trained: dict[str, int]) -> str:
    return ", ".join(counted(count, word) for word, count in trained.items()) or "no training"
