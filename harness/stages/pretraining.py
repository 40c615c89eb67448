"""Pre-training on sentence pairs, and the stages teacher_preparation and student_pruning (Prune OFA, 3.1 and 3.2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import DataLoader

from harness.data.masking import IGNORED_LABEL, MaskedLanguageModelCollator
from harness.progress import NEVER, StopFlag
from harness.specs import FP32
from harness.stages.context import StageContext, StageResult
from harness.stages.loading import (
    family_of,
    load_for_pretraining,
    load_tokenizer,
    quiet,
    save_artifact,
    start_folder,
)
from harness.stages.pretraining_data import load_pairs
from harness.stages.training_run import TrainingRun, distillation_of, padded_length
from harness.training.micro_batch import run_with_oom_backoff
from harness.training.modifiers import GradualPruning, Modifier, ModifierFactory
from harness.training.objectives import PretrainingObjective
from harness.training.precision import forward_in, matrix_products
from harness.training.pretraining_heads import heads_of

EVALUATION_BATCH = 32


def pretrain(context: StageContext, *, modifier: ModifierFactory) -> StageResult:
    """Train a model on the sentence pairs of the parent "pairs", compressed by `modifier`, measure and save it.

    Starts from the parent "model" where the stage has one, else from the parent "teacher", else from the base model,
    whose missing heads are drawn from the stage's seed. Distils from the parent "teacher" where the stage has one.
    modifier: (model, its matrices, number of optimizer steps) -> what compresses it. A kind without the parameter
    kd_positions distils every token.
    """
    quiet()
    parameters, parents = context.parameters, context.parent_artifacts

    def load(folder: Path, *, new_head: bool = False) -> Any:
        return load_for_pretraining(
            folder, seed=parameters["seed"], attention=parameters["attention"], new_head=new_head
        )

    def collator(**options: Any) -> MaskedLanguageModelCollator:
        return MaskedLanguageModelCollator(
            tokenizer, seed=parameters["seed"], selection_probability=parameters["mlm_probability"], **options
        )

    from_base = not {"model", "teacher"} & set(parents)
    folder = parents["teacher"] if "teacher" in parents and "model" not in parents else start_folder(context)
    objective = PretrainingObjective(distillation=distillation_of(context, load))
    tokenizer = load_tokenizer(parents["pairs"] / "tokenizer")
    run = TrainingRun(
        context=context,
        load_model=lambda: load(folder, new_head=from_base),
        family=family_of(folder),
        make_modifier=modifier,
        objective=objective,
        examples=load_pairs(context, "train"),
        collator=collator(
            kd_positions=parameters.get("kd_positions", 1.0),
            length=padded_length(parameters, context.parent_records["pairs"]["parameters"]["max_length"]),
        ),
    )
    outcome = run.run()
    held_out = load_pairs(context, "validation")
    held_out = held_out.select(range(min(parameters["evaluation_pairs"], len(held_out))))
    measured = run_with_oom_backoff(
        lambda batch_size: pretraining_metrics(
            outcome.model,
            held_out,
            collator(fixed_epoch=0),
            batch_size,
            context.stops,
            parameters.get("precision", FP32),
        ),
        EVALUATION_BATCH,
        what="evaluation on held-out pairs",
    )
    save_artifact(context.artifact, outcome.model, tokenizer)
    return StageResult(metrics=measured.result, did=outcome.report.summary, details=outcome.details)


def teacher_preparation(context: StageContext) -> StageResult:
    """Trains the base model on the pairs, with masked-LM and next-sentence labels and without a teacher."""
    return pretrain(context, modifier=lambda model, matrices, num_steps: Modifier(matrices=matrices))


def student_pruning(context: StageContext) -> StageResult:
    """Prunes a copy of the prepared teacher gradually on the same pairs, distilled from that teacher."""
    return pretrain(
        context,
        modifier=lambda model, matrices, num_steps: GradualPruning.of(context.parameters, matrices, num_steps),
    )


@torch.no_grad()
def pretraining_metrics(
    model: Any,
    held_out: Any,
    collator: MaskedLanguageModelCollator,
    batch_size: int = EVALUATION_BATCH,
    stops: StopFlag = NEVER,
    precision: str = FP32,
) -> dict[str, Any]:
    """Masked-LM accuracy and loss over masked positions, next-sentence accuracy where there is a head; with counts.

    batch_size changes no count and the mean loss by rounding only: sums over positions, divided once.
    """
    model.eval()
    heads, device = heads_of(model), next(model.parameters()).device
    correct = positions = pairs_correct = pairs = 0
    loss_sum = 0.0
    batches = DataLoader(held_out, batch_size=batch_size, collate_fn=collator)
    with matrix_products(precision, device):
        for batch in stops.over(batches, "batches of held-out pairs"):
            inputs = {name: tensor.to(device) for name, tensor in batch.items()}
            masked = inputs["labels"] != IGNORED_LABEL
            labels = inputs["labels"][masked]
            with forward_in(precision, device):
                encoded = heads.encode(model, inputs)
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
