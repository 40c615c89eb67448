"""The FLOPs of a training step: by hand, and by another road, torch's own counter of what a real step runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from flops import counted_by_torch
from transformers import (
    BertConfig,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForSequenceClassification,
)

from benchmarks.matrix_product import MatrixProduct, total_flops, with_backward
from benchmarks.step_products import Rows, forward_products, step_products
from harness.compression.sparsify import attach_masks
from harness.inputs.families import BERT
from harness.training.modifiers import Matrices
from harness.training.objectives import (
    ClassificationObjective,
    Distillation,
    PretrainingObjective,
    QuestionAnsweringObjective,
)

VOCABULARY = 300  # above 2 * ROWS_PER_CHUNK, as far as rows go
EXAMPLES, LENGTH = 20, 16


def bert(kind: Any, layers: int = 2) -> Any:
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=12,
        num_hidden_layers=layers,
        num_attention_heads=3,
        intermediate_size=20,
        max_position_embeddings=32,
    )
    config._attn_implementation = "eager"  # whose products the counter sees one by one
    return kind(config)


def distilbert(kind: Any) -> Any:
    config = DistilBertConfig(
        vocab_size=VOCABULARY, dim=12, n_layers=3, n_heads=2, hidden_dim=20, max_position_embeddings=32
    )
    config._attn_implementation = "eager"
    return kind(config)


def batch(**more: torch.Tensor) -> dict[str, torch.Tensor]:
    """Lengths 5 to 16, so that there is padding."""
    lengths = torch.arange(EXAMPLES) % 12 + 5
    mask = (torch.arange(LENGTH)[None] < lengths[:, None]).long()
    ids = torch.arange(EXAMPLES * LENGTH).reshape(EXAMPLES, LENGTH) % VOCABULARY * mask
    return {"input_ids": ids, "token_type_ids": torch.zeros_like(ids), "attention_mask": mask, **more}


def pretraining_batch(kd_share: float) -> dict[str, torch.Tensor]:
    inputs = batch(next_sentence_label=torch.arange(EXAMPLES) % 2)
    live = inputs["attention_mask"] == 1
    place = torch.arange(EXAMPLES * LENGTH).reshape(EXAMPLES, LENGTH)
    inputs["labels"] = torch.where(live & (place % 7 == 0), inputs["input_ids"], -100)
    if kd_share < 1:
        inputs["kd_weights"] = (live & (place % round(1 / kd_share) == 0)).float()
    return inputs


def counted_by_us(objective: Any, model: Any, inputs: dict[str, torch.Tensor]) -> int:
    teacher = None if objective.distillation is None else objective.distillation.teacher
    rows = Rows.of_student(inputs, distilled=teacher is not None)
    return total_flops(step_products(model, rows, teacher, Rows.of_teacher(inputs)))


def distillation(teacher: Any) -> Distillation:
    return Distillation(teacher=teacher, ce_weight=0.5, kd_weight=0.5, temperature=2.0)


CLASSES = {"labels": torch.arange(EXAMPLES) % 2}
POSITIONS = {"start_positions": torch.zeros(EXAMPLES).long(), "end_positions": torch.ones(EXAMPLES).long()}
STEPS = {
    "teacher preparation": lambda: (PretrainingObjective(), bert(BertForPreTraining), pretraining_batch(1)),
    "student pruning": lambda: (
        PretrainingObjective(distillation=distillation(bert(BertForPreTraining, layers=3))),
        bert(BertForPreTraining),
        pretraining_batch(1),
    ),
    "student pruning, a quarter distilled": lambda: (
        PretrainingObjective(distillation=distillation(bert(BertForPreTraining, layers=3))),
        bert(BertForPreTraining),
        pretraining_batch(0.25),
    ),
    "student pruning of a DistilBERT": lambda: (
        PretrainingObjective(distillation=distillation(distilbert(DistilBertForMaskedLM))),
        distilbert(DistilBertForMaskedLM),
        pretraining_batch(1),
    ),
    "classification": lambda: (ClassificationObjective(), bert(BertForSequenceClassification), batch(**CLASSES)),
    "classification, distilled": lambda: (
        ClassificationObjective(distillation=distillation(bert(BertForSequenceClassification, layers=4))),
        distilbert(DistilBertForSequenceClassification),
        batch(**CLASSES),
    ),
    "question answering": lambda: (
        QuestionAnsweringObjective(),
        bert(BertForQuestionAnswering),
        batch(**POSITIONS),
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_the_count_is_what_a_real_step_multiplies(name: str) -> None:
    objective, model, inputs = STEPS[name]()
    assert counted_by_us(objective, model, inputs) == counted_by_torch(objective, model, inputs)


def test_masks_and_their_linears_count_like_plain_ones() -> None:
    model, inputs = bert(BertForSequenceClassification), batch(**CLASSES)
    plain = counted_by_us(ClassificationObjective(), model, inputs)
    attach_masks(model, list(Matrices.of(model, BERT).encoder))
    assert counted_by_us(ClassificationObjective(), model, inputs) == plain


def test_a_layer_and_a_head_by_hand() -> None:
    """One layer, 20 x 16 tokens, width 12, feed-forward 20, 3 heads of 4; a pooler and two classes."""
    products = forward_products(
        bert(BertForSequenceClassification, layers=1), Rows.of_student(batch(), distilled=False)
    )
    tokens = 20 * 16
    linears = 2 * tokens * (4 * 12 * 12 + 2 * 12 * 20)
    attention = 2 * 2 * 20 * 3 * (16 * 16 * 4)
    heads = 2 * 20 * (12 * 12 + 12 * 2)
    assert total_flops(products) == linears + attention + heads
    assert total_flops(with_backward(products)) == 3 * (linears + attention + heads)


def test_the_vocabulary_head_is_counted_on_the_rows_it_runs_on() -> None:
    inputs = pretraining_batch(0.25)
    live, masked = inputs["attention_mask"] == 1, inputs["labels"] != -100
    distilled = inputs["kd_weights"] > 0
    student, teacher = Rows.of_student(inputs, distilled=True), Rows.of_teacher(inputs)
    assert (student.live, student.examples * student.length) == (int(live.sum()), 320)
    assert (student.head, teacher.head) == (int((masked | distilled).sum()), int(distilled.sum()))
    assert Rows.of_student(inputs, distilled=False).head_chunks() == [int(masked.sum())]
    all_live = Rows.of_student({**pretraining_batch(1)}, distilled=True)
    assert all_live.head == 194  # 5 to 16 is 126, and 5 to 12 again is 68
    assert all_live.head_chunks() == [128, 66]


@pytest.mark.parametrize(
    ("product", "left", "right"),
    [
        ("NT", ("NN", 5, 7, 3), ("TN", 7, 5, 3)),  # [5, 3] @ [7, 3].T: dA = dC @ B, dB = dC.T @ A
        ("NN", ("NT", 5, 7, 3), ("TN", 3, 5, 7)),  # [5, 3] @ [3, 7]: dA = dC @ B.T, dB = A.T @ dC
    ],
)
def test_gradients_are_two_products_of_the_same_size(product: Any, left: Any, right: Any) -> None:
    def made(layout: Any, rows: int, inner: int, columns: int) -> MatrixProduct:
        return MatrixProduct(rows=rows, inner=inner, columns=columns, layout=layout)

    forward = made(product, 5, 3, 7)
    assert forward.backward() == (made(*left), made(*right))
    assert {each.flops for each in (forward, *forward.backward())} == {2 * 5 * 3 * 7}


def test_a_linear_nobody_knows_is_refused() -> None:
    model = bert(BertForSequenceClassification)
    model.adapter = torch.nn.Linear(12, 12)
    with pytest.raises(ValueError, match="Linear 'adapter': not known how many rows it multiplies"):
        forward_products(model, Rows.of_student(batch(), distilled=False))
