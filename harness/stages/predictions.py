"""Predictions: what a model said of each example of a split, kept beside its metrics so that two can be compared.

One CSV file for each reported task, `predictions/TASK.csv` in the evaluation's artifact: texts in quotes, numbers bare,
floats in Python's shortest form, lines ended by a line feed. Rows are in the split's order. `paper_tables.examples`
reads them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = "predictions"
MOST_ANSWER_CHARACTERS = 1000  # of an answer as it is kept; it was scored whole


@dataclass(frozen=True)
class Predictions:
    """columns: names. rows: a value for each, whole numbers, floats or texts; a row per example."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[int | float | str, ...]]


@dataclass(frozen=True)
class Scored:
    """A split's metrics with their raw counts, and the predictions that they were counted from.

    notes: sentences on metrics that say nothing.
    """

    metrics: dict[str, float | int]
    predictions: Predictions
    notes: Sequence[str] = ()


def class_predictions(labels: Sequence[int], predicted: Sequence[int]) -> Predictions:
    """Of a classification: row of the split, right class and predicted class, by number."""
    pairs = zip(labels, predicted, strict=True)
    return Predictions(("example", "label", "prediction"), [(i, *pair) for i, pair in enumerate(pairs)])


def number_predictions(targets: Sequence[float], predicted: Sequence[float]) -> Predictions:
    """Of a regression: row of the split, right number and predicted number."""
    pairs = zip(targets, predicted, strict=True)
    return Predictions(("example", "score", "prediction"), [(i, *pair) for i, pair in enumerate(pairs)])


def answer_predictions(scores: Iterable[tuple[str, float, float]], answers: dict[str, str]) -> Predictions:
    """Of extractive question answering. scores: id, exact match (0 or 1) and F1 in [0, 1] of each question."""
    rows = [(key, int(exact), f1, answers[key][:MOST_ANSWER_CHARACTERS]) for key, exact, f1 in scores]
    return Predictions(("id", "exact_match", "f1", "answer"), rows)


def write_predictions(artifact: Path, reported_as: str, predictions: Predictions) -> None:
    """reported_as: the task's reported name."""
    path = artifact / FOLDER / f"{reported_as}.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(predictions.columns) + "\n")
        csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerows(predictions.rows)
