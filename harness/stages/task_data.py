"""From a task's split on disk to the examples of a stage: the one place that knows classification from QA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import datasets

from harness.data.classification import encode_classification
from harness.data.question_answering import encode_evaluation, encode_training
from harness.data.subset import seeded_subset
from harness.stages.context import StageContext
from harness.tasks import Task


def read_split(context: StageContext, task: Task, split: str, input_name: str) -> datasets.Dataset:
    """A split's rows. Raises ValueError when they are not the ones the plan was made with."""
    return context.sources.data.rows(task, split, context.spec.inputs[input_name])


def training_examples(context: StageContext, task: Task, tokenizer: Any) -> datasets.Dataset:
    """The (seeded subset of the) train split as tokens; train_examples 0 means all."""
    parameters = context.parameters
    rows = read_split(context, task, task.train_split, "train")
    rows = seeded_subset(rows, parameters["train_examples"] or None, parameters["train_subset_seed"])
    if task.kind == "extractive-qa":
        return encode_training(rows, tokenizer, **window_options(parameters))
    return encode_classification(rows, task, tokenizer, max_length=parameters["max_length"])


def evaluation_examples(
    rows: datasets.Dataset, task: Task, tokenizer: Any, parameters: Mapping[str, Any]
) -> datasets.Dataset:
    if task.kind == "extractive-qa":
        return encode_evaluation(rows, tokenizer, **window_options(parameters))
    return encode_classification(rows, task, tokenizer, max_length=parameters["max_length"])


def window_options(parameters: Mapping[str, Any]) -> dict[str, int]:
    return {
        "max_length": parameters["max_length"],
        "stride": parameters["doc_stride"],
        "max_query_length": parameters["max_query_length"],
    }
