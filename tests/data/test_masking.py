"""Dynamic masking: frequencies by simulation, repeatable by example, new every epoch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerBase

from harness.data.masking import MaskedLanguageModelCollator


def make_features(num_examples: int, length: int, vocabulary_size: int) -> list[dict[str, Any]]:
    """[CLS] half [SEP] half [SEP] of ordinary tokens, `length` in all."""
    rng = np.random.default_rng(0)
    features = []
    for index in range(num_examples):
        ids = rng.integers(5, vocabulary_size, size=length)
        ids[[0, length // 2, length - 1]] = [2, 3, 3]
        types = (np.arange(length) > length // 2).astype(int)
        features.append(
            {
                "input_ids": ids,
                "token_type_ids": types,
                "next_sentence_label": index % 2,
                "length": length,
                "index": index,
            }
        )
    return features


def changed_batch(collator: MaskedLanguageModelCollator, features: list[dict[str, Any]]) -> torch.Tensor:
    return collator(features)["input_ids"]


@pytest.mark.oracle("O24")
def test_frequencies_over_a_million_tokens(tokenizer: PreTrainedTokenizerBase):
    size = len(tokenizer)
    short = {"input_ids": [2, 9, 3, 3], "token_type_ids": [0, 0, 0, 1], "next_sentence_label": 0, "index": 2100}
    features = [*make_features(2100, 500, size), short]
    batch = MaskedLanguageModelCollator(tokenizer, seed=11)(features)
    original = torch.zeros_like(batch["input_ids"])
    for row, feature in enumerate(features):
        original[row, : len(feature["input_ids"])] = torch.as_tensor(feature["input_ids"])

    maskable = (batch["attention_mask"] == 1) & (original > 4)
    selected = batch["labels"] != -100
    num_maskable = int(maskable.sum())
    assert num_maskable >= 1_000_000
    assert not (selected & ~maskable).any()
    assert torch.equal(batch["input_ids"][~selected], original[~selected])
    assert torch.equal(batch["labels"][selected], original[selected])

    is_mask, is_same = batch["input_ids"] == tokenizer.mask_token_id, batch["input_ids"] == original
    observed = {
        "selected": (int(selected.sum()), 0.15),
        "mask": (int((selected & is_mask).sum()), 0.12 + 0.015 / size),
        "same": (int((selected & is_same).sum()), 0.015 + 0.015 / size),
        "other": (int((selected & ~is_mask & ~is_same).sum()), 0.015 * (1 - 2 / size)),
    }
    for name, (num_found, share) in observed.items():
        sigma = math.sqrt(num_maskable * share * (1 - share))
        assert abs(num_found - num_maskable * share) < 4 * sigma, name
    # The random tokens come from the whole vocabulary, special tokens included.
    assert len(batch["input_ids"][selected & ~is_mask & ~is_same].unique()) == size - 1


@pytest.mark.oracle("O24")
def test_epochs_differ_and_a_seed_repeats(tokenizer: PreTrainedTokenizerBase):
    features = make_features(8, 64, len(tokenizer))
    first, second = (MaskedLanguageModelCollator(tokenizer, seed=1) for _ in range(2))
    assert torch.equal(changed_batch(first, features), changed_batch(second, features))
    assert torch.equal(changed_batch(first, features), changed_batch(second, features))  # and draws leave no trace
    second.epoch = 1
    assert not torch.equal(changed_batch(first, features), changed_batch(second, features))
    other_seed = MaskedLanguageModelCollator(tokenizer, seed=2)
    assert not torch.equal(changed_batch(first, features), changed_batch(other_seed, features))


def test_a_mask_belongs_to_the_example_not_to_the_batch(tokenizer: PreTrainedTokenizerBase):
    features = make_features(8, 64, len(tokenizer))
    collator = MaskedLanguageModelCollator(tokenizer, seed=1, epoch=3)
    together = changed_batch(collator, features)
    backwards = torch.cat([changed_batch(collator, [feature]) for feature in reversed(features)])
    assert torch.equal(together, backwards.flip(0))
    resumed = MaskedLanguageModelCollator(tokenizer, seed=1)
    resumed.epoch = 3
    assert torch.equal(changed_batch(resumed, features[5:]), together[5:])


def test_a_fixed_epoch_masks_alike_every_time(tokenizer: PreTrainedTokenizerBase):
    features = make_features(4, 64, len(tokenizer))
    collator = MaskedLanguageModelCollator(tokenizer, seed=1, fixed_epoch=0)
    before = changed_batch(collator, features)
    collator.epoch = 7
    assert torch.equal(before, changed_batch(collator, features))


def test_padding_and_names_are_what_the_model_expects(tokenizer: PreTrainedTokenizerBase):
    long, short = make_features(1, 12, len(tokenizer)) + make_features(1, 8, len(tokenizer))
    batch = MaskedLanguageModelCollator(tokenizer, seed=1)([long, {**short, "index": 1, "next_sentence_label": 1}])
    assert set(batch) == {"input_ids", "token_type_ids", "attention_mask", "labels", "next_sentence_label"}
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}
    assert batch["attention_mask"].sum(1).tolist() == [12, 8]
    assert batch["input_ids"][1, 8:].tolist() == [tokenizer.pad_token_id] * 4
    assert batch["labels"][1, 8:].tolist() == [-100] * 4
    assert batch["next_sentence_label"].tolist() == [0, 1]
    # The second of the pair begins after its separator in the middle; padding is of the first.
    assert batch["token_type_ids"].tolist() == [[0] * 7 + [1] * 5, [0] * 5 + [1] * 3 + [0] * 4]


def test_limits_of_the_selection_probability(tokenizer: PreTrainedTokenizerBase):
    features = make_features(2, 32, len(tokenizer))
    none = MaskedLanguageModelCollator(tokenizer, seed=1, selection_probability=0)(features)
    assert (none["labels"] == -100).all()
    everything = MaskedLanguageModelCollator(tokenizer, seed=1, selection_probability=1)(features)
    assert (everything["labels"] != -100).sum() == 2 * 29  # all but [CLS] and two [SEP]
    with pytest.raises(ValueError, match="selection_probability=15"):
        MaskedLanguageModelCollator(tokenizer, seed=1, selection_probability=15)


def test_a_feature_without_index_is_refused(tokenizer: PreTrainedTokenizerBase):
    (feature,) = make_features(1, 8, len(tokenizer))
    del feature["index"]
    with pytest.raises(ValueError, match="has no 'index'"):
        MaskedLanguageModelCollator(tokenizer, seed=1)([feature])


@pytest.mark.parametrize("kd_positions", [1.0, 0.5])
def test_a_batch_of_one_length_has_the_masks_and_draws_of_its_longest_pair(
    tokenizer: PreTrainedTokenizerBase, kd_positions: float
):
    features = [*make_features(3, 20, len(tokenizer)), {**make_features(4, 12, len(tokenizer))[3], "index": 3}]
    longest = MaskedLanguageModelCollator(tokenizer, seed=5, kd_positions=kd_positions)(features)
    fixed = MaskedLanguageModelCollator(tokenizer, seed=5, kd_positions=kd_positions, length=32)(features)
    assert longest["input_ids"].shape == (4, 20)
    assert fixed["input_ids"].shape == (4, 32)
    assert longest.keys() == fixed.keys()
    for name, tensor in longest.items():
        assert torch.equal(fixed[name][..., :20], tensor), name
    assert fixed["attention_mask"].sum() == longest["attention_mask"].sum() == 72
    assert (fixed["labels"][:, 20:] == -100).all()
    assert (fixed["input_ids"][:, 20:] == tokenizer.pad_token_id).all()
    with pytest.raises(ValueError, match="an example has 20 tokens, and every batch 16"):
        MaskedLanguageModelCollator(tokenizer, seed=5, length=16)(features)
