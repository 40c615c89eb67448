"""Stages teacher_preparation and student_pruning (Prune OFA, sections 3.1 and 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import DataLoader

from harness.data.masking import IGNORED_LABEL, MaskedLanguageModelCollator
from harness.stages.loading import (
    base_model_folder,
    family_of,
    load_for_pretraining,
    load_tokenizer,
    quiet,
    save_artifact,
)
from harness.stages.pretraining_data import load_pairs
from harness.training.modifiers import GradualPruning, Matrices, Modifier
from harness.training.objectives import Distillation, PretrainingObjective
from harness.training.pretraining_heads import heads_of
from harness.training.session import Session
from harness.worker import StageContext, StageResult

EVALUATION_BATCH = 32


def teacher_preparation(context: StageContext) -> StageResult:
    """Trains the base model on the pairs, with masked-LM and next-sentence labels and without a teacher."""
    quiet()
    folder = base_model_folder(context)
    model = load_for_pretraining(
        folder, seed=context.parameters["seed"], attention=context.parameters["attention"], new_head=True
    )
    matrices = Matrices.of(model, family_of(folder))
    return _pretrain(context, model, PretrainingObjective(), lambda num_steps: Modifier(matrices=matrices))


def student_pruning(context: StageContext) -> StageResult:
    """Prunes the prepared teacher's copy gradually on the same pairs, distilled from the teacher itself."""
    quiet()
    parameters = context.parameters
    folder = context.parent_artifacts["teacher"]
    options = {"seed": parameters["seed"], "attention": parameters["attention"]}
    student, teacher = (load_for_pretraining(folder, new_head=False, **options) for _ in range(2))
    matrices = Matrices.of(student, family_of(folder))
    objective = PretrainingObjective(
        distillation=Distillation(
            teacher=teacher,
            ce_weight=parameters["ce_weight"],
            kd_weight=parameters["kd_weight"],
            temperature=parameters["temperature"],
        )
    )
    return _pretrain(context, student, objective, lambda num_steps: GradualPruning.of(parameters, matrices, num_steps))


def _pretrain(
    context: StageContext, model: Any, objective: PretrainingObjective, modifier_of: Callable[[int], Modifier]
) -> StageResult:
    parameters = context.parameters
    pairs = context.parent_artifacts["pairs"]
    tokenizer = load_tokenizer(pairs / "tokenizer")

    def collator(**options: Any) -> MaskedLanguageModelCollator:
        return MaskedLanguageModelCollator(
            tokenizer, seed=parameters["seed"], selection_probability=parameters["mlm_probability"], **options
        )

    session = Session(
        context=context,
        model=model,
        modifier_of=modifier_of,
        objective=objective,
        examples=load_pairs(pairs, "train", context.checkpoints),
        collator=collator(),
    )
    account, training = session.run()
    held_out = load_pairs(pairs, "validation", context.checkpoints)
    held_out = held_out.select(range(min(parameters["evaluation_pairs"], len(held_out))))
    metrics = pretraining_metrics(model, held_out, collator(fixed_epoch=0))
    save_artifact(context.artifact, model, tokenizer)
    return StageResult(metrics=metrics, did=account.did, details={**account.details, **training})


@torch.no_grad()
def pretraining_metrics(model: Any, held_out: Any, collator: MaskedLanguageModelCollator) -> dict[str, Any]:
    """Masked-LM accuracy and loss over masked positions, next-sentence accuracy where there is a head; with counts."""
    model.eval()
    heads, device = heads_of(model), next(model.parameters()).device
    correct = positions = pairs_correct = pairs = 0
    loss_sum = 0.0
    for batch in DataLoader(held_out, batch_size=EVALUATION_BATCH, collate_fn=collator):
        inputs = {name: tensor.to(device) for name, tensor in batch.items()}
        encoded = heads.encode(model, inputs)
        masked = inputs["labels"] != IGNORED_LABEL
        labels = inputs["labels"][masked]
        logits = heads.decoder(model)(heads.before_decoder(model, encoded.hidden[masked]))
        loss_sum += float(functional.cross_entropy(logits, labels, reduction="sum"))
        correct += int((logits.argmax(-1) == labels).sum())
        positions += len(labels)
        if encoded.pairs is not None:
            pairs_correct += int((encoded.pairs.argmax(-1) == inputs["next_sentence_label"]).sum())
            pairs += len(encoded.pairs)
    metrics = {
        "mlm_accuracy": correct / positions,
        "mlm_loss": loss_sum / positions,
        "mlm_correct": correct,
        "mlm_positions": positions,
    }
    if pairs:
        metrics.update({"nsp_accuracy": pairs_correct / pairs, "nsp_correct": pairs_correct, "nsp_pairs": pairs})
    return metrics
