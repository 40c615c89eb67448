"""The computation of movement pruning, hard and soft; a worker alone imports it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState

from harness.compression.mask import num_zeros
from harness.compression.movement import (
    ScoredMask,
    attach_scores,
    cubic_step,
    num_kept_on_the_way,
    penalty,
    penalty_weight,
    threshold_mask,
    top_mask,
)
from harness.compression.sparsify import remove_masks
from harness.errors import require
from harness.stages.context import StageContext, StageResult
from harness.stages.fine_tuning import fine_tune
from harness.training.hooks import ParameterGroup
from harness.training.modifiers import Matrices, Modifier, TrainingReport, sparsity_details


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """Steps between which the masks tighten, of a run of `num_steps`. Before `begin` every weight is kept."""

    begin: int
    end: int
    num_steps: int

    @classmethod
    def of(cls, parameters: Mapping[str, Any], num_steps: int) -> Ramp:
        """From the fractions of the run, to the nearest step, halves upwards. Raises ValueError for an empty ramp."""
        begin, end = (math.floor(parameters[name] * num_steps + 0.5) for name in ("ramp_begin", "ramp_end"))
        if begin >= end:
            raise ValueError(
                f"num_steps={num_steps}: ramp_begin={parameters['ramp_begin']} and ramp_end={parameters['ramp_end']} "
                f"are steps {begin} and {end}, an empty ramp. Train longer, or put the two further apart."
            )
        return cls(begin=begin, end=end, num_steps=num_steps)

    def value(self, step: int, *, initial: float, final: float) -> float:
        return cubic_step(step, initial=initial, final=final, begin=self.begin, end=self.end)


@dataclass(kw_only=True)
class MovementPruning(Modifier):
    """Masks by the top scores of each matrix. At sparsity 0 nothing is masked or scored: plain fine-tuning."""

    sparsity: float
    ramp: Ramp
    score_learning_rate: float
    freeze_embeddings: bool
    with_pooler: bool
    masks: dict[str, ScoredMask] = field(default_factory=dict)
    num_frozen: int = 0

    @classmethod
    def of(cls, parameters: Mapping[str, Any], matrices: Matrices, num_steps: int, **own: Any) -> MovementPruning:
        """From a stage's parameters, their fractions resolved for a run of `num_steps` steps."""
        return cls(
            matrices=matrices,
            sparsity=parameters["sparsity"],
            ramp=Ramp.of(parameters, num_steps),
            score_learning_rate=parameters["score_learning_rate"],
            freeze_embeddings=parameters["freeze_embeddings"],
            with_pooler=parameters["prune_pooler"],
            **own,
        )

    def attach(self, model: nn.Module) -> None:
        if self.freeze_embeddings:
            self.num_frozen = _freeze_embeddings(model)
        if self.sparsity > 0:
            self.masks = attach_scores(model, self.matrices.masked(with_pooler=self.with_pooler))

    def parameter_groups(self, model: nn.Module) -> Sequence[ParameterGroup]:
        if not self.masks:
            return ()
        scores = [mask.scores for mask in self.masks.values()]
        return [ParameterGroup(parameters=scores, learning_rate=self.score_learning_rate, weight_decay=0.0)]

    def callbacks(self, num_steps: int) -> list[TrainerCallback]:
        return [_MasksOfEachStep(self.set_masks)]

    @torch.no_grad()
    def set_masks(self, step: int) -> None:
        """The masks with which the forward pass after `step` optimizer steps is made."""
        for mask in self.masks.values():
            mask.mask.copy_(self.mask_at(step, mask.scores))

    def mask_at(self, step: int, scores: Tensor) -> Tensor:
        share = self.ramp.value(step, initial=1.0, final=1 - self.sparsity)
        return top_mask(scores, num_kept_on_the_way(share, scores.numel(), sparsity=self.sparsity))

    def check_counts(self) -> None:
        """Raises IntegrityError where a mask has not exactly the zeros of the sparsity."""
        for name, mask in self.masks.items():
            wanted, found = num_zeros(self.sparsity, mask.mask.numel()), int((~mask.mask).sum())
            require(found == wanted, f"{name}: {found} zeros, expected {wanted}")

    def detach(self, model: nn.Module) -> TrainingReport:
        """The last masks, by the scores after the last step, are made permanent; the scores are dropped."""
        self.set_masks(self.ramp.num_steps)
        self.check_counts()
        report = TrainingReport(summary=self.summary())
        remove_masks(model)
        report.details.update(sparsity_details(model, self.matrices))
        report.summary.append(self.reached(report.details["sparsity"]["encoder"]))
        report.details.update(self.schedule())
        return report

    def summary(self) -> list[str]:
        wanted = {"encoder matrices": self.matrices.encoder}
        if self.with_pooler and self.matrices.pooler:
            wanted["pooler matrices"] = self.matrices.pooler
        told = [f"scored {len({*names} & {*self.masks})} of {len(names)} {what}" for what, names in wanted.items()]
        return [*told, f"froze {self.num_frozen} parameters of the embeddings"]

    def reached(self, found: float) -> str:
        return f"kept the top scores of each matrix, sparsity {self.sparsity:g}"

    def schedule(self) -> dict[str, Any]:
        """As of gradual pruning: the sparsity takes the same cubic way, with new masks at every step."""
        events = {"first_event": 0, "last_event": self.ramp.num_steps - 1, "frequency": 1}
        return {"schedule": {"ramp_begin": self.ramp.begin, "ramp_end": self.ramp.end, **events}}


