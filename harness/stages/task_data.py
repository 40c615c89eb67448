"""From a task's split on disk to the examples of a stage."""

from __future__ import annotations

from typing import Any

import datasets

from harness.data.subset import seeded_subset
from harness.stages.context import StageContext
from harness.stages.task_heads import head_of
from harness.tasks import Task


def read_split(context: StageContext, task: Task, split: str, input_name: str) -> datasets.Dataset:
    """A split's rows. Raises ValueError when they are not the ones the plan was made with."""
    return context.sources.data.rows(task, split, context.spec.inputs[input_name])


def training_examples(context: StageContext, task: Task, tokenizer: Any) -> datasets.Dataset:
    """The train split, or a seeded subset of it, as tokens. `train_examples` 0 means all."""
    parameters = context.parameters
    rows = read_split(context, task, task.train_split, "train")
    rows = seeded_subset(rows, parameters["train_examples"] or None, parameters["train_subset_seed"])
    return head_of(task).training_examples(rows, task, tokenizer, parameters, context.stops)
