"""TrainingRun: trains one stage's model with its objective and modifier to the end; the outcome is what to record."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harness.errors import FollowerDone, require
from harness.inputs.family import Family
from harness.specs import FP32
from harness.stages.context import StageContext
from harness.training.checkpoints import Checkpoints
from harness.training.micro_batch import first_micro_batch_size, num_micro_batches, run_with_oom_backoff
from harness.training.modifiers import Matrices, ModifierFactory, TrainingReport
from harness.training.objectives import Distillation, Objective
from harness.training.precision import in_precision, matrix_products
from harness.training.ranks import Ranks, together
from harness.training.trainer import CompressionTrainer, Progress, mean_of_finite, training_arguments
from harness.wording import counted

LENGTHS_AT_A_TIME = 100_000

CURVE_POINTS = 10


@dataclass(frozen=True, kw_only=True)
class TrainingOutcome:
    """The trained model with plain weights, the modifier's report, and the details for the record."""

    model: Any
    report: TrainingReport
    details: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """Everything a training stage needs.

    load_model: the model before the first step, the same at every call; called again after a try that ran out of device
    memory. make_modifier: (model, its matrices, number of optimizer steps) -> what compresses it.
    """

    context: StageContext
    load_model: Callable[[], nn.Module]
    family: Family
    make_modifier: ModifierFactory
    objective: Objective
    examples: datasets.Dataset
    collator: Any

    def run(self) -> TrainingOutcome:
        """Train to the end, with as many examples at a time as fit the device."""
        parameters = self.context.parameters
        torch.set_num_threads(parameters["threads"])
        first = first_micro_batch_size(parameters["batch_size"], self.context.resources.micro_batch_size)
        with matrix_products(parameters.get("precision", FP32)), together(self.context.team) as ranks:
            backoff = run_with_oom_backoff(
                lambda size: self._train(size, ranks), first, what=f"training ({self.context.spec.kind})"
            )
        if not ranks.is_first:
            raise FollowerDone
        backoff.result.details["training"]["batches"]["too_large"] = list(backoff.oom_sizes)
        return backoff.result

    def _train(self, micro_batch_size: int, ranks: Ranks) -> TrainingOutcome:
        """One try, from the newest checkpoint or from the start; of it only the teacher stays on the device."""
        parameters = self.context.parameters
        steps_per_epoch = math.ceil(len(self.examples) / parameters["batch_size"])
        num_steps = parameters["steps"] if "steps" in parameters else math.ceil(parameters["epochs"] * steps_per_epoch)
        warmup_steps = math.ceil(parameters["warmup_fraction"] * num_steps)
        model = self.load_model()
        modifier = self.make_modifier(model, Matrices.of(model, self.family), num_steps)
        modifier.attach(model)
        trainer = CompressionTrainer(
            model=model,
            args=training_arguments(
                parameters,
                output_dir=self.context.checkpoints,
                num_steps=num_steps,
            ),
            train_dataset=self.examples,
            data_collator=self.collator,
            callbacks=modifier.callbacks(num_steps),
            objective=in_precision(self.objective, parameters.get("precision", FP32)),
            factor=modifier.factor(num_steps, warmup_steps),
            lengths=lengths_of(self.examples),
            checkpoints=Checkpoints(self.context.checkpoints, self.context.guard),
            checkpoint_minutes=self.context.resources.checkpoint_minutes,
            should_stop=self.context.should_stop,
            report=self.context.report,
            micro_batch_size=micro_batch_size,
            hooks=modifier,
            ranks=ranks,
        )
        progress = trainer.fit()
        require(len(progress.losses) == num_steps, f"{len(progress.losses)} steps were made of {num_steps}")
        report = modifier.detach(model)
        if progress.skipped_steps:
            report.summary.append(f"skipped {len(progress.skipped_steps)} steps whose gradient was not finite")
        report.summary += ranks_in_words(progress.rank_spans)
        training = training_details(progress, num_steps, warmup_steps, len(self.examples), parameters)
        return TrainingOutcome(model=model, report=report, details={**report.details, **training})


