"""Stage teacher_logits: runs a task teacher over the training set once; and its artifact, read in fine-tuning.

On a task the teacher meets the same tokens in every epoch of every student: its logits are computed here once, for all
students, sparsities and seeds, and looked up by example. The artifact is one safetensors file in the order of the
examples: fp32 logits, and a fingerprint of each example's tokens, by which a file of another training set is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.data.collate import PaddingCollator
from harness.specs import FP32, TEACHER_LOGITS
from harness.stages.context import StageContext, StageResult
from harness.stages.evaluation import check_finite, predict, watch
from harness.stages.loading import load_for_task, load_tokenizer, one_line, quiet
from harness.stages.task_data import training_examples
from harness.tasks import EXTRACTIVE_QA, Task, task_of
from harness.training.micro_batch import OomBackoff, run_with_oom_backoff
from harness.training.precision import compute_device
from harness.training.stored_teacher import StoredTeacher
from harness.wording import assignment, option

LOGITS_FILE = "logits.safetensors"
FINGERPRINTS, PLACES = "fingerprints", "places"
BY_TOKEN = ("start_logits", "end_logits")
BY_EXAMPLE = ("logits",)
READ_BY_A_TEACHER = ("input_ids", "token_type_ids")


def teacher_logits(context: StageContext) -> StageResult:
    """The logits of the parent "model" for every training example, computed as it is scored: in evaluation mode."""
    quiet()
    parameters, folder = context.parameters, context.parent_artifacts["model"]
    torch.set_num_threads(parameters["threads"])
    task = task_of(parameters)
    teacher = load_for_task(folder, task, seed=0, attention=parameters["attention"], new_head=False).eval()
    teacher.to(compute_device())
    tokenizer = load_tokenizer(folder)
    examples = training_examples(context, task, tokenizer)
    collator = PaddingCollator(tokenizer)

    def work(size: int) -> dict[str, list[np.ndarray]]:
        return predict(teacher, examples, collator, size, watch(context), parameters.get("precision", FP32))

    backoff: OomBackoff[Any] = run_with_oom_backoff(work, parameters["batch_size"], what="teacher logits")
    check_finite(backoff.result)
    lengths = examples["length"][:]
    tensors = {FINGERPRINTS: fingerprints(examples), **as_tensors(backoff.result, lengths, tokenizer.padding_side)}
    save_file(tensors, context.artifact / LOGITS_FILE)
    return StageResult(
        did=[f"stored the logits of {len(examples)} of {len(examples)} training examples"],
        details={
            TEACHER_LOGITS: {"examples": len(examples), "tokens": sum(lengths)},
            "batches": {"device": backoff.micro_batch_size, "too_large": list(backoff.oom_sizes)},
        },
    )


def as_tensors(
    rows: Mapping[str, Sequence[np.ndarray]], lengths: Sequence[int], padding_side: str
) -> dict[str, Tensor]:
    """Logits as they are stored. rows: name -> of each example [classes], or [padded length] for each of its tokens.

    Of tokens those of padding are left out, the others stand one after the other, and `places` says where an example's
    begin.
    """
    found = {name: torch.from_numpy(np.stack(rows[name])) for name in BY_EXAMPLE if name in rows}
    for name in BY_TOKEN:
        if name in rows:
            cut = (
                row[:length] if padding_side == "right" else row[len(row) - length :]
                for row, length in zip(rows[name], lengths, strict=True)
            )
            found[name] = torch.from_numpy(np.concatenate(list(cut)))
            found[PLACES] = torch.tensor([0, *lengths[:-1]]).cumsum(0)
    return found


def stored_teacher(context: StageContext, task: Task, examples: datasets.Dataset) -> StoredTeacher:
    """The teacher that the parent "teacher_logits" holds. Raises ValueError unless its examples are these, in order."""
    if TEACHER_LOGITS not in context.parent_artifacts:
        raise ValueError(
            f"{TEACHER_LOGITS}=stored, and the stage has no parent {TEACHER_LOGITS!r}: expected the stage that "
            "chain.teacher_logits(..) returns."
        )
    file = context.parent_artifacts[TEACHER_LOGITS] / LOGITS_FILE
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise ValueError(_refused(file, [f"it cannot be read ({one_line(error)})"])) from error
    problems = list(_problems(tensors, task, examples))
    if problems:
        raise ValueError(_refused(file, problems))
    return StoredTeacher(
        by_example={name: tensors[name] for name in BY_EXAMPLE if name in tensors},
        by_token={name: tensors[name] for name in BY_TOKEN if name in tensors},
        places=tensors.get(PLACES),
    )


def _refused(file: Path, problems: Sequence[str]) -> str:
    online = f"{option('set')} {assignment(f'common.{TEACHER_LOGITS}', 'online')}"
    return (
        f"the stored teacher logits {file} are not those of this training set: {'; '.join(problems)}. Redo their stage "
        f"(harness invalidate), or run the teacher beside the student: {online}."
    )


def _problems(tensors: Mapping[str, Tensor], task: Task, examples: datasets.Dataset) -> Iterator[str]:
    """Everything in which stored logits are not of these examples."""
    lengths = examples["length"][:]
    num_examples, num_tokens = len(lengths), sum(lengths)
    shapes = (
        {PLACES: [num_examples], **{name: [num_tokens] for name in BY_TOKEN}}
        if task.head == EXTRACTIVE_QA
        else {name: [num_examples, task.num_labels] for name in BY_EXAMPLE}
    )
    for name, shape in {FINGERPRINTS: [num_examples], **shapes}.items():
        if name not in tensors:
            yield f"it has no {name}"
        elif list(tensors[name].shape) != shape:
            yield f"{name} is {list(tensors[name].shape)}, expected {shape}"
    for name in (*BY_EXAMPLE, *BY_TOKEN):
        if name in tensors and not bool(torch.isfinite(tensors[name]).all()):
            yield f"{name} has entries that are not finite"
    if PLACES in tensors and PLACES in shapes and tensors[PLACES].tolist() != [0, *np.cumsum(lengths[:-1]).tolist()]:
        yield f"{PLACES} are not where these examples begin"
    yield from _differing_examples(tensors.get(FINGERPRINTS), fingerprints(examples))


def _differing_examples(stored: Tensor | None, own: Tensor) -> Iterator[str]:
    if stored is None or stored.equal(own):
        return
    if len(stored) != len(own):
        yield f"it is of {len(stored)} examples, expected {len(own)}"
    elif stored.sort().values.equal(own.sort().values):
        yield f"the examples are the same in another order, the first that differs is {_first_unlike(stored, own)}"
    else:
        unlike = int((stored != own).sum())
        yield f"{unlike} of {len(own)} examples have other tokens, the first is {_first_unlike(stored, own)}"


def _first_unlike(stored: Tensor, own: Tensor) -> int:
    return int((stored != own).nonzero()[0])


def fingerprints(examples: datasets.Dataset) -> Tensor:
    """[examples], int64: 64 bits of a digest over each example's token ids and token types."""
    table: pa.Table = examples.with_format("arrow")[:]
    digests = [hashlib.blake2b(digest_size=8) for _ in range(table.num_rows)]
    for name in READ_BY_A_TEACHER:
        column = table.column(name).combine_chunks()
        ends = np.cumsum(column.value_lengths().to_numpy(zero_copy_only=False))
        tokens = column.flatten().to_numpy(zero_copy_only=False).astype("<i4")
        for digest, row in zip(digests, np.split(tokens, ends[:-1]), strict=True):
            digest.update(len(row).to_bytes(4, "little") + row.tobytes())
    return torch.from_numpy(np.frombuffer(b"".join(each.digest() for each in digests), dtype="<i8").astype(np.int64))
