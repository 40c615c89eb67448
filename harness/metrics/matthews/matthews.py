"""Matthews correlation as an `evaluate` metric. Self-contained, so that `evaluate.load(path)` can copy it."""

from typing import Any

import datasets
import evaluate
from sklearn.metrics import matthews_corrcoef


class Matthews(evaluate.Metric):
    """Correlation of predicted and right classes, in [-1, 1]; 0 where one class alone is predicted, or right."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Matthews correlation coefficient, of two classes or more (scikit-learn).",
            citation="Pedregosa et al. 2011, Scikit-learn: Machine Learning in Python.",
            inputs_description=(
                "predictions, references: class numbers. Returns matthews, num_distinct_predictions, "
                "num_distinct_references, num_examples."
            ),
            features=datasets.Features(predictions=datasets.Value("int64"), references=datasets.Value("int64")),
        )

    def _compute(self, *, predictions: list[int], references: list[int], **_: Any) -> dict[str, Any]:
        return {
            "matthews": float(matthews_corrcoef(references, predictions)),
            "num_distinct_predictions": len(set(predictions)),
            "num_distinct_references": len(set(references)),
            "num_examples": len(references),
        }
