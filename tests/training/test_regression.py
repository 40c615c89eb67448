"""Regression: its loss worked by hand, what a teacher adds, and numbers that stay numbers on the way into a batch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy_training import toy_config
from transformers import BertForSequenceClassification, set_seed

from harness.compression.distillation import soft_target_loss, squared_error_loss
from harness.data.collate import PaddingCollator
from harness.training.objectives import Distillation, RegressionObjective

SCORES = [1.0, 3.0, 4.5]


class Says(nn.Module):
    """A model that gives these numbers, whatever it is asked."""

    def __init__(self, *numbers: float) -> None:
        super().__init__()
        self.numbers = nn.Parameter(torch.tensor(numbers))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        return SimpleNamespace(logits=self.numbers.unsqueeze(1))


def batch(scores: list[float]) -> dict[str, Tensor]:
    ids = torch.ones(len(scores), 2, dtype=torch.int64)
    return {"input_ids": ids, "attention_mask": ids, "scores": torch.tensor(scores)}


def taught(*numbers: float, temperature: float = 2.0) -> RegressionObjective:
    kd = Distillation(teacher=Says(*numbers), ce_weight=0.25, kd_weight=0.75, temperature=temperature)
    return RegressionObjective(distillation=kd)


def test_the_loss_is_the_mean_squared_error() -> None:
    # Off by 1, -1 and .5: (1 + 1 + .25) / 3.
    loss = RegressionObjective()(Says(2.0, 2.0, 5.0), batch(SCORES))
    assert loss.item() == pytest.approx(0.75)


def test_a_teacher_adds_the_squared_error_to_what_it_says() -> None:
    # To the data .75 as above; to the teacher's 2, 4, 4 it is off by 0, -2 and 1: 5/3. A quarter, and three.
    student = Says(2.0, 2.0, 5.0)
    loss = taught(2.0, 4.0, 4.0)(student, batch(SCORES))
    assert loss.item() == pytest.approx(0.25 * 0.75 + 0.75 * 5 / 3)
    loss.backward()
    # d/dx of a mean of squares is 2/3 of the error: of the first .25 * 1, of the second -.25 * 1 - .75 * 2, ...
    errors = [0.25 * 1 + 0.75 * 0, 0.25 * -1 + 0.75 * -2, 0.25 * 0.5 + 0.75 * 1]
    assert student.numbers.grad is not None
    assert student.numbers.grad.tolist() == pytest.approx([2 / 3 * error for error in errors])


def test_no_temperature_softens_it() -> None:
    first, second = (taught(2.0, 4.0, 4.0, temperature=t)(Says(2.0, 2.0, 5.0), batch(SCORES)) for t in (1.0, 5.0))
    assert first.item() == second.item()


def test_micro_batches_add_up() -> None:
    whole = batch(SCORES)
    objective, both = taught(2.0, 2.0, 2.0), taught(2.0, 2.0)
    last = {name: tensor[2:] for name, tensor in whole.items()}
    one = taught(2.0)(Says(5.0), last, whole)
    rest = both(Says(2.0, 2.0), {name: tensor[:2] for name, tensor in whole.items()}, whole)
    assert (one + rest).item() == pytest.approx(objective(Says(2.0, 2.0, 5.0), whole).item())


def test_it_is_the_librarys_own_loss_of_a_regression() -> None:
    set_seed(0)
    model = BertForSequenceClassification(toy_config(num_labels=1, problem_type="regression")).eval()
    inputs = batch(SCORES)
    library = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], labels=inputs["scores"])
    assert RegressionObjective()(model, inputs).item() == pytest.approx(library.loss.item(), rel=1e-6)


def test_the_squared_error_is_numpys_in_64_bits() -> None:
    one, other = (np.random.default_rng(seed).normal(size=(50, 1)) for seed in (1, 2))
    found = squared_error_loss(torch.tensor(one), torch.tensor(other))
    assert found.item() == pytest.approx(float(np.mean((one - other) ** 2)), rel=1e-12)
    assert squared_error_loss(torch.tensor(one), torch.tensor(one)).item() == 0
    low = squared_error_loss(torch.tensor(one).bfloat16(), torch.tensor(other).bfloat16())
    assert low.dtype == torch.float32
    # The divergence of one output's softmax says nothing: why another loss takes its place.
    assert soft_target_loss(torch.tensor(one), torch.tensor(other), temperature=2.0).item() == 0


@pytest.mark.parametrize(
    ("student", "teacher", "told"),
    [
        ((3, 2), (3, 2), "one number a row"),
        ((3,), (3,), "one number a row"),
        ((3, 1), (3,), "equal shapes"),
        ((0, 1),) * 2 + ("no rows",),
    ],
)
def test_other_shapes_are_refused(student: tuple[int, ...], teacher: tuple[int, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        squared_error_loss(torch.zeros(student), torch.zeros(teacher))


def test_a_batch_keeps_scores_as_numbers() -> None:
    tokenizer: Any = SimpleNamespace(padding_side="right", pad_token_id=0, pad_token_type_id=0)
    features = [{"input_ids": [1, 2], "scores": 3.8}, {"input_ids": [1], "scores": 0.25}]
    found = PaddingCollator(tokenizer)(features)
    assert found["scores"].dtype == torch.float32
    assert found["scores"].tolist() == pytest.approx([3.8, 0.25])
    assert found["input_ids"].dtype == torch.int64
