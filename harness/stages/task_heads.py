"""What each task head computes: its model, its examples, its loss and its scores. Declared in `harness.tasks`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import datasets
import numpy as np
import transformers

from harness.data.classification import encode_texts
from harness.data.question_answering import encode_evaluation, encode_training, predictions_from_logits
from harness.metrics import (
    classification_scores,
    question_answering_scores,
    question_scores,
    regression_scores,
    undefined_correlations,
)
from harness.progress import NEVER, StopFlag
from harness.stages.predictions import Scored, answer_predictions, class_predictions, number_predictions
from harness.tasks import CLASSIFICATION, EXTRACTIVE_QA, REGRESSION, Task
from harness.training.objectives import (
    ClassificationObjective,
    Distillation,
    Objective,
    QuestionAnsweringObjective,
    RegressionObjective,
)

Parameters = Mapping[str, Any]


class HeadFunctions(Protocol):
    """All that differs between task heads.

    rows: a split as it is read. parameters: of the stage, with the task's data settings. stops: may end it.
    """

    def model_class(self) -> Any:
        """The library's Auto class that puts the head on an encoder."""

    def model_options(self, task: Task) -> dict[str, Any]:
        """Options of its `from_pretrained`."""

    def training_examples(
        self, rows: datasets.Dataset, task: Task, tokenizer: Any, parameters: Parameters, stops: StopFlag = NEVER
    ) -> datasets.Dataset:
        """Token ids and targets to train on, with a column `length` (tokens)."""

    def evaluation_examples(
        self, rows: datasets.Dataset, task: Task, tokenizer: Any, parameters: Parameters, stops: StopFlag = NEVER
    ) -> datasets.Dataset:
        """Token ids to score, with a column `length` (tokens)."""

    def objective(self, distillation: Distillation | None) -> Objective:
        """The loss, mixed with a teacher's soft targets where there is one."""

    def scores(
        self,
        rows: datasets.Dataset,
        examples: datasets.Dataset,
        outputs: Mapping[str, list[np.ndarray]],
        task: Task,
        parameters: Parameters,
        stops: StopFlag = NEVER,
    ) -> Scored:
        """The metrics and predictions of a split. outputs: the model's logits by name, a row per example."""


class _HeadOnTexts:
    """What is the same of every head on a text or a pair of texts."""

    def model_class(self) -> Any:
        return transformers.AutoModelForSequenceClassification

    def training_examples(
        self, rows: datasets.Dataset, task: Task, tokenizer: Any, parameters: Parameters, stops: StopFlag = NEVER
    ) -> datasets.Dataset:
        return encode_texts(rows, task, tokenizer, max_length=parameters["max_length"], stops=stops)

    def evaluation_examples(
        self, rows: datasets.Dataset, task: Task, tokenizer: Any, parameters: Parameters, stops: StopFlag = NEVER
    ) -> datasets.Dataset:
        return encode_texts(rows, task, tokenizer, max_length=parameters["max_length"], stops=stops)


class ClassificationHead(_HeadOnTexts):
    """One label a text or a pair of texts."""

    def model_options(self, task: Task) -> dict[str, Any]:
        return {
            "num_labels": task.num_labels,
            "id2label": dict(enumerate(task.label_names)),
            "label2id": {name: i for i, name in enumerate(task.label_names)},
        }

    def objective(self, distillation: Distillation | None) -> Objective:
        return ClassificationObjective(distillation=distillation)

    def scores(
        self,
        rows: datasets.Dataset,
        examples: datasets.Dataset,
        outputs: Mapping[str, list[np.ndarray]],
        task: Task,
        parameters: Parameters,
        stops: StopFlag = NEVER,
    ) -> Scored:
        predicted = [int(np.argmax(row)) for row in outputs["logits"]]
        labels = rows["label"][:]
        metrics = classification_scores(task, predicted, labels)
        return Scored(metrics, class_predictions(labels, predicted), undefined_correlations(task, metrics))


class RegressionHead(_HeadOnTexts):
    """One number a text or a pair of texts."""

    def model_options(self, task: Task) -> dict[str, Any]:
        return {"num_labels": task.num_labels, "problem_type": "regression"}

    def objective(self, distillation: Distillation | None) -> Objective:
        return RegressionObjective(distillation=distillation)

    def scores(
        self,
        rows: datasets.Dataset,
        examples: datasets.Dataset,
        outputs: Mapping[str, list[np.ndarray]],
        task: Task,
        parameters: Parameters,
        stops: StopFlag = NEVER,
    ) -> Scored:
        predicted = [float(row[0]) for row in outputs["logits"]]
        targets = [float(target) for target in rows["score"][:]]
        metrics = regression_scores(task, predicted, targets)
        return Scored(metrics, number_predictions(targets, predicted), undefined_correlations(task, metrics))


class QuestionAnsweringHead:
    """The start and the end of an answer in a window of the context."""

    def model_class(self) -> Any:
        return transformers.AutoModelForQuestionAnswering

    def model_options(self, task: Task) -> dict[str, Any]:
        return {}

    def training_examples(
        self, rows: datasets.Dataset, task: Task, tokenizer: Any, parameters: Parameters, stops: StopFlag = NEVER
    ) -> datasets.Dataset:
        return encode_training(rows, tokenizer, **_window_options(parameters), stops=stops)

    def evaluation_examples(
        self, rows: datasets.Dataset, task: Task, tokenizer: Any, parameters: Parameters, stops: StopFlag = NEVER
    ) -> datasets.Dataset:
        return encode_evaluation(rows, tokenizer, **_window_options(parameters), stops=stops)

    def objective(self, distillation: Distillation | None) -> Objective:
        return QuestionAnsweringObjective(distillation=distillation)

    def scores(
        self,
        rows: datasets.Dataset,
        examples: datasets.Dataset,
        outputs: Mapping[str, list[np.ndarray]],
        task: Task,
        parameters: Parameters,
        stops: StopFlag = NEVER,
    ) -> Scored:
        answers = predictions_from_logits(
            rows,
            examples,
            outputs["start_logits"],
            outputs["end_logits"],
            n_best=parameters["n_best"],
            max_answer_length=parameters["max_answer_length"],
            stops=stops,
        )
        metrics = question_answering_scores(task, answers, rows)
        return Scored(metrics, answer_predictions(question_scores(answers, rows), answers))


def _window_options(parameters: Parameters) -> dict[str, int]:
    return {
        "max_length": parameters["max_length"],
        "stride": parameters["doc_stride"],
        "max_query_length": parameters["max_query_length"],
    }


HEAD_FUNCTIONS: Mapping[str, HeadFunctions] = {
    CLASSIFICATION.name: ClassificationHead(),
    REGRESSION.name: RegressionHead(),
    EXTRACTIVE_QA.name: QuestionAnsweringHead(),
}


def head_of(task: Task) -> HeadFunctions:
    return HEAD_FUNCTIONS[task.head.name]
