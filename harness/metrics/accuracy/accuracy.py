"""Accuracy as an `evaluate` metric, with its raw counts. Self-contained, so that `evaluate.load(path)` can copy it."""

from typing import Any

import datasets
import evaluate
from sklearn.metrics import accuracy_score


class Accuracy(evaluate.Metric):
    """Share of predictions equal to their reference, in [0, 1]."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of predictions equal to their reference (scikit-learn).",
            citation="Pedregosa et al. 2011, Scikit-learn: Machine Learning in Python.",
            inputs_description="predictions, references: class numbers. Returns accuracy, num_correct, num_examples.",
            features=datasets.Features(predictions=datasets.Value("int64"), references=datasets.Value("int64")),
        )

    def _compute(self, *, predictions: list[int], references: list[int], **_: Any) -> dict[str, Any]:
        return {
            "accuracy": float(accuracy_score(references, predictions)),
            "num_correct": int(accuracy_score(references, predictions, normalize=False)),
            "num_examples": len(references),
        }
