"""The one metric by which a task counts in an average over tasks, so that a task with two does not count twice."""

from __future__ import annotations

# As the tasks are usually ranked: SQuAD by F1, QQP by accuracy, MNLI by its matched split.
PRIMARY_METRICS = {"squad": "f1", "mnli": "accuracy", "sst2": "accuracy", "qnli": "accuracy", "qqp": "accuracy"}


def is_primary(task: str, metric: str) -> bool:
    """task: as reported; "mnli-mm", the mismatched split, is none of its own."""
    return PRIMARY_METRICS.get(task) == metric
