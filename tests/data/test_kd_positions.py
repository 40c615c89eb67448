"""Which tokens pre-training distils: how many, of whom, how often; the masks know nothing of it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from harness.data.masking import MaskedLanguageModelCollator

LENGTHS = (9, 16, 13)
EPOCHS = 2000


def features() -> list[dict[str, Any]]:
    """Rows of three lengths: [CLS], ordinary tokens, [SEP]."""
    return [
        {
            "input_ids": [2, *(5 + (row * 7 + i) % 20 for i in range(length - 2)), 3],
            "token_type_ids": [0] * length,
            "index": row,
        }
        for row, length in enumerate(LENGTHS)
    ]


def batch(
    tokenizer: PreTrainedTokenizerBase, share: float, *, epoch: int = 0, seed: int = 5
) -> dict[str, torch.Tensor]:
    collator = MaskedLanguageModelCollator(tokenizer, seed=seed, kd_positions=share, epoch=epoch)
    return collator(features())


def test_as_many_tokens_of_each_pair_as_the_share_says_rounded_up(tokenizer: PreTrainedTokenizerBase) -> None:
    weights = batch(tokenizer, 0.25)["kd_weights"]
    assert (weights > 0).sum(dim=1).tolist() == [3, 4, 4]  # of 9, 16 and 13
    # What stands for a token of a row: all of its tokens over those drawn, so that each row weighs as before.
    for row, (length, drawn) in enumerate(zip(LENGTHS, (3, 4, 4), strict=True)):
        assert weights[row][weights[row] > 0].tolist() == pytest.approx([length / drawn] * drawn)
        assert not weights[row, length:].any()
    assert (batch(tokenizer, 0.001)["kd_weights"] > 0).sum(dim=1).tolist() == [1, 1, 1]


def test_a_share_of_one_leaves_the_batch_as_it_was(tokenizer: PreTrainedTokenizerBase) -> None:
    assert "kd_weights" not in batch(tokenizer, 1.0)


def test_every_token_is_drawn_equally_often_whatever_is_masked(tokenizer: PreTrainedTokenizerBase) -> None:
    total, among_masked, masked = torch.zeros(3, 16), 0.0, 0
    for epoch in range(EPOCHS):
        found = batch(tokenizer, 0.25, epoch=epoch)
        total += found["kd_weights"]
        is_masked = found["labels"] != -100
        among_masked += float(found["kd_weights"][is_masked].sum())
        masked += int(is_masked.sum())
    for row, (length, drawn) in enumerate(zip(LENGTHS, (3, 4, 4), strict=True)):
        probability, weight = drawn / length, length / drawn
        error = weight * math.sqrt(probability * (1 - probability) / EPOCHS)
        assert torch.allclose(total[row, :length] / EPOCHS, torch.ones(length), rtol=0, atol=4.5 * error)
    assert among_masked / masked == pytest.approx(1.0, abs=4.5 * 3.25 / math.sqrt(masked))


def test_drawn_anew_each_epoch_and_again_under_the_same_names(tokenizer: PreTrainedTokenizerBase) -> None:
    first = batch(tokenizer, 0.25)["kd_weights"]
    assert torch.equal(first, batch(tokenizer, 0.25)["kd_weights"])
    assert not torch.equal(first, batch(tokenizer, 0.25, epoch=1)["kd_weights"])
    assert not torch.equal(first, batch(tokenizer, 0.25, seed=6)["kd_weights"])
    collator = MaskedLanguageModelCollator(tokenizer, seed=5, kd_positions=0.25)
    alone = collator(features()[1:2])["kd_weights"]  # whatever else is in the batch
    assert torch.equal(alone[0], first[1])


def test_the_masks_are_those_without_it(tokenizer: PreTrainedTokenizerBase) -> None:
    with_share, without = batch(tokenizer, 0.5), batch(tokenizer, 1.0)
    for name in without:
        assert torch.equal(with_share[name], without[name]), name


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, math.nan])
def test_a_share_that_is_none_is_refused(tokenizer: PreTrainedTokenizerBase, share: float) -> None:
    with pytest.raises(ValueError, match=r"expected a fraction in \(0, 1\]"):
        batch(tokenizer, share)
