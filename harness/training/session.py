"""A training session: one stage's model, objective and modifier run to the end, and what there is to record of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import datasets
import torch
from torch import nn

from harness.training.checkpoints import Checkpoints
from harness.training.modifiers import Account, Modifier
from harness.training.objectives import Objective
from harness.training.trainer import CompressionTrainer, Progress, training_arguments
from harness.worker import StageContext

CURVE_POINTS = 10


@dataclass(frozen=True, kw_only=True)
class Session:
    """Everything a training stage needs. modifier_of: from the number of steps to what compresses."""

    context: StageContext
    model: nn.Module
    modifier_of: Callable[[int], Modifier]
    objective: Objective
    examples: datasets.Dataset
    collator: Any

    def run(self) -> tuple[Account, dict[str, Any]]:
        """Train; returns the modifier's account and the details of the run. The model ends with plain weights."""
        parameters = self.context.parameters
        torch.set_num_threads(parameters["threads"])
        steps_per_epoch = math.ceil(len(self.examples) / parameters["batch_size"])
        num_steps = parameters["steps"] if "steps" in parameters else math.ceil(parameters["epochs"] * steps_per_epoch)
        warmup_steps = math.ceil(parameters["warmup_fraction"] * num_steps)
        modifier = self.modifier_of(num_steps)
        modifier.attach(self.model)
        trainer = CompressionTrainer(
            model=self.model,
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
        )
        progress = trainer.fit()
        assert len(progress.losses) == num_steps, "the step counts disagree"
        account = modifier.detach(self.model)
        return account, training_details(progress, num_steps, warmup_steps, len(self.examples), parameters)


def training_details(
    progress: Progress, num_steps: int, warmup_steps: int, num_examples: int, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """The `training` part of a record: steps, examples, tokens, seconds, threads, and the loss curve."""
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
