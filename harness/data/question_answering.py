"""Extractive question answering (SQuAD v1.1): windows over the context, and answers back from logits.

Windows and the n-best search are those of the transformers question-answering example, which the authors' release
uses. The original BERT script scores a token only in the window where it has most context ("max context"); the example
does not, and neither do we: the best span of any window wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import require
from harness.progress import NEVER, StopFlag

if TYPE_CHECKING:
    import datasets
    from transformers import BatchEncoding, PreTrainedTokenizerBase

NO_OFFSET = -1  # both offsets of a token that is not part of the context


def encode_training(
    examples: datasets.Dataset,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int = 384,
    stride: int = 128,
    max_query_length: int = 64,
    stops: StopFlag = NEVER,
) -> datasets.Dataset:
    """Windows to train on: input_ids, token_type_ids, start_positions, end_positions, length, index (0, 1, ..).

    Positions are those of the first and last token of the question's first answer; both are the [CLS] position in a
    window that does not hold the whole answer.
    max_length: tokens of a window with question and special tokens. stride: context tokens that neighbouring windows
    share (in the original BERT script the word is used for the step). max_query_length: longer questions are cut.
    Raises ValueError if the longest question would leave a window no more than `stride` context tokens, and what
    `stops` raises.
    """

    def encode(batch: dict[str, list[Any]], _rows: list[int]) -> dict[str, list[Any]]:
        encoding = _windows(batch, tokenizer, max_length, stride, max_query_length)
        spans = [
            _answer_span(encoding, window, batch["answers"][row], cls_id)
            for window, row in enumerate(encoding["overflow_to_sample_mapping"])
        ]
        return {
            "input_ids": encoding["input_ids"],
            "token_type_ids": encoding["token_type_ids"],
            "start_positions": [start for start, _ in spans],
            "end_positions": [end for _, end in spans],
            "length": [len(ids) for ids in encoding["input_ids"]],
        }

    cls_id = int(tokenizer.cls_token_id)
    return _map_windows(examples, encode, stops)


def encode_evaluation(
    examples: datasets.Dataset,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int = 384,
    stride: int = 128,
    max_query_length: int = 64,
    stops: StopFlag = NEVER,
) -> datasets.Dataset:
    """Windows to answer from: input_ids, token_type_ids, example_index (row of `examples`), example_id, offset_mapping,
    length, index (0, 1, ..).

    offset_mapping: [start, end) of each token in characters of the context, [-1, -1] for tokens outside it.
    Arguments and errors as for `encode_training`.
    """

    def encode(batch: dict[str, list[Any]], rows: list[int]) -> dict[str, list[Any]]:
        encoding = _windows(batch, tokenizer, max_length, stride, max_query_length)
        source = encoding["overflow_to_sample_mapping"]
        return {
            "input_ids": encoding["input_ids"],
            "token_type_ids": encoding["token_type_ids"],
            "example_index": [rows[row] for row in source],
            "example_id": [batch["id"][row] for row in source],
            "offset_mapping": [_context_offsets(encoding, window)[0].tolist() for window in range(len(source))],
            "length": [len(ids) for ids in encoding["input_ids"]],
        }

    return _map_windows(examples, encode, stops)


def predictions_from_logits(
    examples: datasets.Dataset,
    features: datasets.Dataset,
    start_logits: Sequence[np.ndarray] | np.ndarray,
    end_logits: Sequence[np.ndarray] | np.ndarray,
    *,
    n_best: int = 20,
    max_answer_length: int = 30,
    stops: StopFlag = NEVER,
) -> dict[str, str]:
    """The answer to every question of `examples`, by id: the span of highest start + end logit over all its windows.

    features: the windows of `encode_evaluation`, all of them. start_logits, end_logits: one row of logits per window,
    at least as long as the window; what lies beyond (padding) is ignored. Of each window the `n_best` start and
    `n_best` end positions are paired; a span lies in the context, ends no earlier than it starts and has at most
    `max_answer_length` tokens. On a tie the earlier window, then the higher start logit, wins. A question without a
    valid span gets "". The logits are finite. Raises ValueError if the counts of rows and windows differ,
    and what `stops` raises.
    """
    if not len(features) == len(start_logits) == len(end_logits):
        raise ValueError(
            f"{len(start_logits)} rows of start logits and {len(end_logits)} of end logits for {len(features)} "
            "windows; expected one row per window. Check that no batch was dropped."
        )
    best: dict[int, tuple[float, int, int]] = {}
    columns = features.select_columns(["example_index", "offset_mapping"])
    for window, feature in enumerate(stops.over(columns, "windows searched for answers")):
        row = feature["example_index"]
        offsets = np.asarray(feature["offset_mapping"], dtype=np.int64)
        span = _best_span(
            np.asarray(start_logits[window], dtype=np.float64)[: len(offsets)],
            np.asarray(end_logits[window], dtype=np.float64)[: len(offsets)],
            offsets,
            n_best=n_best,
            max_answer_length=max_answer_length,
        )
        if row not in best or span[0] > best[row][0]:
            best[row] = span
    require(len(best) == len(examples), f"windows cover {len(best)} of {len(examples)} questions")
    predictions = {}
    for row, example in enumerate(examples.select_columns(["id", "context"])):
        _, start, end = best[row]
        predictions[example["id"]] = example["context"][start:end]
    require(len(predictions) == len(examples), "an id occurs twice")
    return predictions


def _best_span(
    start_logits: np.ndarray, end_logits: np.ndarray, offsets: np.ndarray, *, n_best: int, max_answer_length: int
) -> tuple[float, int, int]:
    """(score, first character, end character) of the window's best span; (-inf, 0, 0) if there is none."""
    if len(start_logits) != len(offsets) or len(end_logits) != len(offsets):
        raise ValueError(
            f"{len(start_logits)} start and {len(end_logits)} end logits for a window of {len(offsets)} tokens; "
            "expected at least as many."
        )
    starts = np.argsort(-start_logits, kind="stable")[:n_best]
    ends = np.argsort(-end_logits, kind="stable")[:n_best]
    num_tokens = ends[None, :] - starts[:, None] + 1
    in_context = offsets[:, 0] != NO_OFFSET
    valid = (num_tokens >= 1) & (num_tokens <= max_answer_length) & in_context[starts][:, None] & in_context[ends]
    scores = np.where(valid, start_logits[starts][:, None] + end_logits[ends], -np.inf)
    start, end = np.unravel_index(np.argmax(scores), scores.shape)
    if scores[start, end] == -np.inf:
        return -np.inf, 0, 0
    return float(scores[start, end]), int(offsets[starts[start], 0]), int(offsets[ends[end], 1])


