"""SQuAD: windows, answers from logits, and gold logits that score 100."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from harness.data.question_answering import encode_evaluation, encode_training, predictions_from_logits
from harness.errors import IntegrityError
from harness.inputs.parquet import load_split
from harness.metrics import question_answering_scores
from harness.tasks import get_task

SQUAD = get_task("squad")
REDUCED = Path(__file__).parents[2].parent / "shared" / "data" / "reduced"
# Windows of 13 tokens: 3 special ones, up to 4 of the question, at least 6 of the context, 2 of them shared.
SHORT: dict[str, Any] = {"max_length": 13, "stride": 2, "max_query_length": 4}


def make_examples(rows: list[tuple[str, str, str, str]]) -> datasets.Dataset:
    """(id, question, context, answer) rows, the answer at its first occurrence."""
    return datasets.Dataset.from_list(
        [
            {
                "id": key,
                "question": question,
                "context": context,
                "answers": {"text": [answer], "answer_start": [context.index(answer)]},
            }
            for key, question, context, answer in rows
        ]
    )


EXAMPLES = make_examples(
    [
        ("q1", "who sat", "The cat sat on the mat.", "cat"),
        (
            "q2",
            "where is the seine",
            "One two three four five six seven: the Seine is in Paris, France.",
            "Paris, France",
        ),
        ("q3", "what did the dog", "A dog and a cat sat on the mat and the dog sat on the cat.", "sat on the cat"),
        ("q4", "who was good", "Naïve Élodie was good.", "Naïve Élodie"),
    ]
)


def gold_logits(training: datasets.Dataset) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """9 at the gold position (at [CLS] where the answer is not in the window), 0 elsewhere."""
    starts = [9.0 * np.eye(1, n, p)[0] for n, p in zip(training["length"], training["start_positions"], strict=True)]
    ends = [9.0 * np.eye(1, n, p)[0] for n, p in zip(training["length"], training["end_positions"], strict=True)]
    return starts, ends


def test_the_context_of_a_question_has_the_second_token_type(tokenizer: PreTrainedTokenizerBase):
    """[CLS] question [SEP] are of type 0, context [SEP] of type 1, in every window."""
    for encode in (encode_training, encode_evaluation):
        for row in encode(EXAMPLES, tokenizer, **SHORT):
            question = row["input_ids"].index(tokenizer.sep_token_id) + 1
            assert row["token_type_ids"] == [0] * question + [1] * (row["length"] - question)


@pytest.mark.parametrize("window", [SHORT, {"max_length": 384, "stride": 128}], ids=["short", "long"])
def test_gold_logits_score_100(tokenizer: PreTrainedTokenizerBase, window: dict[str, int]):
    features = encode_evaluation(EXAMPLES, tokenizer, **window)
    logits = gold_logits(encode_training(EXAMPLES, tokenizer, **window))
    predictions = predictions_from_logits(EXAMPLES, features, *logits)
    # With 6 context tokens a window cannot hold q4's answer in letters; everything else is recovered.
    expected = {row["id"]: row["answers"]["text"][0] for row in EXAMPLES}
    if window is SHORT:
        del expected["q4"]
    assert {key: predictions[key] for key in expected} == expected
    rows = EXAMPLES.filter(lambda row: row["id"] in expected)
    scores = question_answering_scores(SQUAD, {key: predictions[key] for key in expected}, rows)
    assert (scores["exact_match"], scores["f1"], scores["num_examples"]) == (100.0, 100.0, len(expected))


@pytest.mark.skipif(not REDUCED.is_dir(), reason="the reduced real data are not here")
def test_gold_logits_score_100_on_real_questions(make_tokenizer: Callable[[Iterable[str]], PreTrainedTokenizerBase]):
    examples = load_split(REDUCED, SQUAD, "validation").select(range(0, 2000, 5))
    # One token per character, so that answers inside a word can be reached too.
    text = " ".join([*examples["context"], *examples["question"]]).lower()
    letters = sorted({c for c in unicodedata.normalize("NFD", text) if not c.isspace()})
    tokenizer = make_tokenizer([*letters, *(f"##{letter}" for letter in letters)])
    window = {"max_length": 1200, "stride": 400, "max_query_length": 300}

    features = encode_evaluation(examples, tokenizer, **window)
    logits = gold_logits(encode_training(examples, tokenizer, **window))
    predictions = predictions_from_logits(examples, features, *logits, max_answer_length=400)

    assert list(predictions) == examples["id"][:]
    assert len(features) > len(examples)
    scores = question_answering_scores(SQUAD, predictions, examples)
    assert (scores["exact_match"], scores["f1"], scores["num_examples"]) == (100.0, 100.0, 400)


def test_windows_share_the_stride_and_cover_the_context(tokenizer: PreTrainedTokenizerBase):
    features = encode_evaluation(EXAMPLES.select([2]), tokenizer, **SHORT)
    windows = [[tuple(pair) for pair in row if pair != [-1, -1]] for row in features["offset_mapping"]]
    for earlier, later in pairwise(windows):
        assert earlier[-2:] == later[:2]
    context = EXAMPLES[2]["context"]
    covered = {pair for row in windows for pair in row}
    assert "".join(context[start:end] for start, end in sorted(covered)) == context.replace(" ", "")
    assert max(features["length"]) == SHORT["max_length"]


def test_training_positions_are_the_answer_or_the_cls_token(tokenizer: PreTrainedTokenizerBase):
    training = encode_training(EXAMPLES.select([1]), tokenizer, **SHORT)
    found = []
    for row in training:
        tokens = tokenizer.convert_ids_to_tokens(row["input_ids"])
        found.append(tokens[row["start_positions"] : row["end_positions"] + 1])
    assert found[0] == ["[CLS]"]  # "paris , france" comes later
    assert ["paris", ",", "france"] in found
    assert all(answer in (["[CLS]"], ["paris", ",", "france"]) for answer in found)


def test_long_questions_are_stripped_and_cut(tokenizer: PreTrainedTokenizerBase):
    examples = make_examples([("q", "   who who zebra the cat sat on the mat", "The cat sat.", "cat")])
    features = encode_evaluation(examples, tokenizer, **SHORT)
    tokens = tokenizer.convert_ids_to_tokens(features[0]["input_ids"])
    assert tokens[: tokens.index("[SEP]")] == ["[CLS]", "who", "who", "z", "##e"]


def test_a_window_without_room_for_the_context_is_refused(tokenizer: PreTrainedTokenizerBase):
    with pytest.raises(ValueError, match="hold 5 context tokens beside the longest question"):
        encode_evaluation(EXAMPLES, tokenizer, max_length=32, stride=8, max_query_length=24)


def two_window_case(tokenizer: PreTrainedTokenizerBase) -> tuple[datasets.Dataset, datasets.Dataset, list[np.ndarray]]:
    """One question, ten context tokens in two windows of six and up, the answer "seven" in the second only."""
    examples = make_examples([("q", "what is the dog", "one two three four five six seven eight nine ten", "seven")])
    features = encode_evaluation(examples, tokenizer, **SHORT)
    assert len(features) == 2
    return examples, features, [np.zeros(n) for n in features["length"]]


def test_the_best_span_of_all_windows_wins(tokenizer: PreTrainedTokenizerBase):
    examples, features, logits = two_window_case(tokenizer)
    seven = tokenizer.convert_tokens_to_ids("seven")
    three = tokenizer.convert_tokens_to_ids("three")
    assert seven not in features[0]["input_ids"]
    logits[0][features[0]["input_ids"].index(three)] = 3.0
    logits[1][features[1]["input_ids"].index(seven)] = 4.0
    assert predictions_from_logits(examples, features, logits, logits) == {"q": "seven"}
    logits[0] *= 2
    assert predictions_from_logits(examples, features, logits, logits) == {"q": "three"}


def test_spans_outside_the_context_backwards_or_too_long_are_passed_over(tokenizer: PreTrainedTokenizerBase):
    examples, features, starts = two_window_case(tokenizer)
    ends = [row.copy() for row in starts]
    first = features[0]["input_ids"].index(tokenizer.convert_tokens_to_ids("one"))
    starts[0][[0, 1, first + 3]] = [50.0, 40.0, 20.0]  # [CLS], the question, "four"
    ends[0][[first + 1, first + 4]] = [30.0, 10.0]  # "two" lies before "four"; "five" after
    assert predictions_from_logits(examples, features, starts, ends) == {"q": "four five"}
    # Of single tokens, "two" scores 0 + 30 and "four" 20 + 0.
    assert predictions_from_logits(examples, features, starts, ends, max_answer_length=1) == {"q": "two"}


def test_padding_is_ignored_and_a_question_without_span_gets_the_empty_answer(tokenizer: PreTrainedTokenizerBase):
    examples, features, logits = two_window_case(tokenizer)
    padded = np.full((2, 40), 99.0)
    for row, values in enumerate(logits):
        padded[row, : len(values)] = values
        padded[row, 0] = 5.0  # [CLS] is best, and with n_best=1 it is the only candidate
    assert predictions_from_logits(examples, features, padded, padded, n_best=1) == {"q": ""}


def test_every_question_is_answered_exactly_once(tokenizer: PreTrainedTokenizerBase):
    features = encode_evaluation(EXAMPLES, tokenizer, **SHORT)
    logits = [np.random.default_rng(n).normal(size=n) for n in features["length"]]
    assert len(features) > len(EXAMPLES)
    assert list(predictions_from_logits(EXAMPLES, features, logits, logits)) == ["q1", "q2", "q3", "q4"]
    with pytest.raises(ValueError, match="Check that no batch was dropped"):
        predictions_from_logits(EXAMPLES, features, logits[:-1], logits[:-1])
    kept = [row for row in range(len(features)) if features[row]["example_id"] != "q2"]
    kept_logits = [logits[row] for row in kept]
    with pytest.raises(IntegrityError, match="windows cover 3 of 4 questions"):
        predictions_from_logits(EXAMPLES, features.select(kept), kept_logits, kept_logits)
