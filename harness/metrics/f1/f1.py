"""Binary F1 as an `evaluate` metric, with its raw counts. Self-contained, so that `evaluate.load(path)` can copy it."""

from typing import Any

import datasets
import evaluate
from sklearn.metrics import confusion_matrix, f1_score


class F1(evaluate.Metric):
    """2 TP / (2 TP + FP + FN) of class 1 (in QQP: duplicate), in [0, 1]; 0 where class 1 never occurs."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="F1 of class 1 against class 0 (scikit-learn).",
            citation="Pedregosa et al. 2011, Scikit-learn: Machine Learning in Python.",
            inputs_description=(
                "predictions, references: 0 or 1. Returns f1, true_positives, false_positives, false_negatives."
            ),
            features=datasets.Features(predictions=datasets.Value("int64"), references=datasets.Value("int64")),
        )

    def _compute(self, *, predictions: list[int], references: list[int], **_: Any) -> dict[str, Any]:
        other = sorted((set(predictions) | set(references)) - {0, 1})
        if other:
            raise ValueError(f"classes {other}: binary F1 expects 0 and 1 only.")
        _true_negatives, false_positives, false_negatives, true_positives = confusion_matrix(
            references, predictions, labels=[0, 1]
        ).ravel()
        return {
            "f1": float(f1_score(references, predictions, pos_label=1, average="binary", zero_division=0.0)),
            "true_positives": int(true_positives),
            "false_positives": int(false_positives),
            "false_negatives": int(false_negatives),
        }
