"""The computation of one-shot magnitude pruning; a worker alone imports it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.compression.ranked_masks import Ranking
from harness.stages.context import StageContext, StageResult
from harness.stages.fine_tuning import fine_tune
from harness.stages.loading import family_of, load_for_task, load_tokenizer, quiet, save_artifact
from harness.tasks import task_of
from harness.training.modifiers import Matrices
from harness.training.pruned_start import PrunedStart


def prune_by_matrix(context: StageContext) -> StageResult:
    """Every matrix of the parent "model" is pruned once by itself."""
    return _prune(context, "local")


def prune_together(context: StageContext) -> StageResult:
    """The encoder of the parent "model" is pruned once, in one ranking of all its matrices."""
    return _prune(context, "global")


def _prune(context: StageContext, ranking: Ranking) -> StageResult:
    """Train the pruned model with its zeros locked for as many epochs as the recipe says, or not at all."""

    def modifier(matrices: Matrices) -> PrunedStart:
        return PrunedStart(
            matrices=matrices,
            with_pooler=context.parameters["prune_pooler"],
            sparsity=context.parameters["sparsity"],
            ranking=ranking,
        )

    if context.parameters["epochs"] == 0:
        return _without_training(context, modifier)
    return fine_tune(context, modifier=lambda model, matrices, num_steps: modifier(matrices), new_head=False)


def _without_training(context: StageContext, make_modifier: Callable[[Matrices], PrunedStart]) -> StageResult:
    """The pruned model as it is, without one optimizer step."""
    quiet()
    parameters, folder = context.parameters, context.parent_artifacts["model"]
    task, attention = task_of(parameters), parameters["attention"]
    model: Any = load_for_task(folder, task, seed=parameters["seed"], attention=attention, new_head=False)
    modifier = make_modifier(Matrices.of(model, family_of(folder)))
    modifier.attach(model)
    report = modifier.detach(model)
    save_artifact(context.artifact, model, load_tokenizer(folder))
    return StageResult(did=[*report.summary, "no training: epochs is 0"], details=report.details)
