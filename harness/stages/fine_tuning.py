"""Fine-tuning on a task; stages dense, task_pruning, transfer and quantization, which differ in their modifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from harness.data.collate import PaddingCollator
from harness.inputs.family import Family
from harness.specs import STORED, TEACHER_LOGITS
from harness.stages.context import StageContext, StageResult
from harness.stages.loading import family_of, load_for_task, load_tokenizer, quiet, save_artifact, start_folder
from harness.stages.task_data import training_examples
from harness.stages.task_heads import head_of
from harness.stages.teacher_logits import stored_teacher
from harness.stages.training_run import TrainingRun, distillation_of, padded_length
from harness.tasks import task_of
from harness.training.modifiers import (
    GradualPruning,
    LockedQuantization,
    Matrices,
    Modifier,
    ModifierFactory,
    PatternLock,
)


def fine_tune(context: StageContext, *, modifier: ModifierFactory, new_head: bool = True) -> StageResult:
    """Train a model with a task's head, compressed by `modifier`, and save it as the stage's artifact.

    Starts from the parent "model" where the stage has one, else from the base model; distils from the parent "teacher"
    where it has one, by the logits of the parent "teacher_logits" where its setting says that they are stored.
    modifier: (model, its matrices, number of optimizer steps) -> what compresses it.
    new_head: draw a head that the start model lacks from the stage's seed; if False, lacking one raises ValueError.
    """
    quiet()
    parameters = context.parameters
    task = task_of(parameters)
    folder = start_folder(context)
    tokenizer = load_tokenizer(folder)

    def load(folder: Path, *, new_head: bool = False) -> Any:
        seed, attention = parameters["seed"], parameters["attention"]
        return load_for_task(folder, task, seed=seed, attention=attention, new_head=new_head)

    is_stored = parameters.get(TEACHER_LOGITS) == STORED
    examples = training_examples(context, task, tokenizer)

    def load_teacher(folder: Path) -> nn.Module:
        return stored_teacher(context, task, examples) if is_stored else load(folder)

    run = TrainingRun(
        context=context,
        load_model=lambda: load(folder, new_head=new_head),
        family=family_of(folder),
        make_modifier=modifier,
        objective=head_of(task).objective(distillation_of(context, load_teacher)),
        examples=examples,
        collator=PaddingCollator(tokenizer, padded_length(parameters, parameters["max_length"]), with_index=is_stored),
    )
    outcome = run.run()
    save_artifact(context.artifact, outcome.model, tokenizer, outcome.report.int8)
    return StageResult(did=outcome.report.summary, details=outcome.details)


def dense(context: StageContext) -> StageResult:
    """Plain fine-tuning of the dense pre-trained model."""
    return fine_tune(context, modifier=lambda model, matrices, num_steps: Modifier(matrices=matrices))


def task_pruning(context: StageContext) -> StageResult:
    """Gradual magnitude pruning of the dense pre-trained model during fine-tuning (the paper's baseline)."""
    return fine_tune(
        context,
        modifier=lambda model, matrices, num_steps: GradualPruning.of(context.parameters, matrices, num_steps),
    )


def transfer(context: StageContext) -> StageResult:
    """Fine-tuning of a sparse model with its zero pattern locked."""
    lock_pooler = context.parameters["lock_pooler"]
    return fine_tune(
        context,
        modifier=lambda model, matrices, num_steps: PatternLock(matrices=matrices, with_pooler=lock_pooler),
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
            begin=context.parameters.get("quantization_begin", 0.0),
        )

    return fine_tune(context, modifier=modifier, new_head=False)


def quantisable(model: nn.Module, matrices: Matrices, family: Family) -> list[str]:
    """Encoder matrices, pooler, projections and head.

    Raises ValueError if the model has other Linears, or lacks one of the matrices.
    """
    found = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    beside = [*(f"{family.backbone}.{name}" for name in family.projections), *family.task_heads]
    expected = [*matrices.encoder, *matrices.pooler, *(name for name in beside if name in found)]
    if sorted(found) != sorted(expected):
        differing = sorted(set(found) ^ set(expected))
        raise ValueError(
            f"expected {len(expected)} Linear modules, found {len(found)}; they differ in {differing[:4]}."
        )
    return expected
