"""Runs the stages of a planned cell one after the other in this process, on the tiny world, without a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import torch
from safetensors.torch import load_file

from harness.errors import Interrupted
from harness.inputs.models import BaseModel
from harness.planning.graph import Plan
from harness.planning.method_registry import kind_of
from harness.specs import StageSpec
from harness.stages.context import Resources, Sources, StageContext, StageResult
from harness.tasks import Task
from harness.testing import planned

SETTINGS: Mapping[str, Any] = {
    "common.batch_size": 16,
    "common.threads": 1,
    "common.frequency": 0.1,
    "dense.epochs": 1.0,
    "transfer.epochs": 1.0,
    "quantization.epochs": 0.5,
    "task.sst2.max_length": 16,
    "task.sst2.train_examples": 96,  # six steps an epoch
}


@dataclass(frozen=True)
class Rows:
    """The data of the tiny world, whatever its content is called in a plan."""

    folder: Path

    def rows(self, task: Task, split: str, content_id: str) -> datasets.Dataset:
        return datasets.Dataset.from_parquet(str(self.folder / task.name / f"{split}.parquet"))


@dataclass(frozen=True)
class RanStage:
    spec: StageSpec
    result: StageResult
    artifact: Path

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.artifact / "model.safetensors")

    @property
    def bytes(self) -> bytes:
        return (self.artifact / "model.safetensors").read_bytes()

    @property
    def sparsity(self) -> Mapping[str, Any]:
        return self.result.details["sparsity"]


@dataclass
class Runner:
    """Stages that ran are kept by their id: a second plan runs what the first has not.

    stop_after: steps after which a stage is stopped once and started again, by its kind's name.
    """

    model: Path
    data: Path
    folder: Path
    checkpoint_minutes: float = 60.0
    ran: dict[str, RanStage] = field(default_factory=dict)

    def run(self, plan: Plan, *, stop: tuple[str, int] | None = None) -> RanStage:
        """The last model of the plan. stop: a stage's id, and the steps after which it is stopped and goes on."""
        last: RanStage | None = None
        for stage_id, spec in plan.stages.items():
            if spec.kind == "evaluation":
                continue
            if stage_id not in self.ran:
                if stop is not None and stop[0] == stage_id:
                    self._stopped(stage_id, spec, stop[1])
                self.ran[stage_id] = self._stage(stage_id, spec)
            last = self.ran[stage_id]
        assert last is not None
        return last

    def _stopped(self, stage_id: str, spec: StageSpec, steps: int) -> None:
        seen = 0

        def count(progress: Any) -> None:
            nonlocal seen
            seen = progress.step

        try:
            self._stage(stage_id, spec, should_stop=lambda: seen >= steps, report=count, name="stopped")
        except Interrupted:
            assert list((self.folder / stage_id / "checkpoints").glob("checkpoint-*"))
            return
        raise AssertionError("the stage ended before it was stopped")

    def context(self, stage_id: str, spec: StageSpec, name: str = "artifact", **given: Any) -> StageContext:
        artifact = self.folder / stage_id / name
        artifact.mkdir(parents=True)
        base = BaseModel(alias="model", folder=self.model, weights="weights", tokenizer="tokenizer", pinned=True)
        parents = {role: self.ran[parent] for role, parent in spec.parents.items()}
        return StageContext(
            spec=spec,
            parent_records={
                role: {"parameters": ran.spec.parameters, "result": ran.result.details} for role, ran in parents.items()
            },
            parent_artifacts={role: ran.artifact for role, ran in parents.items()},
            artifact=artifact,
            checkpoints=self.folder / stage_id / "checkpoints",
            sources=Sources(models={"model": base}, data=Rows(self.data)),  # type: ignore[arg-type]
            resources=Resources(checkpoint_minutes=self.checkpoint_minutes),
            **{"should_stop": lambda: False, "report": lambda progress: None, **given},
        )

    def _stage(self, stage_id: str, spec: StageSpec, name: str = "artifact", **given: Any) -> RanStage:
        context = self.context(stage_id, spec, name, **given)
        run: Callable[[StageContext], StageResult] = kind_of(spec).function()
        return RanStage(spec, run(context), context.artifact)


def cell(target: str, sparsity: float, *, seed: int = 0, quantization: str = "none", **settings: Any) -> Plan:
    """The plan of one cell of a method on sst2. settings: recipe keys and their values."""
    return planned(
        target,
        settings={**SETTINGS, **settings},
        sparsities=[sparsity],
        seeds=[seed],
        quantization=[quantization],
    )


def rounds(plan: Plan, kind: str) -> list[str]:
    """The ids of the stages of a kind, in order."""
    return [stage_id for stage_id, spec in plan.stages.items() if spec.kind == kind]