def lengths_of(examples: datasets.Dataset) -> NDArray[np.int32]:
    """Tokens of every example, read a piece at a time: four bytes an example."""
    pieces = examples.select_columns(["length"]).with_format("numpy").iter(batch_size=LENGTHS_AT_A_TIME)
    return np.concatenate([np.empty(0, np.int32), *(piece["length"].astype(np.int32) for piece in pieces)])


def padded_length(parameters: Mapping[str, Any], max_length: int) -> int | None:
    """Tokens of every training batch; None: those of its longest example. max_length: of the examples."""
    return None if parameters["padding"] == "longest" else max_length


def distillation_of(context: StageContext, load_teacher: Callable[[Path], nn.Module]) -> Distillation | None:
    """The parent "teacher" with the stage's weights and temperature; None where the stage has no such parent.

    A stage whose loss has no temperature has no such parameter.
    """
    if "teacher" not in context.parent_artifacts:
        return None
    parameters = context.parameters
    return Distillation(
        teacher=load_teacher(context.parent_artifacts["teacher"]),
        ce_weight=parameters["ce_weight"],
        kd_weight=parameters["kd_weight"],
        temperature=parameters.get("temperature", 1.0),
    )


def ranks_in_words(spans: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many ranks trained, and what may differ by them; nothing of a process that was alone all the time."""
    first, *later = spans
    if not later and first["ranks"] == 1:
        return []
    if not later:
        return [f"trained by {first['ranks']} ranks, each of which drew dropout for itself"]
    changes = "".join(f", from step {span['from_step']} on by {span['ranks']}" for span in later)
    begun = counted(first["ranks"], "rank")
    return [f"trained by {begun}{changes}; where they were several, each drew dropout for itself"]


def training_details(
    progress: Progress, num_steps: int, warmup_steps: int, num_examples: int, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """The `training` part of a record: steps, examples, tokens, seconds, threads, batches, and the loss curve.

    batches: the global batch, and from which step on how many of its examples were on the device at a time, in how many
    micro-batches. The caller adds `too_large`, the sizes that ran out of memory in the attempt that finished.
    skipped_steps: counted from 1, where there are any. ranks: in the end, where they were several; threads and device
    are of each. rank_spans: where their number changed: from which step on how many, and their seconds.
    """
    skipped = {"skipped_steps": progress.skipped_steps} if progress.skipped_steps else {}
    spans = [{**span, "seconds": round(span["seconds"], 1)} for span in progress.rank_spans]
    ranks: dict[str, Any] = {"ranks": spans[-1]["ranks"]} if spans[-1]["ranks"] > 1 else {}
    if len(spans) > 1:
        ranks["rank_spans"] = spans
    return {
        "training": {
            **skipped,
            **ranks,
            "steps": num_steps,
            "warmup_steps": warmup_steps,
            "examples": num_examples,
            "tokens_seen": progress.tokens_seen,
            "seconds": round(progress.seconds, 1),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            "learning_rate": parameters["learning_rate"],
            "batches": {
                "global": parameters["batch_size"],
                "device": [
                    {**span, "accumulation": num_micro_batches(parameters["batch_size"], span["device_batch"])}
                    for span in progress.device_batches
                ],
            },
            "loss_curve": loss_curve(progress.losses),
        }
    }


def loss_curve(losses: list[float]) -> list[dict[str, float]]:
    """Mean loss over up to ten equal windows of the run: [{"step": last step of the window, "loss": mean}, ..].

    Over the steps that were made; a window in which all were skipped is left out.
    """
    points = min(CURVE_POINTS, len(losses))
    ends = [round(len(losses) * (i + 1) / points) for i in range(points)]
    starts = [0, *ends[:-1]]
    means = {end: mean_of_finite(losses[start:end]) for start, end in zip(starts, ends, strict=True)}
    return [{"step": end, "loss": mean} for end, mean in means.items() if math.isfinite(mean)]
