"""The five benchmark tasks and their two heads: columns, labels, splits and metrics.

Declarations only, because planning needs no more: what a head computes is in `harness.stages.task_heads`. Nothing heavy
is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import unknown_name
from harness.identity import require_commit

CORPUS_SPLITS = ("train", "validation")  # of the pre-training corpus


@dataclass(frozen=True, kw_only=True)
class TaskHead:
    """What planning and tables need to know of the head that a task puts on the encoder.

    name: its key in `harness.stages.task_heads`.
    id_columns, target_columns: columns of a split before and after the task's text columns.
    settings: names of the data settings (task.TASK.NAME in a recipe) that only tasks with this head have.
    metrics_in_percent: whether its metrics are percentages in [0, 100]; else they are fractions in [0, 1].
    """

    name: str
    id_columns: tuple[str, ...] = ()
    target_columns: tuple[str, ...]
    settings: tuple[str, ...] = ()
    metrics_in_percent: bool = False


CLASSIFICATION = TaskHead(name="classification", target_columns=("label",))
EXTRACTIVE_QA = TaskHead(
    name="extractive-qa",
    id_columns=("id",),
    target_columns=("answers",),
    settings=("doc_stride", "max_query_length", "n_best", "max_answer_length"),
    metrics_in_percent=True,
)
HEADS = (CLASSIFICATION, EXTRACTIVE_QA)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One benchmark task in the hub's schema.

    label_names: names of classes 0, 1, .. in the order of the `label` column; empty for extractive QA.
    metrics: names of the reported values, as the functions of `harness.metrics` return them.
    evaluation_splits: (split, reported name); the splits named in `optional_splits` may be absent from a folder.
    hub_path, hub_name, hub_revision: data set, configuration and pinned commit on the hub; ValueError if it is none.
    """

    name: str
    head: TaskHead
    text_columns: tuple[str, ...]
    label_names: tuple[str, ...] = ()
    metrics: tuple[str, ...]
    train_split: str = "train"
    evaluation_splits: tuple[tuple[str, str], ...]
    optional_splits: tuple[str, ...] = ()
    hub_path: str
    hub_name: str
    hub_revision: str

    def __post_init__(self) -> None:
        require_commit(f"task {self.name!r} ({self.hub_path})", self.hub_revision)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns a split must have; others are ignored."""
        return (*self.head.id_columns, *self.text_columns, *self.head.target_columns)

    def has_setting(self, name: str) -> bool:
        """Whether the data setting `name` belongs to this task; one that no head claims belongs to all."""
        return name in self.head.settings or not any(name in head.settings for head in HEADS)

    @property
    def num_labels(self) -> int:
        """Number of classes; 0 for extractive QA."""
        return len(self.label_names)

    @property
    def splits(self) -> tuple[str, ...]:
        """Every split the task can have, the train split first."""
        return (self.train_split, *(split for split, _ in self.evaluation_splits))


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


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
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
}


def get_task(name: str) -> Task:
    """The task called `name`. Raises ValueError with the nearest known name otherwise."""
    if name not in TASKS:
        raise ValueError(unknown_name("task", name, TASKS))
    return TASKS[name]
