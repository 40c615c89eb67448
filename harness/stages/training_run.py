"""A training session: one stage's model, objective and modifier run to the end, and what there is to record of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import datasets
import torch
from torch import nn

from harness.inputs.families import Family
from harness.stages.context import StageContext
from harness.training.checkpoints import Checkpoints
from harness.training.micro_batch import device_batch_of, fit_to_memory, num_parts
from harness.training.modifiers import Account, Matrices, Modifier
from harness.training.objectives import Objective
from harness.training.trainer import CompressionTrainer, Progress, training_arguments

CURVE_POINTS = 10


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a session ends with: the model with plain weights, the modifier's account, details for the record."""

    model: Any
    account: Account
    details: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Session:
    """Everything a training stage needs.

    load_model: the model as it is before the first step, the same at every call; called again when a try ran out of
    device memory. modifier_of: from the model, its matrices and the number of steps to what compresses.
    """

    context: StageContext
    load_model: Callable[[], nn.Module]
    family: Family
    modifier_of: Callable[[nn.Module, Matrices, int], Modifier]
    objective: Objective
    examples: datasets.Dataset
    collator: Any

    def run(self) -> Trained:
        """Train to the end, with as many examples at a time as the device holds."""
        parameters = self.context.parameters
        torch.set_num_threads(parameters["threads"])
        first = device_batch_of(parameters["batch_size"], self.context.resources.device_batch)
        fitted = fit_to_memory(self._train, first, what=f"training ({self.context.spec.kind})")
        fitted.result.details["training"]["batches"]["too_large"] = list(fitted.too_large)
        return fitted.result

    def _train(self, device_batch: int) -> Trained:
        """One try, from the newest checkpoint or from the start; only the teacher outlives it on the device."""
        parameters = self.context.parameters
        steps_per_epoch = math.ceil(len(self.examples) / parameters["batch_size"])
        num_steps = parameters["steps"] if "steps" in parameters else math.ceil(parameters["epochs"] * steps_per_epoch)
        warmup_steps = math.ceil(parameters["warmup_fraction"] * num_steps)
        model = self.load_model()
        modifier = self.modifier_of(model, Matrices.of(model, self.family), num_steps)
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
            objective=self.objective,
            factor=modifier.factor(num_steps, warmup_steps),
            lengths=self.examples["length"],
            checkpoints=Checkpoints(self.context.checkpoints),
            checkpoint_minutes=self.context.resources.checkpoint_minutes,
            should_stop=self.context.should_stop,
            report=self.context.report,
            device_batch=device_batch,
        )
        progress = trainer.fit()
        assert len(progress.losses) == num_steps, "the step counts disagree"
        account = modifier.detach(model)
        training = training_details(progress, num_steps, warmup_steps, len(self.examples), parameters)
        return Trained(model=model, account=account, details={**account.details, **training})


def training_details(
    progress: Progress, num_steps: int, warmup_steps: int, num_examples: int, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """The `training` part of a record: steps, examples, tokens, seconds, threads, batches, and the loss curve.

    batches: the recipe's batch, how many examples of it were on the device at a time from which step on, in how many
    parts; `too_large`, what the device could not hold in the attempt that ended, is for the caller to add.
    """
    return {
        "training": {
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
                    {**span, "accumulation": num_parts(parameters["batch_size"], span["device_batch"])}
                    for span in progress.device_batches
                ],
            },
            "loss_curve": loss_curve(progress.losses),
        }
    }


def loss_curve(losses: list[float]) -> list[dict[str, float]]:
    """Mean loss over up to ten equal windows of the run: [{"step": last step of the window, "loss": mean}, ..]."""
    points = min(CURVE_POINTS, len(losses))
    ends = [round(len(losses) * (i + 1) / points) for i in range(points)]
    starts = [0, *ends[:-1]]
    return [
        {"step": end, "loss": sum(losses[start:end]) / (end - start)} for start, end in zip(starts, ends, strict=True)
    ]
