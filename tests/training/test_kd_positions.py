"""Distilling a share of the tokens estimates loss and gradient over all of them, by counting and by drawing."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import pytest
import torch
from tiny_world import wordpiece_tokenizer
from torch.nn import functional
from transformers import BertConfig, BertForPreTraining, PreTrainedTokenizerBase, set_seed

from harness.data.masking import IGNORED_LABEL, MaskedLanguageModelCollator
from harness.training.micro_batch import micro_batches
from harness.training.objectives import Distillation, PretrainingObjective

Batch = dict[str, torch.Tensor]
DRAWS = 400


def model(vocabulary: int = 30) -> BertForPreTraining:
    return BertForPreTraining(
        BertConfig(
            vocab_size=vocabulary,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=256,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


@pytest.fixture
def objective() -> PretrainingObjective:
    set_seed(1)
    return PretrainingObjective(
        distillation=Distillation(teacher=model(), ce_weight=0.3, kd_weight=0.7, temperature=2.0)
    )


@pytest.fixture
def student() -> BertForPreTraining:
    set_seed(0)
    return model()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """Thirty tokens, as many as the models know."""
    return wordpiece_tokenizer(tmp_path_factory.mktemp("tokenizer"), [f"w{i}" for i in range(25)])


def small_batch() -> Batch:
    """Rows of 5 and 4 tokens; one of each is masked."""
    ids = torch.tensor([[2, 9, 11, 12, 3], [2, 8, 7, 3, 0]])
    labels = torch.full_like(ids, IGNORED_LABEL)
    labels[0, 2], labels[1, 1] = 17, 8
    return {
        "input_ids": ids,
        "token_type_ids": torch.zeros_like(ids),
        "attention_mask": (ids > 0).long(),
        "labels": labels,
        "next_sentence_label": torch.tensor([0, 1]),
    }


def gradient(student: BertForPreTraining, loss: torch.Tensor) -> torch.Tensor:
    student.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None]).double()


def test_over_all_ways_to_draw_two_tokens_of_each_row_loss_and_gradient_are_the_whole(
    objective: PretrainingObjective, student: BertForPreTraining
) -> None:
    losses, gradients = [], []
    for first in combinations(range(5), 2):
        for second in combinations(range(4), 2):
            weights = torch.zeros(2, 5)
            weights[0, list(first)], weights[1, list(second)] = 5 / 2, 4 / 2
            loss = objective(student, {**small_batch(), "kd_weights": weights})
            losses.append(loss.item())
            gradients.append(gradient(student, loss))
    whole = objective(student, small_batch())
    assert len(losses) == 60
    assert max(losses) - min(losses) > 1e-3  # single draws differ
    assert sum(losses) / 60 == pytest.approx(whole.item(), rel=1e-6)
    assert torch.allclose(torch.stack(gradients).mean(0), gradient(student, whole), rtol=1e-4, atol=1e-7)


def test_drawn_by_the_collator_the_mean_of_loss_and_gradient_is_the_whole(
    objective: PretrainingObjective, student: BertForPreTraining, tokenizer: PreTrainedTokenizerBase
) -> None:
    """400 draws of a quarter; compared along 20 random directions of the gradient, each within its standard error."""
    whole = gradient(student, objective(student, small_batch()))
    features = [{"input_ids": [0] * n, "token_type_ids": [0] * n, "index": row} for row, n in enumerate((5, 4))]
    collator = MaskedLanguageModelCollator(tokenizer, seed=0, kd_positions=0.25)
    directions = torch.randn(20, len(whole), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seen = []
    for epoch in range(DRAWS):
        collator.epoch = epoch
        drawn = {**small_batch(), "kd_weights": collator(features)["kd_weights"]}
        loss = objective(student, drawn)
        seen.append(torch.cat([loss.detach().double()[None], directions @ gradient(student, loss)]))
    found = torch.stack(seen)
    expected = torch.cat([objective(student, small_batch()).detach().double()[None], directions @ whole])
    scores = (found.mean(0) - expected) / (found.std(0) / math.sqrt(DRAWS))
    assert scores.abs().max() < 4
    assert (found.std(0) > 0).all()


def test_the_loss_is_the_plain_weighted_sum_with_masked_tokens_outside_the_draw_in_the_cross_entropy(
    objective: PretrainingObjective, student: BertForPreTraining
) -> None:
    batch = small_batch()
    weights = torch.tensor([[2.5, 0, 0, 2.5, 0], [0, 2.0, 2.0, 0, 0]])  # the masked token of row 0 is not drawn
    teacher: Any = objective.distillation.teacher  # type: ignore[union-attr]
    plain_inputs = {name: tensor for name, tensor in batch.items() if "label" not in name}
    ours, taught = student(**batch), teacher(**plain_inputs)
    by_token = functional.kl_div(
        torch.log_softmax(ours.prediction_logits / 2, -1),
        torch.softmax(taught.prediction_logits / 2, -1),
        reduction="none",
    ).sum(-1)
    tokens = 4.0 * (by_token * weights).sum() / 9  # 9 live tokens
    pairs = 4.0 * functional.kl_div(
        torch.log_softmax(ours.seq_relationship_logits / 2, -1),
        torch.softmax(taught.seq_relationship_logits / 2, -1),
        reduction="batchmean",
    )
    expected = 0.3 * ours.loss + 0.7 * (tokens + pairs)
    assert objective(student, {**batch, "kd_weights": weights}).item() == pytest.approx(expected.item(), rel=1e-5)


def test_micro_batches_add_up_to_the_batch(objective: PretrainingObjective, student: BertForPreTraining) -> None:
    weights = torch.tensor([[5.0, 0, 0, 0, 0], [0, 2.0, 2.0, 0, 0]])
    batch = {**small_batch(), "kd_weights": weights}
    whole = gradient(student, objective(student, batch))
    parts = [gradient(student, objective(student, part, batch)) for part in micro_batches(batch, 1)]
    assert torch.allclose(sum(parts, torch.zeros_like(whole)), whole, rtol=1e-5, atol=1e-8)


def test_more_rows_than_a_chunk_holds_drawn_and_masked_ones_in_one_chunk(
    objective: PretrainingObjective, student: BertForPreTraining, tokenizer: PreTrainedTokenizerBase
) -> None:
    """160 drawn tokens and as many masked ones: the border between them lies inside the second chunk of 128."""
    features = [
        {"input_ids": [2, *range(5, 25), 3] * 4, "token_type_ids": [0] * 88, "next_sentence_label": 0, "index": row}
        for row in range(8)
    ]
    collator = MaskedLanguageModelCollator(tokenizer, seed=0, kd_positions=0.22, selection_probability=0.3)
    batch = collator(features)
    assert 128 < int((batch["kd_weights"] > 0).sum()) < 256
    chunked = objective(student, batch)
    one_by_one = torch.stack([objective(student, part, batch) for part in micro_batches(batch, 1)]).sum()
    assert chunked.item() == pytest.approx(float(one_by_one.detach()), rel=1e-5)
