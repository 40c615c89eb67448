"""Stage evaluation: scores a reloaded artifact on every evaluation split of its task."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from torch.utils.data import DataLoader

from harness.compression.quantization import load_frozen
from harness.compression.sparsify import pattern_digest, total_zeros, zero_counts
from harness.data.collate import PaddingCollator
from harness.errors import require
from harness.inputs.weight_files import INT8_FILE
from harness.progress import NEVER, StageProgress, StopFlag
from harness.specs import FP32
from harness.stages.context import StageContext, StageResult
from harness.stages.loading import family_of, load_for_task, load_int8, load_tokenizer, quiet
from harness.stages.predictions import Scored, write_predictions
from harness.stages.task_data import read_split
from harness.stages.task_heads import head_of
from harness.tasks import Task, task_of
from harness.training.micro_batch import OomBackoff, run_with_oom_backoff
from harness.training.model_inputs import inputs_for
from harness.training.modifiers import Matrices
from harness.training.precision import compute_device, forward_in, matrix_products

AfterBatch = Callable[[int, int], None]


def evaluation(context: StageContext) -> StageResult:
    """Every example is scored exactly once, and its prediction is kept in the artifact.

    An int8 model is scored from its codes, frozen scales and stored ranges.
    """
    quiet()
    parameters = context.parameters
    torch.set_num_threads(parameters["threads"])
    task = task_of(parameters)
    folder = context.parent_artifacts["model"]
    model, did = load_for_scoring(folder, task, parameters)
    matrices = Matrices.of(model, family_of(folder))
    zeros, numel = total_zeros(zero_counts(model, matrices.encoder))
    tokenizer = load_tokenizer(folder)
    metrics: dict[str, Any] = {}
    batches: dict[str, Any] = {}
    for reported_as, scored in scored_splits(context, model, task, tokenizer, batches):
        metrics[reported_as] = scored.metrics
        did += [f"{reported_as}: {note}" for note in scored.notes]
        write_predictions(context.artifact, reported_as, scored.predictions)
    return StageResult(
        metrics=metrics,
        did=did,
        details={
            "artifact_sparsity": {
                "encoder": zeros / numel,
                "encoder_zeros": zeros,
                "encoder_numel": numel,
                "pattern_sha256": pattern_digest(model, matrices.encoder),
            },
            "batches": batches,
            # After quantization the sparsity of a cell is that of the locked fp32 pattern; codes may hold more zeros.
            "cell_sparsity": context.parent_records["model"]["result"]["sparsity"]["encoder"],
        },
    )


def scored_splits(
    context: StageContext, model: Any, task: Task, tokenizer: Any, batches: dict[str, Any]
) -> Iterator[tuple[str, Scored]]:
    """Each evaluation split of the stage's inputs, by the name it is reported under, scored.

    batches: receives the batch size on the device in the end, and those that were too large.
    """
    parameters = context.parameters
    batches.update(device=parameters["batch_size"], too_large=[])
    for split, reported_as in task.evaluation_splits:
        if split in context.spec.inputs:
            rows = read_split(context, task, split, split)
            scored = score(model, rows, task, tokenizer, parameters, batches["device"], watch(context), context.stops)
            batches["device"] = scored.micro_batch_size  # one that ran out of memory is not tried on the next split
            batches["too_large"] += scored.oom_sizes
            yield reported_as, scored.result


def watch(context: StageContext) -> AfterBatch:
    """Reports the progress on a split, and stops between two batches on request; the next attempt scores it anew."""
    began = time.monotonic()

    def after_batch(done: int, total: int) -> None:
        left = (time.monotonic() - began) / done * (total - done)
        context.report(StageProgress(step=done, steps=total, seconds_left=left))
        if done < total:
            context.stops.check(lambda: f"scoring {done} of {total} batches")

    return after_batch


def load_for_scoring(folder: Path, task: Task, parameters: Any) -> tuple[Any, list[str]]:
    """The artifact's model in evaluation mode; with its stored integers where the stage asks for int8."""
    model = load_for_task(folder, task, seed=0, attention=parameters["attention"], new_head=False)
    did = [f"loaded {type(model).__name__} in {next(model.parameters()).dtype}"]
    if parameters["arithmetic"] == "int8":
        frozen = load_frozen(model, load_int8(folder))
        did = [
            f"loaded {len(frozen)} Linear modules from {INT8_FILE}: int8 codes, frozen scales, stored activation ranges"
        ]
    model.to(compute_device())
    return model.eval(), did


def score(
    model: Any,
    rows: datasets.Dataset,
    task: Task,
    tokenizer: Any,
    parameters: Any,
    batch_size: int,
    after_batch: AfterBatch = lambda done, total: None,
    stops: StopFlag = NEVER,
) -> OomBackoff[Scored]:
    """The metrics of one split, with raw counts, and its predictions.

    It is scored in batches of `batch_size`, or of what the device holds.
    """
    head, collator = head_of(task), PaddingCollator(tokenizer)
    examples = head.evaluation_examples(rows, task, tokenizer, parameters, stops)

    def work(size: int) -> dict[str, list[np.ndarray]]:
        return predict(model, examples, collator, size, after_batch, parameters.get("precision", FP32))

    backoff: OomBackoff[Any] = run_with_oom_backoff(work, batch_size, what="evaluation")
    check_finite(backoff.result)
    return replace(backoff, result=head.scores(rows, examples, backoff.result, task, parameters, stops))


def check_finite(outputs: Mapping[str, list[np.ndarray]]) -> None:
    """Raises ValueError for a logit that is not finite, whatever the head: no class and no answer follows from it."""
    for values in outputs.values():
        for number, logits in enumerate(values):
            if not np.isfinite(logits).all():
                what = "NaN" if np.isnan(logits).any() else "infinite"
                raise ValueError(
                    f"a logit of row {number} is {what}: the model has diverged, or its weights are not finite."
                )


@torch.no_grad()
def predict(
    model: Any,
    features: datasets.Dataset,
    collator: Any,
    batch_size: int,
    after_batch: AfterBatch = lambda done, total: None,
    precision: str = FP32,
) -> dict[str, list[np.ndarray]]:
    """Logits of every feature in the order of `features`, whatever the order they were batched in.

    Batches hold features of similar length, longest first, so that little is padded; the last one may be smaller.
    after_batch: called with the number of batches done and their total; what it raises ends the scoring.
    """
    device = next(model.parameters()).device
    order = np.argsort(-np.array(features["length"][:]), kind="stable")
    rows: dict[str, list[Any]] = {}
    loader = DataLoader(features.select(order), batch_size=batch_size, collate_fn=collator)
    with matrix_products(precision, device):
        for done, batch in enumerate(loader, start=1):
            inputs = {name: tensor.to(device) for name, tensor in inputs_for(model, batch).items()}
            with forward_in(precision, device):
                outputs = model(**inputs)
            for name, logits in outputs.items():
                rows.setdefault(name, []).extend(logits.float().cpu().numpy())
            after_batch(done, len(loader))
    found = {}
    for name, values in rows.items():
        require(len(values) == len(features), f"{len(values)} scores of {len(features)} features: {name}")
        back: list[Any] = [None] * len(values)
        for position, row in zip(order, values, strict=True):
            back[position] = row
        found[name] = back
    return found
