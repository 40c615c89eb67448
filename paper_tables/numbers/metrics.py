"""What metrics are called in a column, and by which one a task counts in an average, so that none counts twice."""

from __future__ import annotations

from harness.tasks import TASKS

METRIC_LABELS = {
    "exact_match": "EM",
    "f1": "F1",
    "accuracy": "acc",
    "matthews": "MCC",
    "pearson": "Pearson",
    "spearman": "Spearman",
}

# As the tasks are usually ranked: SQuAD by F1, QQP by accuracy, MNLI by its matched split; a declared one by its first.
PRIMARY_METRICS = {
    **{task.name: task.metrics[0] for task in TASKS.values() if task.is_declared},
    "squad": "f1",
    "mnli": "accuracy",
    "sst2": "accuracy",
    "qnli": "accuracy",
    "qqp": "accuracy",
}


def is_primary(task: str, metric: str) -> bool:
    """task: as reported; "mnli-mm", the mismatched split, is none of its own."""
    return PRIMARY_METRICS.get(task) == metric
