"""Classification and regression of a text or a pair of texts: from text columns to token ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.progress import NEVER, StopFlag
from harness.tasks import CLASSIFICATION, REGRESSION, Task

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase


def encode_texts(
    dataset: datasets.Dataset,
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    stops: StopFlag = NEVER,
) -> datasets.Dataset:
    """Columns input_ids, token_type_ids, length (tokens) and index (row of `dataset`), in its order; and the targets:
    labels of a classification, scores of a regression.

    max_length: tokens with special ones; a longer pair loses tokens of its longer part first. Nothing is padded here.
    token_type_ids are always there, also for a tokenizer that leaves them out by default: a DistilBERT student
    ignores them, its BERT teacher needs them. Raises ValueError for a task of another head, and what `stops` raises.
    """
    from datasets.fingerprint import generate_random_fingerprint

    if task.head not in (CLASSIFICATION, REGRESSION):
        raise ValueError(f"task {task.name!r} is {task.head.name}; expected a classification or a regression.")
    (target,) = task.head.target_columns

    def encode(batch: dict[str, list[Any]], rows: list[int]) -> dict[str, list[Any]]:
        encoding = tokenizer(
            *(batch[column] for column in task.text_columns),
            truncation="longest_first",
            max_length=max_length,
            return_token_type_ids=True,
            return_attention_mask=False,
        )
        return {
            "input_ids": encoding["input_ids"],
            "token_type_ids": encoding["token_type_ids"],
            f"{target}s": batch[target],
            "length": [len(ids) for ids in encoding["input_ids"]],
            "index": rows,
        }

    return dataset.map(
        stops.between(encode, f"batches of the tokens of {task.name}"),
        batched=True,
        with_indices=True,
        remove_columns=dataset.column_names,
        load_from_cache_file=False,
        new_fingerprint=generate_random_fingerprint(),  # else the library pickles the whole tokenizer to make one
        desc=f"{task.name} tokens",
    )
