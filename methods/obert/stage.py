"""The computation of oBERT's stages; a worker alone imports it."""

from __future__ import annotations

from torch import nn

from harness.stages.context import StageContext, StageResult
from harness.stages.fine_tuning import fine_tune
from harness.stages.pretraining import pretrain
from harness.training.modifiers import Matrices, ModifierFactory
from methods.obert.modifier import SecondOrderPruning


def prune_on_task(context: StageContext) -> StageResult:
    """Prunes the dense pre-trained model while it is fine-tuned on the task."""
    return fine_tune(context, modifier=_pruning(context))


def prune_upstream(context: StageContext) -> StageResult:
    """Prunes a copy of the prepared teacher on the sentence pairs, distilled from that teacher."""
    return pretrain(context, modifier=_pruning(context))


def _pruning(context: StageContext) -> ModifierFactory:
    def made(model: nn.Module, matrices: Matrices, num_steps: int) -> SecondOrderPruning:
        return SecondOrderPruning.of(context.parameters, matrices, num_steps, context.stops)

    return made
