"""Objectives against the plain forms of the same losses, and the teacher's isolation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import (
    BertConfig,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    set_seed,
)

from harness.compression.distillation import token_soft_target_loss
from harness.training.chunked_head import ROWS_PER_CHUNK, head_loss
from harness.training.objectives import (
    ClassificationObjective,
    Distillation,
    PretrainingObjective,
    QuestionAnsweringObjective,
)

VOCABULARY = 50


def config(**changed: Any) -> BertConfig:
    return BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        **changed,
    )


def without_dropout() -> BertConfig:
    return config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def pair_batch(rows: int = 6, length: int = 40) -> dict[str, torch.Tensor]:
    """Rows of different length, some labels, next-sentence labels; more live tokens than one chunk holds."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([length - 3 * i for i in range(rows)])
    attention = (torch.arange(length)[None] < lengths[:, None]).long()
    ids = torch.randint(5, VOCABULARY, (rows, length), generator=generator) * attention
    masked = (torch.rand(rows, length, generator=generator) < 0.2) & (attention == 1)
    return {
        "input_ids": ids,
        "token_type_ids": torch.zeros_like(ids),
        "attention_mask": attention,
        "labels": torch.where(masked, ids, -100),
        "next_sentence_label": torch.tensor([0, 1] * (rows // 2)),
    }


def gradients(model: torch.nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same_gradients(model: torch.nn.Module, ours: torch.Tensor, plain: torch.Tensor) -> None:
    assert ours.item() == pytest.approx(plain.item(), rel=1e-5)
    first, second = gradients(model, ours), gradients(model, plain)
    assert first.keys() == second.keys()
    for name, gradient in first.items():
        assert torch.allclose(gradient, second[name], rtol=1e-4, atol=1e-6), name


def test_the_loss_without_a_teacher_is_the_librarys_own() -> None:
    set_seed(0)
    model, batch = BertForPreTraining(without_dropout()), pair_batch()
    assert_same_gradients(model, PretrainingObjective()(model, batch), model(**batch).loss)


@pytest.mark.oracle("O18")
def test_the_chunked_loss_with_a_teacher_is_the_plain_one() -> None:
    set_seed(0)
    model, teacher, batch = BertForPreTraining(without_dropout()), BertForPreTraining(without_dropout()), pair_batch()
    assert int(batch["attention_mask"].sum()) > ROWS_PER_CHUNK  # several chunks, the last one smaller
    kd = Distillation(teacher=teacher, ce_weight=0.3, kd_weight=0.7, temperature=2.0)
    ours = PretrainingObjective(distillation=kd)(model, batch)

    output = model(**batch)
    with torch.no_grad():
        taught = teacher(**{k: v for k, v in batch.items() if "label" not in k})
    tokens = token_soft_target_loss(
        output.prediction_logits, taught.prediction_logits, batch["attention_mask"], temperature=2.0
    )
    pairs = 4.0 * functional.kl_div(
        torch.log_softmax(output.seq_relationship_logits / 2, -1),
        torch.softmax(taught.seq_relationship_logits / 2, -1),
        reduction="batchmean",
    )
    assert_same_gradients(model, ours, 0.3 * output.loss + 0.7 * (tokens + pairs))


def test_the_chunked_loss_is_near_its_own_where_products_are_in_bfloat16() -> None:
    """bfloat16 has 8 bits: a product is off by half a percent, and a gradient stays one of fp32."""
    set_seed(0)
    model, teacher, batch = BertForPreTraining(without_dropout()), BertForPreTraining(without_dropout()), pair_batch()
    kd = Distillation(teacher=teacher, ce_weight=0.5, kd_weight=0.5, temperature=2.0)
    objective = PretrainingObjective(distillation=kd)
    exact = objective(model, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        near = objective(model, batch)
    assert near.item() != exact.item()
    assert near.item() == pytest.approx(exact.item(), rel=0.01)
    first, second = gradients(model, exact), gradients(model, near)
    assert {gradient.dtype for gradient in second.values()} == {torch.float32}
    decoder = "bert.embeddings.word_embeddings.weight"  # tied
    assert float((first[decoder] - second[decoder]).norm()) < 0.05 * float(first[decoder].norm())


def test_the_head_loss_needs_no_gradient_to_be_computed() -> None:
    hidden, weight = torch.randn(300, 8), torch.randn(20, 8)
    with torch.no_grad():
        total = head_loss(hidden, weight, None, lambda logits, rows: logits.square().sum())
    assert total.item() == pytest.approx((hidden @ weight.T).square().sum().item(), rel=1e-5)


def test_a_padded_batch_has_the_loss_of_the_unpadded_one_for_questions() -> None:
    """Padding takes part neither in the cross-entropy nor in the soft targets."""
    set_seed(0)
    model, teacher = (BertForQuestionAnswering(without_dropout()).eval() for _ in range(2))
    kd = Distillation(teacher=teacher, ce_weight=0.5, kd_weight=0.5, temperature=2.0)
    ids = torch.randint(5, VOCABULARY, (2, 12))
    positions = {"start_positions": torch.tensor([3, 5]), "end_positions": torch.tensor([4, 5])}
    short = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **positions}
    wide = {
        "input_ids": functional.pad(ids, (0, 7)),
        "attention_mask": functional.pad(short["attention_mask"], (0, 7)),
        **positions,
    }
    for objective in (QuestionAnsweringObjective(), QuestionAnsweringObjective(distillation=kd)):
        assert objective(model, wide).item() == pytest.approx(objective(model, short).item(), rel=1e-5)
    # Without padding the cross-entropy is the library's own.
    assert QuestionAnsweringObjective()(model, short).item() == pytest.approx(model(**short).loss.item(), rel=1e-6)


def classification_batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(5, VOCABULARY, (8, 10), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.arange(8) % 2}


def test_a_teacher_equal_to_the_student_adds_nothing() -> None:
    set_seed(0)
    model = BertForSequenceClassification(without_dropout())
    teacher = BertForSequenceClassification(without_dropout())
    teacher.load_state_dict(model.state_dict())
    batch = classification_batch()
    kd = Distillation(teacher=teacher, ce_weight=0.5, kd_weight=0.5, temperature=2.0)
    hard = ClassificationObjective()(model, batch)
    assert ClassificationObjective(distillation=kd)(model, batch).item() == pytest.approx(0.5 * hard.item(), rel=1e-6)


@pytest.mark.oracle("O20")
def test_the_teacher_is_untouched_deterministic_and_outside_the_student() -> None:
    set_seed(0)
    student, teacher = BertForSequenceClassification(config()), BertForSequenceClassification(config())
    teacher.train()  # as a careless caller may leave it: dropout must be off all the same
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    student_keys = set(student.state_dict())
    kd = Distillation(teacher=teacher, ce_weight=0.5, kd_weight=0.5, temperature=2.0)
    batch = classification_batch()
    heard: list[torch.Tensor] = []
    teacher.register_forward_hook(lambda module, arguments, output: heard.append(output.logits.clone()))
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.01)
    for _ in range(3):
        student.train()
        ClassificationObjective(distillation=kd)(student, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert all(torch.equal(logits, heard[0]) for logits in heard), "dropout was active in the teacher"
    assert all(not logits.requires_grad for logits in heard)
    after = teacher.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    owned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert not any(id(parameter) in owned for parameter in teacher.parameters())
    assert set(student.state_dict()) == student_keys
