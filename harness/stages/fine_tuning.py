"""Stages dense, task_pruning, transfer and quantization: one fine-tuning run each, told apart by their modifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from harness.data.collate import PaddingCollator
from harness.inputs.families import Family
from harness.stages.context import StageContext, StageResult
from harness.stages.loading import dense_model_folder, family_of, load_for_task, load_tokenizer, quiet, save_artifact
from harness.stages.task_data import training_examples
from harness.stages.task_heads import head_of
from harness.stages.training_run import TrainingRun
from harness.tasks import Task, get_task
from harness.training.modifiers import (
    GradualPruning,
    LockedQuantization,
    Matrices,
    Modifier,
    ModifierFactory,
    PatternLock,
)
from harness.training.objectives import Distillation, Objective


def dense(context: StageContext) -> StageResult:
    """Plain fine-tuning of the base model."""
    return _fine_tune(context, dense_model_folder(context), lambda model, m, num_steps: Modifier(matrices=m))


def task_pruning(context: StageContext) -> StageResult:
    """Gradual magnitude pruning of the base model during fine-tuning (the paper's fine-tune pruning baseline)."""
    return _fine_tune(
        context,
        dense_model_folder(context),
        lambda model, m, num_steps: GradualPruning.of(context.parameters, m, num_steps),
    )


def transfer(context: StageContext) -> StageResult:
    """Fine-tuning of a sparse model with its zero pattern locked."""
    return _fine_tune(
        context,
        context.parent_artifacts["model"],
        lambda model, m, num_steps: PatternLock(matrices=m, with_pooler=context.parameters["lock_pooler"]),
    )


def quantization(context: StageContext) -> StageResult:
    """Quantization-aware training of a fine-tuned model with its zero pattern locked, then export to 8 bits."""
    family = family_of(context.parent_artifacts["model"])

    def modifier(model: nn.Module, matrices: Matrices, num_steps: int) -> LockedQuantization:
        linears = quantisable(model, matrices, family)
        return LockedQuantization(
            matrices=matrices,
            with_pooler=context.parameters["lock_pooler"],
            linears=linears,
            fp32_outputs=[name for name in linears if family.keeps_fp32_output(name)],
            weight_scale=context.parameters["weight_scale"],
            activation_momentum=context.parameters["activation_momentum"],
        )

    return _fine_tune(context, context.parent_artifacts["model"], modifier, new_head=False)


def quantisable(model: nn.Module, matrices: Matrices, family: Family) -> list[str]:
    """Encoder matrices, pooler and head. Raises ValueError if the model has other Linears, or lacks one of these."""
    expected = [*matrices.encoder, *matrices.pooler, *(head for head in family.task_heads if hasattr(model, head))]
    found = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if sorted(found) != sorted(expected):
        differing = sorted(set(found) ^ set(expected))
        raise ValueError(
            f"expected {len(expected)} Linear modules, found {len(found)}; they differ in {differing[:4]}."
        )
    return expected


def fine_tune(context: StageContext, modifier: ModifierFactory) -> StageResult:
    """One fine-tuning run on the stage's task, from its parent "model" or from the base model where it has none.

    modifier: (the loaded model, its matrices, the number of optimizer steps) -> what happens to it while it trains.
    """
    return _fine_tune(context, dense_model_folder(context), modifier)


def _fine_tune(
    context: StageContext,
    folder: Path,
    make_modifier: ModifierFactory,
    *,
    new_head: bool = True,
) -> StageResult:
    quiet()
    parameters = context.parameters
    task = get_task(parameters["task"])
    tokenizer = load_tokenizer(folder)
    options = {"seed": parameters["seed"], "attention": parameters["attention"]}
    run = TrainingRun(
        context=context,
        load_model=lambda: load_for_task(folder, task, new_head=new_head, **options),
        family=family_of(folder),
        make_modifier=make_modifier,
        objective=_objective(context, task),
        examples=training_examples(context, task, tokenizer),
        collator=PaddingCollator(tokenizer),
    )
    outcome = run.run()
    save_artifact(context.artifact, outcome.model, tokenizer, outcome.report.int8)
    return StageResult(did=outcome.report.summary, details=outcome.details)


def _objective(context: StageContext, task: Task) -> Objective:
    """The task's loss, distilled from the teacher parent where the stage has one."""
    distillation = None
    if "teacher" in context.parent_artifacts:
        parameters = context.parameters
        options = {"seed": parameters["seed"], "attention": parameters["attention"]}
        teacher: Any = load_for_task(context.parent_artifacts["teacher"], task, new_head=False, **options)
        distillation = Distillation(
            teacher=teacher,
            ce_weight=parameters["ce_weight"],
            kd_weight=parameters["kd_weight"],
            temperature=parameters["temperature"],
        )
    return head_of(task).objective(distillation)
