"""Scores of predictions, from `evaluate` metrics that live in this package: nothing is downloaded.

Each metric is a folder with a module of its own, which `evaluate.load(metric_path(name))` accepts as well.
Importing this package is light; `evaluate` comes with the first metric.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.tasks import SIGNED_METRICS, Task

if TYPE_CHECKING:
    import evaluate

_CLASSES = {
    "accuracy": "Accuracy",
    "f1": "F1",
    "matthews": "Matthews",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "squad": "Squad",
}


def metric_path(name: str) -> Path:
    """The folder of metric `name`, for `evaluate.load`. Raises ValueError if there is no such metric."""
    if name not in _CLASSES:
        raise ValueError(f"metric {name!r} is not known. Known: {', '.join(_CLASSES)}.")
    return Path(__file__).parent / name


def load_metric(name: str) -> evaluate.Metric:
    """A fresh metric that keeps predictions in memory and leaves no file behind."""
    module = importlib.import_module(f"{__name__}.{name}.{metric_path(name).name}")
    # The library creates a cache folder even for a metric in memory; this one goes at once, and is never written to.
    with tempfile.TemporaryDirectory() as folder:
        return getattr(module, _CLASSES[name])(keep_in_memory=True, cache_dir=folder)


def classification_scores(task: Task, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float | int]:
    """The task's metrics with their raw counts, in one dictionary.

    predictions, references: class numbers, one per example, in the same order. Accuracy and f1 are fractions in [0, 1],
    with num_correct, num_examples, true_positives, false_positives, false_negatives; matthews is in [-1, 1].
    Raises ValueError if nothing was predicted or predictions and references do not match one to one.
    """
    return _scores(task, predictions, references)


def regression_scores(task: Task, predictions: Sequence[float], references: Sequence[float]) -> dict[str, float | int]:
    """The task's metrics with their raw counts: pearson and spearman in [-1, 1], 0 where one is not defined.

    predictions, references: numbers, one per example, in the same order. Raises ValueError as `classification_scores`.
    """
    return _scores(task, predictions, references)


def undefined_correlations(task: Task, scores: Mapping[str, float | int]) -> list[str]:
    """A sentence where a split's correlations say nothing: its predictions, or its references, are all one value."""
    named = [name for name in task.metrics if name in SIGNED_METRICS]
    sides = {"predictions": "num_distinct_predictions", "right answers": "num_distinct_references"}
    constant = [side for side, count in sides.items() if named and scores[count] == 1]
    is_one = f"{' and all '.join(constant)} are one value: {' and '.join(named)}"
    return [f"all {is_one} not defined, counted as 0"] if constant else []


def _scores(task: Task, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float | int]:
    _check_one_to_one(task, predictions, references)
    scores: dict[str, float | int] = {}
    for name in task.metrics:
        scores.update(load_metric(name).compute(predictions=predictions, references=references))
    return scores


def question_answering_scores(
    task: Task, predictions: Mapping[str, str], references: Sequence[Mapping[str, Any]]
) -> dict[str, float | int]:
    """SQuAD's metrics: exact_match and f1, percentages in [0, 100], with num_exact, f1_sum, num_examples.

    predictions: answer texts by id. references: rows with id and answers. Raises ValueError as `classification_scores`.
    """
    _check_one_to_one(task, predictions, references)
    rows = [{"id": key, "prediction_text": text} for key, text in predictions.items()]
    golds = [
        {
            "id": reference["id"],
            "answers": {name: list(reference["answers"][name]) for name in ("text", "answer_start")},
        }
        for reference in references
    ]
    return load_metric("squad").compute(predictions=rows, references=golds)


def question_scores(
    predictions: Mapping[str, str], references: Sequence[Mapping[str, Any]]
) -> list[tuple[str, float, float]]:
    """Id, exact match (0 or 1) and F1 in [0, 1] of each question, in the order of `references`."""
    from harness.metrics.squad.squad import best_scores

    return [(row["id"], *best_scores(predictions[row["id"]], list(row["answers"]["text"]))) for row in references]


def _check_one_to_one(task: Task, predictions: Sized, references: Sized) -> None:
    if len(references) == 0 or len(predictions) != len(references):
        raise ValueError(
            f"task {task.name!r}: {len(predictions)} predictions for {len(references)} references; expected one for "
            "each and at least one."
        )
