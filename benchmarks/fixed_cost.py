"""What a stage costs beside its steps: models, tokenizer and data loaded, artifact saved and hashed, record, lease.

A worker lives for many stages, so imports are not counted: a round before the measured ones pays for them.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.observed import observed
from harness.api import plan_grid
from harness.planning.kinds import KINDS
from harness.specs import StageSpec
from harness.stages.context import Resources, Sources
from harness.store.store import Store
from harness.worker.run import run_stage

PRESET = "quick"
GOAL_SECONDS = 0.15
# Every kind of the demo on one task of one tiny encoder, in few steps; rows, lengths and vocabulary are the preset's.
SETTINGS: Mapping[str, Any] = {
    "teacher_preparation.steps": 20,
    "student_pruning.steps": 20,
    "student_pruning.frequency": 0.1,
    "common.frequency": 0.05,
    **{f"{kind}.tasks.sst2.epochs": 0.5 for kind in ("dense", "task_pruning", "transfer", "quantization")},
}


@dataclass(frozen=True, kw_only=True)
class FixedCost:
    """Seconds of one stage of a kind, by the clock on the wall: in all, in training steps, and in scoring."""

    kind: str
    seconds: float
    training: float
    scoring: float

    @property
    def has_steps(self) -> bool:
        """Whether the kind trains or scores; making data has no steps, and the goal says nothing of it."""
        return KINDS[self.kind].work != "data"

    @property
    def fixed(self) -> float:
        return self.seconds - self.training - self.scoring


def planned(folder: Path) -> tuple[Sequence[StageSpec], Sources]:
    """The stages, parents first, and where their inputs are."""
    grid = plan_grid(
        models="tiny-narrow",
        methods="dense,finetune-pruning,prune-ofa",
        sparsities="0,0.9",
        tasks="sst2",
        quantization="none,int8",
        seeds=0,
        preset=PRESET,
        set=SETTINGS,
        store=folder,
    )
    return list(grid.plan.stages.values()), grid.request.sources


def one_round() -> list[FixedCost]:
    """Every stage of the plan in a store of its own, one after the other in this process."""
    with tempfile.TemporaryDirectory(prefix="harness-bench-") as folder:
        specs, sources = planned(Path(folder))
        store, costs = Store(Path(folder)), []
        for spec in specs:
            with observed(time.perf_counter, products=False) as seen:
                began = time.perf_counter()
                run_stage(spec, store, sources, Resources(), lambda: False)
                seconds = time.perf_counter() - began
            costs.append(FixedCost(kind=spec.kind, seconds=seconds, training=seen.training, scoring=seen.scoring))
    return costs


def measure(rounds: int) -> list[FixedCost]:
    """Of each kind the stage with the least fixed cost, over all rounds, in the order of the plan."""
    one_round()  # imports
    gc.collect()
    gc.freeze()  # as a worker does after its first bundle
    best: dict[str, FixedCost] = {}
    for cost in (cost for _ in range(rounds) for cost in one_round()):
        if cost.kind not in best or cost.fixed < best[cost.kind].fixed:
            best[cost.kind] = cost
    gc.unfreeze()
    return list(best.values())
