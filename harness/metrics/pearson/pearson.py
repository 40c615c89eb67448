"""Pearson correlation as an `evaluate` metric. Self-contained, so that `evaluate.load(path)` can copy it."""

from typing import Any

import datasets
import evaluate
from scipy.stats import pearsonr


class Pearson(evaluate.Metric):
    """Linear correlation of predictions and references, in [-1, 1]; 0 where either are all one number."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Pearson's correlation coefficient (SciPy).",
            citation="Virtanen et al. 2020, SciPy 1.0: Fundamental Algorithms for Scientific Computing in Python.",
            inputs_description=(
                "predictions, references: numbers. Returns pearson, num_distinct_predictions, num_distinct_references, "
                "num_examples."
            ),
            features=datasets.Features(predictions=datasets.Value("float64"), references=datasets.Value("float64")),
        )

    def _compute(self, *, predictions: list[float], references: list[float], **_: Any) -> dict[str, Any]:
        distinct = len(set(predictions)), len(set(references))
        value = float(pearsonr(predictions, references).statistic) if min(distinct) > 1 else 0.0
        return {
            "pearson": value,
            "num_distinct_predictions": distinct[0],
            "num_distinct_references": distinct[1],
            "num_examples": len(references),
        }
