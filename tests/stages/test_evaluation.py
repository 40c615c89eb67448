"""The scoring loop: every feature once, in the order asked, whatever the batches were."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import datasets
import pytest
import torch
from torch import nn

from harness.errors import Interrupted
from harness.metrics import classification_scores
from harness.progress import StageProgress, StopFlag
from harness.stages import evaluation
from harness.stages.evaluation import predict
from harness.stages.task_heads import ClassificationHead, QuestionAnsweringHead
from harness.tasks import get_task

ROWS = 130


class Echo(nn.Module):
    """Votes for the class that the first token names; counts the rows it saw."""

    def __init__(self, holds: int = 10**6) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))
        self.batches: list[int] = []
        self.holds = holds

    def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        self.batches.append(len(input_ids))
        if len(input_ids) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return {"logits": nn.functional.one_hot(input_ids[:, 0], 2).float()}


def collate(features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    width = max(f["length"] for f in features)
    return {"input_ids": torch.tensor([f["input_ids"] + [0] * (width - f["length"]) for f in features])}


def labels() -> Iterator[int]:
    return ((i * i) % 7 % 2 for i in range(ROWS))


@pytest.fixture
def features() -> datasets.Dataset:
    """Lengths from 1 to 11 in no order, so that batches by length are another order than the rows'."""
    lengths = [1 + (7 * i) % 11 for i in range(ROWS)]
    ids = [[label, *range(2, 1 + length)] for label, length in zip(labels(), lengths, strict=True)]
    return datasets.Dataset.from_dict({"input_ids": ids, "length": lengths})


def test_130_of_130_right_at_batch_128_is_1(features: datasets.Dataset) -> None:
    model = Echo()
    logits = predict(model, features, collate, batch_size=128)["logits"]
    assert model.batches == [128, 2]  # the last batch is partial, and counts
    predicted = [int(row.argmax()) for row in logits]
    scores = classification_scores(get_task("sst2"), predicted, list(labels()))
    assert (scores["accuracy"], scores["num_correct"], scores["num_examples"]) == (1.0, 130, 130)


def test_one_wrong_of_130_is_129_130ths(features: datasets.Dataset) -> None:
    predicted = [int(row.argmax()) for row in predict(Echo(), features, collate, batch_size=128)["logits"]]
    predicted[-1] = 1 - predicted[-1]
    assert classification_scores(get_task("sst2"), predicted, list(labels()))["accuracy"] == 129 / 130


def test_a_batch_the_device_cannot_hold_is_halved_and_every_row_is_still_scored_once(
    features: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClassificationHead, "evaluation_examples", lambda self, rows, *others: rows)
    monkeypatch.setattr(evaluation, "PaddingCollator", lambda tokenizer: collate)
    rows = features.add_column("label", list(labels()))
    model = Echo(holds=40)
    scored = evaluation.score(model, rows, get_task("sst2"), None, {}, 128)
    assert model.batches == [128, 64, 32, 32, 32, 32, 2]
    assert (scored.micro_batch_size, scored.oom_sizes) == (32, (128, 64))
    metrics = scored.result.metrics
    assert (metrics["num_correct"], metrics["num_examples"]) == (130, 130)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(("task", "name"), [("sst2", "logits"), ("squad", "start_logits"), ("squad", "end_logits")])
def test_a_logit_that_is_not_finite_is_no_answer(
    features: datasets.Dataset, monkeypatch: pytest.MonkeyPatch, task: str, name: str, value: float
) -> None:
    """argmax would take the row of NaN for class 0: half of a balanced task would be right."""
    head = ClassificationHead if task == "sst2" else QuestionAnsweringHead
    monkeypatch.setattr(head, "evaluation_examples", lambda self, rows, *others: rows)
    monkeypatch.setattr(evaluation, "PaddingCollator", lambda tokenizer: collate)
    logits = {each: torch.zeros(2) for each in (["logits"] if task == "sst2" else ["start_logits", "end_logits"])}
    diverged = torch.zeros(2)
    diverged[1] = value

    class Diverged(Echo):
        """Of a row with 7 tokens or more it makes nothing."""

        def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
            return {
                each: torch.stack([diverged if each == name and row.max() >= 7 else zeros for row in input_ids])
                for each, zeros in logits.items()
            }

    first = next(row for row, length in enumerate(features["length"]) if length >= 7)
    shown = "NaN" if math.isnan(value) else "infinite"
    told = f"^a logit of row {first} is {shown}: the model has diverged, or its weights are not finite\\.$"
    with pytest.raises(ValueError, match=told):
        evaluation.score(Diverged(), features, get_task(task), None, {}, 128)


def test_scoring_reports_progress_and_stops_between_two_batches_on_request(features: datasets.Dataset) -> None:
    reported: list[StageProgress] = []
    context: Any = SimpleNamespace(report=reported.append, stops=StopFlag(lambda: len(reported) == 2))
    model = Echo()
    with pytest.raises(Interrupted, match="after scoring 2 of 5 batches"):
        predict(model, features, collate, 32, evaluation.watch(context))
    assert model.batches == [32, 32]
    assert [(progress.step, progress.steps, progress.loss) for progress in reported] == [(1, 5, None), (2, 5, None)]


def test_a_stop_that_comes_with_the_last_batch_loses_nothing(features: datasets.Dataset) -> None:
    context: Any = SimpleNamespace(report=lambda progress: None, stops=StopFlag(lambda: True))
    assert len(predict(Echo(), features, collate, ROWS, evaluation.watch(context))["logits"]) == ROWS
