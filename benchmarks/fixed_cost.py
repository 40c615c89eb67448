"""What a stage costs beside its steps: models, tokenizer and data loaded, artifact saved and hashed, record, lease.

A worker lives for many stages, so imports are not counted: a round before the measured ones pays for them.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.matmul_rates import Clock
from benchmarks.observed import observed
from harness.api import plan_grid
from harness.planning.kinds import KINDS
from harness.specs import StageSpec
from harness.stages.context import Resources, Sources
from harness.store.store import Store
from harness.worker.heap import freed_memory_kept
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
    """Seconds of one stage of a kind, by the clock on the wall: in all, in training steps, and in scoring.

    processor: fixed seconds of processor time. What lies between is waiting, for the disk or for other processes.
    """

    kind: str
    seconds: float
    training: float
    scoring: float
    processor: float = 0.0

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


def one_round(clock: Clock) -> list[FixedCost]:
    """Every stage of the plan in a store of its own, one after the other in this process; seconds by `clock`."""
    with tempfile.TemporaryDirectory(prefix="harness-bench-") as folder:
        specs, sources = planned(Path(folder))
        store, costs = Store(Path(folder)), []
        for spec in specs:
            with observed(clock, products=False) as seen, freed_memory_kept():
                began = clock()
                run_stage(spec, store, sources, Resources(), lambda: False)
                seconds = clock() - began
            costs.append(FixedCost(kind=spec.kind, seconds=seconds, training=seen.training, scoring=seen.scoring))
    return costs


def measure(rounds: int) -> list[FixedCost]:
    """Of each kind the stage with the least fixed cost, over all rounds, in the order of the plan."""
    one_round(time.perf_counter)  # imports
    gc.collect()
    gc.freeze()  # as a worker does after its first bundle
    wall, processor = _best(rounds, time.perf_counter), _best(rounds, time.process_time)
    gc.unfreeze()
    return [replace(cost, processor=processor[kind].fixed) for kind, cost in wall.items()]


def _best(rounds: int, clock: Clock) -> dict[str, FixedCost]:
    best: dict[str, FixedCost] = {}
    for cost in (cost for _ in range(rounds) for cost in one_round(clock)):
        if cost.kind not in best or cost.fixed < best[cost.kind].fixed:
            best[cost.kind] = cost
    return best