def _map_windows(examples: datasets.Dataset, encode: Any, stops: StopFlag) -> datasets.Dataset:
    """Windows of all examples, with their index."""
    from datasets.fingerprint import generate_random_fingerprint

    windows = examples.map(
        stops.between(encode, "batches of windows"),
        batched=True,
        with_indices=True,
        remove_columns=examples.column_names,
        load_from_cache_file=False,
        new_fingerprint=generate_random_fingerprint(),  # else the library pickles the whole tokenizer to make one
        desc="windows",
    )
    return windows.add_column("index", np.arange(len(windows)))


def _windows(
    batch: dict[str, list[Any]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    stride: int,
    max_query_length: int,
) -> BatchEncoding:
    num_context = max_length - max_query_length - tokenizer.num_special_tokens_to_add(pair=True)
    if num_context <= stride:
        raise ValueError(
            f"max_length={max_length}, max_query_length={max_query_length}, stride={stride}: a window would hold "
            f"{num_context} context tokens beside the longest question; expected more than the stride. "
            "Lower the stride or max_query_length, or raise max_length."
        )
    return tokenizer(
        _cut_questions(batch["question"], tokenizer, max_query_length),
        batch["context"],
        truncation="only_second",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
        return_attention_mask=False,
    )


def _cut_questions(questions: list[str], tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> list[str]:
    """Questions stripped and cut after `max_tokens` tokens; a prefix up to a token's end splits as the whole does."""
    stripped = [question.strip() for question in questions]
    offsets = tokenizer(
        stripped, add_special_tokens=False, truncation=True, max_length=max_tokens, return_offsets_mapping=True
    )["offset_mapping"]
    return [
        question[: ends[-1][1]] if len(ends) == max_tokens else question
        for question, ends in zip(stripped, offsets, strict=True)
    ]


def _context_offsets(encoding: BatchEncoding, window: int) -> tuple[np.ndarray, int, int]:
    """Offsets [length, 2] with -1 outside the context, and the positions [first, end) of the context's tokens."""
    offsets = np.array(encoding["offset_mapping"][window], dtype=np.int64)
    in_context = np.array([sequence == 1 for sequence in encoding.sequence_ids(window)])
    offsets[~in_context] = NO_OFFSET
    positions = np.flatnonzero(in_context)
    if not len(positions):
        return offsets, 0, 0
    return offsets, int(positions[0]), int(positions[-1]) + 1


def _answer_span(encoding: BatchEncoding, window: int, answers: dict[str, list[Any]], cls_id: int) -> tuple[int, int]:
    """Positions of the first answer's first and last token in the window, or [CLS] twice if it is not all there."""
    offsets, first, end = _context_offsets(encoding, window)
    cls_position = encoding["input_ids"][window].index(cls_id)
    start_char = answers["answer_start"][0]
    end_char = start_char + len(answers["text"][0])
    if first == end or offsets[first, 0] > start_char or offsets[end - 1, 1] < end_char:
        return cls_position, cls_position
    start = first + int(np.searchsorted(offsets[first:end, 0], start_char, side="right")) - 1
    last = first + int(np.searchsorted(offsets[first:end, 1], end_char, side="left"))
    return start, last
