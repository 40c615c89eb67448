"""Stages of a real plan, run as a worker runs them, with a clock beside them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from torch import Tensor
from transformers import TrainerCallback

from benchmarks.matmul_rates import Clock
from benchmarks.step_products import Products, Rows, step_products
from harness.planning.method_registry import kind_of
from harness.specs import StageSpec
from harness.stages import evaluation, pretraining, training_run
from harness.stages.context import Resources, Sources, StageContext
from harness.store.store import Store
from harness.training.stored_teacher import StoredTeacher
from harness.training.trainer import CompressionTrainer
from harness.worker.heap import freed_memory_kept
from harness.worker.stage_call import call_stage


@dataclass(frozen=True)
class Step:
    """One optimizer step: its seconds, collation and optimizer included; its tokens without padding; its products."""

    seconds: float
    examples: int
    live_tokens: int
    padded_tokens: int
    products: Products


@dataclass
class Observation:
    """What a stage did while it was observed. scoring: seconds in loops over evaluation data; both by `clock`."""

    clock: Clock
    steps: list[Step] = field(default_factory=list)
    scoring: float = 0.0

    @property
    def training(self) -> float:
        return sum(step.seconds for step in self.steps)


@contextmanager
def observed(clock: Clock, *, spread_over: int | None = None, products: bool = True) -> Iterator[Observation]:
    """Stages that run in this block are observed. Nothing that they compute changes, but for `spread_over`.

    spread_over: train on batches that are spread evenly over the epoch, in their order, as many as this says; the
    batches of an epoch's beginning are its longest. None: on all. products: count them.
    """
    seen = Observation(clock)

    class Observed(CompressionTrainer):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            self.met: dict[str, Tensor] = {}
            self.add_callback(_StepClock(self, seen, products=products))

        def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
            self.met = inputs
            return super().training_step(model, inputs, num_items_in_batch)

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            sampler = super()._get_train_sampler(train_dataset)
            return sampler if spread_over is None else spread(list(sampler), self.args.train_batch_size, spread_over)

    def scoring(function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **options: Any) -> Any:
            began = clock()
            try:
                return function(*given, **options)
            finally:
                seen.scoring += clock() - began

        return timed

    with (
        mock.patch.object(training_run, "CompressionTrainer", Observed),
        mock.patch.object(evaluation, "predict", scoring(evaluation.predict)),
        mock.patch.object(pretraining, "pretraining_metrics", scoring(pretraining.pretraining_metrics)),
    ):
        yield seen


def spread(order: list[int], batch_size: int, num_batches: int) -> list[int]:
    """`num_batches` whole batches of an epoch's order, spread evenly over it; all of it where it has no more."""
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    whole = [batch for batch in batches if len(batch) == batch_size]
    if len(whole) <= num_batches:
        return order
    return [row for number in range(num_batches) for row in whole[(2 * number + 1) * len(whole) // (2 * num_batches)]]


class _StepClock(TrainerCallback):
    """Notes each step; the last callback, so that a step ends when everything in it has."""

    def __init__(self, trainer: Any, seen: Observation, *, products: bool) -> None:
        self.trainer, self.seen, self.products = trainer, seen, products
        self.began = 0.0

    def on_train_begin(self, *given: Any, **options: Any) -> None:
        self.began = self.seen.clock()

    def on_step_end(self, *given: Any, **options: Any) -> None:
        seconds = self.seen.clock() - self.began
        inputs, teacher = self.trainer.met, getattr(self.trainer.objective.distillation, "teacher", None)
        if isinstance(teacher, StoredTeacher):  # which multiplies nothing
            teacher = None
        rows = Rows.of_student(inputs, distilled=teacher is not None)
        counted = Products()
        if self.products:
            counted = step_products(self.trainer.model, rows, teacher, teacher and Rows.of_teacher(inputs))
        self.seen.steps.append(Step(seconds, rows.examples, rows.live, rows.examples * rows.length, counted))
        self.began = self.seen.clock()  # counting is no part of a step


def compute(spec: StageSpec, store: Store, sources: Sources) -> None:
    """Call a stage's function as a worker does, in folders of its own that go away. Its parents are in the store."""
    parents = {role: store.stage(parent) for role, parent in spec.parents.items()}
    with tempfile.TemporaryDirectory(prefix="harness-bench-") as folder:
        artifact, checkpoints = Path(folder, "artifact"), Path(folder, "checkpoints")
        artifact.mkdir()
        checkpoints.mkdir()
        context = StageContext(
            spec=spec,
            parent_records={role: parent.read_record() for role, parent in parents.items()},
            parent_artifacts={role: parent.artifact_path for role, parent in parents.items()},
            artifact=artifact,
            checkpoints=checkpoints,
            sources=sources,
            resources=Resources(),
            should_stop=lambda: False,
            report=lambda progress: None,
        )
        with freed_memory_kept():
            call_stage(kind_of(spec), context)


def best_of(rounds: list[Observation]) -> list[Step]:
    """The steps, each with the least seconds that any round took for it. Raises ValueError for rounds that differ."""
    if len({tuple((step.live_tokens, step.padded_tokens) for step in each.steps) for each in rounds}) != 1:
        raise ValueError("the rounds met other batches; a best time of them would mean nothing.")
    return [min(steps, key=lambda step: step.seconds) for steps in zip(*(each.steps for each in rounds), strict=True)]


def by_kind(plan: Mapping[str, StageSpec], kind: str) -> StageSpec:
    """The only stage of that kind. Raises ValueError where there is none or several."""
    (spec,) = (spec for spec in plan.values() if spec.kind == kind)
    return spec
