"""Tokens per second of every kind of training beside the bound of its matrix products."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.matmul_rates import Clock, MatmulRates
from benchmarks.matrix_product import Products, total_flops
from benchmarks.observed import Observation, Step, best_of, by_kind, compute, observed
from harness.api import plan_grid
from harness.errors import UsageError
from harness.specs import StageSpec
from harness.stages.context import Resources, Sources
from harness.store.store import Store
from harness.worker.run import run_stage

MODEL = "minilm-l6"
PRESET = "reduced"
TASK = "sst2"
STEPS = 12
PRUNING_STEPS = 24
# Few steps, all else as in the preset. A mask update falls on every twelfth step of pruning, as there.
SETTINGS: Mapping[str, Any] = {
    "teacher_preparation.steps": STEPS,
    "student_pruning.steps": PRUNING_STEPS,
    "student_pruning.frequency": 0.5,
    "student_pruning.last_event": 0.5,
}
FINE_TUNING = ("dense", "transfer", "quantization")
EPOCHS = 0.1  # about twelve steps of the preset's 4,000 examples
# As the authors' scripts: to 128 tokens, in any order. All batches have one shape, so that four are as good as twelve.
PADDED: Mapping[str, Any] = {"dense.padding": "max_length", f"task.{TASK}.max_length": 128, "dense.epochs": 0.03}


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A training to measure: the stage of that kind in the plan with these settings and that method."""

    name: str
    kind: str
    method: str = "prune-ofa"
    settings: Mapping[str, Any]


ONLINE_KD, STORED_KD, WITHOUT_KD = (
    f"fine-tuning, locked, {how}" for how in ("with KD", "with KD of stored logits", "without KD")
)
ORDINARY, PADDED_NAME = "fine-tuning", "fine-tuning, padded to 128, any order"
WORKLOADS = (
    Workload(name="teacher preparation", kind="teacher_preparation", settings={}),
    *(
        Workload(
            name=f"student pruning, kd_positions {share:g}",
            kind="student_pruning",
            settings={"student_pruning.kd_positions": share},
        )
        for share in (1.0, 0.25)
    ),
    Workload(name=ORDINARY, kind="dense", settings={}),
    Workload(name=ONLINE_KD, kind="transfer", settings={}),
    Workload(name=STORED_KD, kind="transfer", settings={"common.teacher_logits": "stored"}),
    Workload(name=WITHOUT_KD, kind="transfer", method="prune-ofa-no-kd", settings={}),
    Workload(name="QAT, locked, with KD", kind="quantization", settings={}),
    Workload(name=PADDED_NAME, kind="dense", settings=PADDED),
)


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Of one workload. bound_seconds: of the products of all its steps, each at the rate measured for its shape.

    tokens: without padding; padding: its share of all tokens. seconds: of the steps.
    """

    name: str
    steps: int
    examples: int
    tokens: int
    padding: float
    flops: int
    seconds: float
    bound_seconds: float

    @classmethod
    def of(cls, name: str, steps: list[Step], rates: MatmulRates) -> Throughput:
        products = sum((step.products for step in steps), Products())
        live, padded = sum(step.live_tokens for step in steps), sum(step.padded_tokens for step in steps)
        return cls(
            name=name,
            steps=len(steps),
            examples=sum(step.examples for step in steps),
            tokens=live,
            padding=1 - live / padded,
            flops=total_flops(products),
            seconds=sum(step.seconds for step in steps),
            bound_seconds=rates.seconds(products),
        )

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds

    @property
    def bound_tokens_per_second(self) -> float:
        return self.tokens / self.bound_seconds

    @property
    def share_of_bound(self) -> float:
        return self.bound_seconds / self.seconds

    @property
    def seconds_per_example(self) -> float:
        return self.seconds / self.examples


@dataclass(frozen=True)
class Prepared:
    """The stages to measure, by the workload's name, with their parents done in the store."""

    store: Store
    sources: Sources
    specs: Mapping[str, StageSpec]


def prepare(folder: Path, data: str, names: str = "") -> Prepared:
    """Plan every workload and run what its stage needs. data: as of `harness grid --data`.

    names: take the workloads alone whose name holds this text. Raises UsageError for data that are not there, or names
    that are in none.
    """
    chosen = [workload for workload in WORKLOADS if names in workload.name]
    if not chosen:
        raise UsageError(f"{names!r} is in no name. There are: {', '.join(each.name for each in WORKLOADS)}.")
    store, specs, sources = Store(folder), {}, None
    for workload in chosen:
        quantization = "int8" if workload.kind == "quantization" else "none"
        grid = plan_grid(
            models=MODEL,
            methods=workload.method,
            sparsities=0.9,
            tasks=TASK,
            quantization=quantization,
            seeds=0,
            preset=PRESET,
            data=data,
            set={**SETTINGS, **{f"{kind}.epochs": EPOCHS for kind in FINE_TUNING}, **workload.settings},
            store=folder,
        )
        spec = specs[workload.name] = by_kind(grid.plan.stages, workload.kind)
        sources = grid.request.sources
        for stage_id in grid.plan.ancestors(spec.stage_id)[:-1]:
            with observed(time.process_time, spread_over=STEPS, products=False):
                run_stage(grid.plan.stages[stage_id], store, sources, Resources(), lambda: False)
    assert sources is not None
    return Prepared(store, sources, specs)


def measure(prepared: Prepared, rounds: int, rates: MatmulRates, clock: Clock = time.process_time) -> list[Throughput]:
    """Every workload in each of `rounds` rounds; of each step its fastest round."""
    seen: dict[str, list[Observation]] = {name: [] for name in prepared.specs}
    for _ in range(rounds):
        for name, spec in prepared.specs.items():
            steps = PRUNING_STEPS if spec.kind == "student_pruning" else STEPS
            with observed(clock, spread_over=steps) as observation:
                compute(spec, prepared.store, prepared.sources)
            seen[name].append(observation)
    return [Throughput.of(name, best_of(each), rates) for name, each in seen.items()]
