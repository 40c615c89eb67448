"""Classification features, dynamic padding, seeded subsets."""

from __future__ import annotations

import datasets
import pytest
import torch
from transformers import PreTrainedTokenizerBase

from harness.data.classification import encode_texts
from harness.data.collate import PaddingCollator
from harness.data.subset import seeded_subset
from harness.tasks import get_task

PAIRS = datasets.Dataset.from_dict(
    {
        "question": ["who sat on the mat", "what was good"],
        "sentence": ["the cat sat on the mat and the dog sat on the cat", "the film"],
        "label": [0, 1],
        "idx": [7, 8],
    }
)


def test_a_pair_is_encoded_with_types_and_cut_at_the_longer_part(tokenizer: PreTrainedTokenizerBase):
    encoded = encode_texts(PAIRS, get_task("qnli"), tokenizer, max_length=12)
    assert encoded.column_names == ["input_ids", "token_type_ids", "labels", "length", "index"]
    # 5 + 12 tokens into 9: the longer part is cut to the shorter one's 5, then both share, the odd one to the longer.
    assert tokenizer.decode(encoded[0]["input_ids"]) == "[CLS] who sat on the [SEP] the cat sat on the [SEP]"
    assert encoded[0]["token_type_ids"] == [0] * 6 + [1] * 6
    assert encoded["length"][:] == [12, 8]
    assert encoded["labels"][:] == [0, 1]
    assert encoded["index"][:] == [0, 1]


def test_token_types_are_there_even_if_the_tokenizer_leaves_them_out(tokenizer: PreTrainedTokenizerBase, monkeypatch):
    monkeypatch.setattr(tokenizer, "model_input_names", ["input_ids", "attention_mask"])
    encoded = encode_texts(PAIRS, get_task("qnli"), tokenizer, max_length=12)
    batch = PaddingCollator(tokenizer)([encoded[0], encoded[1]])
    assert batch["token_type_ids"][0].tolist() == [0] * 6 + [1] * 6


def test_a_question_task_is_refused(tokenizer: PreTrainedTokenizerBase):
    with pytest.raises(ValueError, match="task 'squad' is extractive-qa"):
        encode_texts(PAIRS, get_task("squad"), tokenizer, max_length=12)


def test_a_batch_is_as_long_as_its_longest_example(tokenizer: PreTrainedTokenizerBase):
    encoded = encode_texts(PAIRS, get_task("qnli"), tokenizer, max_length=12)
    batch = PaddingCollator(tokenizer)([encoded[0], encoded[1]])
    assert set(batch) == {"input_ids", "token_type_ids", "attention_mask", "labels"}
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}
    assert batch["attention_mask"].sum(1).tolist() == [12, 8]
    assert batch["input_ids"][1, 8:].tolist() == [tokenizer.pad_token_id] * 4
    assert batch["labels"].tolist() == [0, 1]
    assert PaddingCollator(tokenizer)([encoded[1]])["input_ids"].shape == (1, 8)


def test_every_batch_has_one_length_where_one_is_given(tokenizer: PreTrainedTokenizerBase):
    encoded = encode_texts(PAIRS, get_task("qnli"), tokenizer, max_length=12)
    rows = [encoded[0], encoded[1]]
    longest, fixed = PaddingCollator(tokenizer)(rows), PaddingCollator(tokenizer, 20)(rows)
    assert {name: tensor.shape for name, tensor in fixed.items()} == {
        **dict.fromkeys(("input_ids", "token_type_ids", "attention_mask"), (2, 20)),
        "labels": (2,),
    }
    assert all(torch.equal(fixed[name][:, :12], longest[name]) for name in ("input_ids", "attention_mask"))
    assert fixed["attention_mask"][:, 12:].sum() == 0
    assert set(fixed["input_ids"][:, 12:].flatten().tolist()) == {tokenizer.pad_token_id}
    exact = PaddingCollator(tokenizer, 12)(rows)
    assert all(torch.equal(exact[name], tensor) for name, tensor in longest.items())


def test_padding_to_one_length_is_on_the_tokenizers_side(tokenizer: PreTrainedTokenizerBase, monkeypatch):
    monkeypatch.setattr(tokenizer, "padding_side", "left")
    batch = PaddingCollator(tokenizer, 5)([{"input_ids": [2, 7, 3]}, {"input_ids": [2, 3]}])
    assert batch["attention_mask"].tolist() == [[0, 0, 1, 1, 1], [0, 0, 0, 1, 1]]
    assert batch["input_ids"].tolist() == [[0, 0, 2, 7, 3], [0, 0, 0, 2, 3]]


def test_an_example_longer_than_every_batch_is_refused(tokenizer: PreTrainedTokenizerBase):
    with pytest.raises(ValueError, match=r"an example has 3 tokens, and every batch 2: expected at most as many\."):
        PaddingCollator(tokenizer, 2)([{"input_ids": [2, 7, 3]}])


def test_positions_and_nothing_else_travel_with_question_windows(tokenizer: PreTrainedTokenizerBase):
    window = {"input_ids": [2, 5, 3], "token_type_ids": [0, 0, 0], "start_positions": 1, "end_positions": 2, "index": 4}
    batch = PaddingCollator(tokenizer)([{**window, "example_id": "q", "offset_mapping": [[0, 1]] * 3, "length": 3}])
    assert set(batch) == {"input_ids", "token_type_ids", "attention_mask", "start_positions", "end_positions"}
    assert batch["end_positions"].tolist() == [2]


def test_a_subset_is_fixed_by_its_seed_and_nested():
    numbers = datasets.Dataset.from_dict({"n": list(range(100))})
    ten = seeded_subset(numbers, 10, seed=3)["n"][:]
    assert len(set(ten)) == 10
    assert seeded_subset(numbers, 10, seed=3)["n"][:] == ten
    assert seeded_subset(numbers, 20, seed=3)["n"][:10] == ten
    assert seeded_subset(numbers, 10, seed=4)["n"][:] != ten


def test_a_subset_of_everything_is_the_data_set_in_its_order():
    numbers = datasets.Dataset.from_dict({"n": list(range(10))})
    for num_examples in (None, 10, 11):
        assert seeded_subset(numbers, num_examples, seed=3)["n"][:] == list(range(10))
    with pytest.raises(ValueError, match="num_examples=0"):
        seeded_subset(numbers, 0, seed=3)
