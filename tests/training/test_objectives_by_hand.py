"""Objectives with numbers worked by hand: which logits go where, with which weight.

Models answer with given logits. At T = 2 a student of zeros costs .5232481 nats against a teacher of [2 ln 3, 0]:
softmax([ln 3, 0]) = [3/4, 1/4], KL = 3/4 ln(3/2) + 1/4 ln(1/2) = .1308120, times T^2 = 4 (oracle O17).
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_training import toy_config
from transformers import BertForPreTraining, DistilBertConfig, DistilBertForSequenceClassification, set_seed

from harness.stages.task_heads import head_of
from harness.tasks import TASKS
from harness.training.model_inputs import inputs_for
from harness.training.objectives import (
    ClassificationObjective,
    Distillation,
    Inputs,
    PretrainingObjective,
    QuestionAnsweringObjective,
)

CE, KD, TEMPERATURE = 0.25, 0.75, 2.0  # unequal, so that an exchange shows
A = 2 * math.log(3)
LN2 = math.log(2)


class Answers(nn.Module):
    """A model that gives these logits, whatever it is asked; notes what it was handed."""

    def __init__(self, **logits: Any) -> None:
        super().__init__()
        self.logits = nn.ParameterDict({name: nn.Parameter(torch.tensor(rows)) for name, rows in logits.items()})
        self.heard: list[dict[str, Tensor]] = []

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Any:
        self.heard.append({"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids})  # type: ignore[dict-item]
        return SimpleNamespace(**{name: self.logits[name] for name in self.logits})


def taught_by(teacher: nn.Module) -> Distillation:
    return Distillation(teacher=teacher, ce_weight=CE, kd_weight=KD, temperature=TEMPERATURE)


def batch(rows: int, length: int, **targets: list[int]) -> dict[str, Tensor]:
    ids = torch.arange(5, 5 + rows * length).reshape(rows, length)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": ids % 2,
        **{name: torch.tensor(values) for name, values in targets.items()},
    }


@pytest.mark.oracle("O17")
def test_classification_is_a_quarter_hard_and_three_quarters_soft() -> None:
    """CE: ln 2 for each of two rows of zeros. KD: (.5232481 + 0) / 2 = .2616241. dKD/dz of row 1: [-.25, .25]."""
    student = Answers(logits=[[0.0, 0.0], [0.0, 0.0]])
    teacher = Answers(logits=[[A, 0.0], [0.0, 0.0]])
    loss = ClassificationObjective(distillation=taught_by(teacher))(student, batch(2, 3, labels=[0, 0]))
    assert loss.item() == pytest.approx(CE * LN2 + KD * 0.2616241, rel=1e-6)
    loss.backward()
    # dCE/dz = (p - y) / 2 rows = [-.25, .25] in both rows.
    expected = torch.tensor([[-CE / 4 - KD / 4, CE / 4 + KD / 4], [-CE / 4, CE / 4]])
    torch.testing.assert_close(student.logits["logits"].grad, expected)
    assert teacher.logits["logits"].grad is None


def test_an_answers_start_and_end_are_each_taught_by_their_own() -> None:
    """Start: student [0, 0], teacher [2 ln 3, 0] -> .5232481. End: student and teacher [0, 2 ln 3] -> 0; mean .2616241.

    CE: start at 0 of [0, 0] -> ln 2; end at 1 of [0, 2 ln 3] -> -ln .9. The third position is padding, whatever its
    logits. With the teacher's start and end exchanged, KD would be (.5232481 + 4 * 1/2 ln 3) / 2.
    """
    student = Answers(start_logits=[[0.0, 0.0, 7.0]], end_logits=[[0.0, A, 7.0]])
    teacher = Answers(start_logits=[[A, 0.0, -3.0]], end_logits=[[0.0, A, 9.0]])
    inputs = batch(1, 3, start_positions=[0], end_positions=[1])
    inputs["attention_mask"] = torch.tensor([[1, 1, 0]])
    hard = (LN2 - math.log(0.9)) / 2
    plain = QuestionAnsweringObjective()(student, inputs)
    assert plain.item() == pytest.approx(hard, rel=1e-6)
    taught = QuestionAnsweringObjective(distillation=taught_by(teacher))(student, inputs)
    assert taught.item() == pytest.approx(CE * hard + KD * 0.2616241, rel=1e-6)
    assert len(teacher.heard) == 1


@pytest.mark.parametrize("task", TASKS)
def test_the_objective_of_every_task_keeps_its_teacher(task: str) -> None:
    kd = taught_by(Answers(logits=[[0.0]]))
    objective: Any = head_of(TASKS[task]).objective(kd)
    assert objective.distillation is kd
    alone: Any = head_of(TASKS[task]).objective(None)
    assert alone.distillation is None


def toy_pretraining(seed: int) -> BertForPreTraining:
    set_seed(seed)
    config = toy_config(
        vocab_size=11,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.8,  # so that student and teacher disagree
    )
    model = BertForPreTraining(config).double().eval()
    with torch.no_grad():
        model.cls.seq_relationship.weight.mul_(10)
    return model


def softmax(logits: list[float], temperature: float) -> list[float]:
    exponents = [math.exp(z / temperature) for z in logits]
    return [e / sum(exponents) for e in exponents]


def divergence(student: list[float], teacher: list[float]) -> float:
    """T^2 KL(teacher || student), written out."""
    p, q = softmax(teacher, TEMPERATURE), softmax(student, TEMPERATURE)
    return TEMPERATURE**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def pretraining_batch() -> dict[str, Tensor]:
    inputs = batch(2, 4, next_sentence_label=[0, 1])
    inputs["input_ids"] = torch.tensor([[2, 6, 7, 3], [2, 8, 3, 0]])
    inputs["attention_mask"] = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    inputs["labels"] = torch.tensor([[-100, 5, -100, -100], [-100, 9, -100, -100]])
    return inputs


@pytest.mark.oracle("O18")
def test_pre_training_takes_every_live_token_as_soft_target_and_the_masked_ones_alone_as_hard_ones() -> None:
    """Seven live tokens of eight, two of them masked, in loops over Python floats: nothing of the harness is asked."""
    student, teacher, inputs = toy_pretraining(0), toy_pretraining(1), pretraining_batch()
    loss = PretrainingObjective(distillation=taught_by(teacher))(student, inputs).item()
    plain = PretrainingObjective()(student, inputs).item()

    given = {name: inputs[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.no_grad():
        ours, taught = student(**given), teacher(**given)
    tokens, taught_tokens = ours.prediction_logits.tolist(), taught.prediction_logits.tolist()
    pairs, taught_pairs = ours.seq_relationship_logits.tolist(), taught.seq_relationship_logits.tolist()
    live = [(row, place) for row, length in ((0, 4), (1, 3)) for place in range(length)]
    soft_tokens = sum(divergence(tokens[r][i], taught_tokens[r][i]) for r, i in live) / 7
    soft_pairs = sum(divergence(pairs[r], taught_pairs[r]) for r in (0, 1)) / 2
    hard_tokens = -(math.log(softmax(tokens[0][1], 1)[5]) + math.log(softmax(tokens[1][1], 1)[9])) / 2
    hard_pairs = -(math.log(softmax(pairs[0], 1)[0]) + math.log(softmax(pairs[1], 1)[1])) / 2
    assert plain == pytest.approx(hard_tokens + hard_pairs, rel=1e-9)
    assert loss == pytest.approx(CE * (hard_tokens + hard_pairs) + KD * (soft_tokens + soft_pairs), rel=1e-6)
    # Far enough apart for an exchange of hard and soft, or of student and teacher, to show.
    assert abs(soft_tokens - hard_tokens) > 0.1
    assert abs(soft_pairs - hard_pairs) > 0.1
    assert abs(divergence(pairs[0], taught_pairs[0]) - divergence(taught_pairs[0], pairs[0])) > 0.01
    assert abs(divergence(tokens[0][0], taught_tokens[0][0]) - divergence(taught_tokens[0][0], tokens[0][0])) > 0.01


def with_another_state(model: BertForPreTraining, place: int) -> BertForPreTraining:
    """The model with other hidden states, and so other logits, at one place of every row."""

    def change(module: nn.Module, given: Any, output: Any) -> Any:
        output.last_hidden_state[:, place] += 1.0 + torch.arange(output.last_hidden_state.shape[-1])
        return output

    model.bert.encoder.register_forward_hook(change)
    return model


@pytest.mark.oracle("O18")
def test_soft_targets_are_divided_by_the_live_tokens_of_which_padding_is_none() -> None:
    """B = 1, L = 4, attention 1, 1, 1, 0, one label, T = 2: through the objective that the stages use."""
    inputs = batch(1, 4, next_sentence_label=[0])
    inputs["input_ids"] = torch.tensor([[2, 6, 7, 0]])
    inputs["attention_mask"] = torch.tensor([[1, 1, 1, 0]])
    inputs["labels"] = torch.tensor([[-100, 5, -100, -100]])
    only_soft: dict[str, Any] = {"ce_weight": 0.0, "kd_weight": 1.0, "temperature": TEMPERATURE}

    def loss(student: nn.Module, teacher: nn.Module) -> float:
        return PretrainingObjective(distillation=Distillation(teacher=teacher, **only_soft))(student, inputs).item()

    given = {name: inputs[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.no_grad():
        ours, taught = toy_pretraining(0)(**given), toy_pretraining(1)(**given)
    pairs = divergence(ours.seq_relationship_logits[0].tolist(), taught.seq_relationship_logits[0].tolist())
    tokens = [
        divergence(ours.prediction_logits[0, i].tolist(), taught.prediction_logits[0, i].tolist()) for i in range(4)
    ]
    found = loss(toy_pretraining(0), toy_pretraining(1))
    assert found == pytest.approx(sum(tokens[:3]) / 3 + pairs, rel=1e-6)
    assert min(tokens) > 0.01
    # Other logits of padding change nothing, of either model; those of a live token without a label do.
    assert loss(with_another_state(toy_pretraining(0), 3), toy_pretraining(1)) == found
    assert loss(toy_pretraining(0), with_another_state(toy_pretraining(1), 3)) == found
    for place in (0, 1, 2):
        assert abs(loss(with_another_state(toy_pretraining(0), place), toy_pretraining(1)) - found) > 1e-3
        assert abs(loss(toy_pretraining(0), with_another_state(toy_pretraining(1), place)) - found) > 1e-3


def test_student_and_teacher_get_all_that_they_name_and_no_label() -> None:
    """A student without token types leaves its teacher's in place: MCRP pull request 13 lost them."""
    set_seed(0)
    config = DistilBertConfig(vocab_size=40, dim=8, n_layers=1, n_heads=2, hidden_dim=8, max_position_embeddings=8)
    student = DistilBertForSequenceClassification(config)
    teacher = Answers(logits=[[0.0, 1.0], [1.0, 0.0]])
    inputs: Inputs = batch(2, 3, labels=[0, 1])
    ClassificationObjective(distillation=taught_by(teacher))(student, inputs)
    (heard,) = teacher.heard
    assert torch.equal(heard["token_type_ids"], inputs["token_type_ids"])
    assert torch.equal(heard["input_ids"], inputs["input_ids"])
    assert sorted(inputs_for(student, inputs)) == ["attention_mask", "input_ids"]
    assert sorted(inputs_for(teacher, inputs)) == ["attention_mask", "input_ids", "token_type_ids"]


def test_a_pre_training_model_reads_the_token_types() -> None:
    model, inputs = toy_pretraining(0), pretraining_batch()
    others = {**inputs, "token_type_ids": 1 - inputs["token_type_ids"]}
    assert PretrainingObjective()(model, inputs).item() != pytest.approx(PretrainingObjective()(model, others).item())
