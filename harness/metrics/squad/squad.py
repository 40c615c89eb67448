"""SQuAD v1.1 exact match and F1 as an `evaluate` metric. Self-contained, so that `evaluate.load(path)` can copy it."""

import re
import string
from collections import Counter
from typing import Any

import datasets
import evaluate

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Lower case, without ASCII punctuation, articles and surplus white space, in the official script's order."""
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def exact_match(prediction: str, answer: str) -> float:
    """1 if both are equal after normalisation, else 0."""
    return float(normalize_answer(prediction) == normalize_answer(answer))


def token_f1(prediction: str, answer: str) -> float:
    """F1 of the two bags of normalised tokens, in [0, 1]; 0 where they share none."""
    predicted, gold = normalize_answer(prediction).split(), normalize_answer(answer).split()
    num_shared = sum((Counter(predicted) & Counter(gold)).values())
    if num_shared == 0:
        return 0.0
    precision, recall = num_shared / len(predicted), num_shared / len(gold)
    return 2 * precision * recall / (precision + recall)


def best_scores(prediction: str, answers: list[str]) -> tuple[float, float]:
    """Exact match (0 or 1) and F1 in [0, 1], each the best over a question's gold answers."""
    return (
        max(exact_match(prediction, answer) for answer in answers),
        max(token_f1(prediction, answer) for answer in answers),
    )


class Squad(evaluate.Metric):
    """Exact match and F1, each the best over a question's gold answers, averaged over questions, in percent."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Exact match and F1 of SQuAD v1.1 with the official normalisation.",
            citation="Rajpurkar et al. 2016, SQuAD: 100,000+ Questions for Machine Comprehension of Text.",
            inputs_description=(
                "predictions: id and prediction_text; references: id and answers (text, answer_start). Returns "
                "exact_match and f1 in percent, num_exact, f1_sum, num_examples."
            ),
            features=datasets.Features(
                predictions={"id": datasets.Value("string"), "prediction_text": datasets.Value("string")},
                references={
                    "id": datasets.Value("string"),
                    "answers": {
                        "text": datasets.List(datasets.Value("string")),
                        "answer_start": datasets.List(datasets.Value("int32")),
                    },
                },
            ),
        )

    def _compute(
        self, *, predictions: list[dict[str, Any]], references: list[dict[str, Any]], **_: Any
    ) -> dict[str, Any]:
        texts = {prediction["id"]: prediction["prediction_text"] for prediction in predictions}
        golds = {reference["id"]: reference["answers"]["text"] for reference in references}
        if len(texts) != len(predictions) or len(golds) != len(references) or texts.keys() != golds.keys():
            raise ValueError(
                f"{len(predictions)} predictions ({len(texts)} ids) for {len(references)} questions "
                f"({len(golds)} ids), {len(texts.keys() & golds.keys())} ids in common; expected exactly one "
                "prediction per question."
            )
        scores = [best_scores(texts[key], answers) for key, answers in golds.items()]
        num_exact, f1_sum = (sum(each) for each in zip(*scores, strict=True))
        return {
            "exact_match": 100.0 * num_exact / len(golds),
            "f1": 100.0 * f1_sum / len(golds),
            "num_exact": int(num_exact),
            "f1_sum": f1_sum,
            "num_examples": len(golds),
        }