@dataclass(kw_only=True)
class SoftMovementPruning(MovementPruning):
    """Masks by a rising threshold on sigmoid(S), and a penalty on it that rises alike. sparsity: what is aimed at."""

    final_threshold: float
    final_lambda: float
    least_kept: float

    def threshold_at(self, step: int) -> float:
        return self.ramp.value(step, initial=0.0, final=self.final_threshold)

    def mask_at(self, step: int, scores: Tensor) -> Tensor:
        return threshold_mask(scores, self.threshold_at(step), least_kept=self.least_kept)

    def penalty(self, step: int) -> Tensor | None:
        if not self.masks:
            return None
        weight = penalty_weight(
            self.threshold_at(step), final_threshold=self.final_threshold, final_weight=self.final_lambda
        )
        return weight * penalty([mask.scores for mask in self.masks.values()])

    def check_counts(self) -> None:
        """Nothing is promised: the sparsity is an outcome."""

    def reached(self, found: float) -> str:
        return f"reached sparsity {found:.4f}, aimed at {self.sparsity:g}, by a penalty of {self.final_lambda:g}"

    def schedule(self) -> dict[str, Any]:
        return {"threshold": {"ramp_begin": self.ramp.begin, "ramp_end": self.ramp.end, "final": self.final_threshold}}


class _MasksOfEachStep(TrainerCallback):
    """Sets the masks before the first forward pass of every optimizer step, micro-batches or not."""

    def __init__(self, set_masks: Callable[[int], None]) -> None:
        self.set_masks = set_masks

    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.set_masks(state.global_step)


def movement_pruning(context: StageContext) -> StageResult:
    """Fine-tuning from the dense pre-trained model, with the top scores of each matrix kept."""
    return fine_tune(
        context,
        modifier=lambda model, matrices, num_steps: MovementPruning.of(context.parameters, matrices, num_steps),
    )


def soft_movement_pruning(context: StageContext) -> StageResult:
    """The same with the scores above a threshold kept."""
    own = {name: context.parameters[name] for name in ("final_threshold", "final_lambda", "least_kept")}
    return fine_tune(
        context,
        modifier=lambda model, matrices, num_steps: SoftMovementPruning.of(
            context.parameters, matrices, num_steps, **own
        ),
    )


def _freeze_embeddings(model: nn.Module) -> int:
    """The number of parameters that are not trained. Raises ValueError where the model has no embeddings."""
    embeddings = getattr(getattr(model, "base_model", model), "embeddings", None)
    if not isinstance(embeddings, nn.Module):
        raise ValueError("the model has no embeddings to freeze: give freeze_embeddings=false.")
    embeddings.requires_grad_(False)
    return len([*embeddings.parameters()])
