"""Task: a benchmark's data, head and metrics; and the heads there are.

Declarations only, because planning needs no more: what a head computes is in `harness.stages.task_heads`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from harness.identity import canonical_json, require_commit

CORPUS_SPLITS = ("train", "validation")  # of the pre-training corpus
# Parameters of a stage on a task: its name, and the whole declaration of one that is declared in a file.
TASK, DECLARATION = "task", "task_declaration"
SIGNED_METRICS = frozenset(("matthews", "pearson", "spearman"))  # correlations, in [-1, 1]


@dataclass(frozen=True, kw_only=True)
class TaskHead:
    """What planning and tables need to know of the head that a task puts on the encoder.

    name: its key in `harness.stages.task_heads`.
    id_columns, target_columns: columns of a split before and after the task's text columns.
    metrics: those that its tasks may be scored by.
    num_outputs: of the model; None: one for each label.
    settings: names of the data settings (task.TASK.NAME in a recipe) that only tasks with this head have.
    without: parameters of a stage that mean nothing with it.
    metrics_in_percent: whether its metrics are percentages in [0, 100]; else they are fractions in [0, 1], or in
        [-1, 1] for `SIGNED_METRICS`.
    """

    name: str
    id_columns: tuple[str, ...] = ()
    target_columns: tuple[str, ...]
    metrics: tuple[str, ...]
    num_outputs: int | None = None
    settings: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    metrics_in_percent: bool = False


CLASSIFICATION = TaskHead(name="classification", target_columns=("label",), metrics=("accuracy", "f1", "matthews"))
# One number, trained by its squared error; from a teacher too, where a temperature has nothing to soften.
REGRESSION = TaskHead(
    name="regression",
    target_columns=("score",),
    metrics=("pearson", "spearman"),
    num_outputs=1,
    without=("temperature",),
)
EXTRACTIVE_QA = TaskHead(
    name="extractive-qa",
    id_columns=("id",),
    target_columns=("answers",),
    metrics=("exact_match", "f1"),
    num_outputs=0,
    settings=("doc_stride", "max_query_length", "n_best", "max_answer_length"),
    metrics_in_percent=True,
)
HEADS = (CLASSIFICATION, REGRESSION, EXTRACTIVE_QA)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One benchmark task.

    text_columns: the one or two texts; of extractive QA question and context.
    column_names: (name, column of the data) where the data call a column otherwise than the harness does.
    label_names: names of classes 0, 1, ..; empty for other heads.
    metrics: names of the reported values, as the functions of `harness.metrics` return them.
    evaluation_splits: (split, reported name); the splits named in `optional_splits` may be absent from a folder.
    hub_path, hub_name, hub_revision: data set, configuration and pinned commit on the hub, empty where there is none;
    ValueError for a revision that is no commit.
    is_declared: whether a file declares it; then the declaration is a part of its stages' identity.
    settings: data settings where a recipe gives none, each (name, value).
    """

    name: str
    head: TaskHead
    text_columns: tuple[str, ...]
    column_names: tuple[tuple[str, str], ...] = ()
    label_names: tuple[str, ...] = ()
    metrics: tuple[str, ...]
    train_split: str = "train"
    evaluation_splits: tuple[tuple[str, str], ...]
    optional_splits: tuple[str, ...] = ()
    hub_path: str = ""
    hub_name: str = ""
    hub_revision: str = ""
    is_declared: bool = False
    settings: tuple[tuple[str, int], ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if self.is_on_hub:
            require_commit(f"task {self.name!r} ({self.hub_path})", self.hub_revision)

    @property
    def columns(self) -> dict[str, str]:
        """Columns a split must have, each with its name in the data; others are ignored."""
        names = (*self.head.id_columns, *self.text_columns, *self.head.target_columns)
        return {name: name for name in names} | dict(self.column_names)

    def has_setting(self, name: str) -> bool:
        """Whether the data setting `name` belongs to this task; one that no head claims belongs to all."""
        return name in self.head.settings or not any(name in head.settings for head in HEADS)

    @property
    def num_labels(self) -> int:
        """Number of classes, or of outputs for each example: 1 of a regression, 0 for extractive QA."""
        return len(self.label_names) if self.head.num_outputs is None else self.head.num_outputs

    @property
    def splits(self) -> tuple[str, ...]:
        """Every split the task can have, the train split first."""
        return (self.train_split, *(split for split, _ in self.evaluation_splits))

    @property
    def is_on_hub(self) -> bool:
        return bool(self.hub_path)

    @property
    def parameters(self) -> dict[str, str]:
        """What names it among the parameters of a stage; read back by `harness.tasks.task_of`."""
        return {TASK: self.name, **({DECLARATION: self._declaration()} if self.is_declared else {})}

    def _declaration(self) -> str:
        fields = {name: getattr(self, name) for name in _DECLARED}
        return canonical_json({"kind": self.head.name, **{name: value for name, value in fields.items() if value}})


# All of a declaration that can change a number, beside name and head. The data's content has an id of its own.
_DECLARED = (
    "text_columns",
    "column_names",
    "label_names",
    "metrics",
    "train_split",
    "evaluation_splits",
    "optional_splits",
    "hub_path",
    "hub_name",
    "hub_revision",
)


@cache
def declared_task(name: str, declaration: str) -> Task:
    """The task of which `Task.parameters` gave the declaration. Raises ValueError, KeyError or TypeError for another
    text."""
    fields: Mapping[str, Any] = json.loads(declaration)
    heads = {head.name: head for head in HEADS}
    given = {key: _frozen(value) for key, value in fields.items() if key != "kind"}
    return Task(name=name, head=heads[fields["kind"]], is_declared=True, **given)


def _frozen(value: Any) -> Any:
    """Lists as tuples."""
    return tuple(_frozen(each) for each in value) if isinstance(value, list) else value
