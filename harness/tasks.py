"""The tasks there are, and their heads: columns, labels, splits and metrics.

Five stand here, named alone in their stages' identity. All others are declared in TOML (`harness.task_files.form`):
those that are shipped, and a user's own. Nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import unknown_name
from harness.task_files.form import read_shipped
from harness.task_files.task import (
    CLASSIFICATION,
    CORPUS_SPLITS,
    DECLARATION,
    EXTRACTIVE_QA,
    HEADS,
    REGRESSION,
    SIGNED_METRICS,
    TASK,
    Task,
    TaskHead,
    declared_task,
)

__all__ = [
    "CLASSIFICATION",
    "CORPUS_SPLITS",
    "DECLARATION",
    "EXTRACTIVE_QA",
    "HEADS",
    "REGRESSION",
    "SHIPPED",
    "SIGNED_METRICS",
    "TASK",
    "TASKS",
    "Task",
    "TaskHead",
    "get_task",
    "known_task",
    "task_of",
]

SHIPPED = Path(__file__).with_name("task_files") / "shipped"


def _glue(
    name: str,
    *,
    text_columns: tuple[str, ...],
    label_names: tuple[str, ...],
    metrics: tuple[str, ...] = ("accuracy",),
    evaluation_splits: tuple[tuple[str, str], ...] | None = None,
    optional_splits: tuple[str, ...] = (),
) -> Task:
    return Task(
        name=name,
        head=CLASSIFICATION,
        text_columns=text_columns,
        label_names=label_names,
        metrics=metrics,
        evaluation_splits=evaluation_splits or (("validation", name),),
        optional_splits=optional_splits,
        hub_path="nyu-mll/glue",
        hub_name=name,
        hub_revision="bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
    )


_BUILT_IN = (
    Task(
        name="squad",
        head=EXTRACTIVE_QA,
        text_columns=("question", "context"),
        metrics=("exact_match", "f1"),
        evaluation_splits=(("validation", "squad"),),
        hub_path="rajpurkar/squad",
        hub_name="plain_text",
        hub_revision="7b6d24c440a36b6815f21b70d25016731768db1f",
    ),
    _glue(
        "mnli",
        text_columns=("premise", "hypothesis"),
        label_names=("entailment", "neutral", "contradiction"),
        evaluation_splits=(("validation_matched", "mnli"), ("validation_mismatched", "mnli-mm")),
        optional_splits=("validation_mismatched",),
    ),
    _glue(
        "qqp",
        text_columns=("question1", "question2"),
        label_names=("not_duplicate", "duplicate"),
        metrics=("accuracy", "f1"),
    ),
    _glue("qnli", text_columns=("question", "sentence"), label_names=("entailment", "not_entailment")),
    _glue("sst2", text_columns=("sentence",), label_names=("negative", "positive")),
)
TASKS: Mapping[str, Task] = {task.name: task for task in (*_BUILT_IN, *read_shipped(SHIPPED))}


def get_task(name: str) -> Task:
    """The task called `name`. Raises ValueError with the nearest known name otherwise."""
    if name not in TASKS:
        raise ValueError(unknown_name("task", name, TASKS))
    return TASKS[name]


def task_of(parameters: Mapping[str, Any]) -> Task:
    """The task of a stage with these parameters, which hold the declaration of a declared one.

    Raises ValueError for a task that is neither declared nor known, KeyError without a task.
    """
    declaration = parameters.get(DECLARATION)
    if declaration is None:
        return get_task(parameters[TASK])
    try:
        return declared_task(parameters[TASK], declaration)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"task {parameters[TASK]!r}: its declaration cannot be read ({error})") from None


def known_task(parameters: Mapping[str, Any]) -> Task | None:
    """The same; None where nobody knows the task."""
    try:
        return task_of(parameters)
    except (ValueError, KeyError, TypeError):
        return None
