"""Predictions: the metrics come out of the file again, by arithmetic of the test's own, for every head."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from harness.metrics import question_answering_scores, question_scores
from harness.stages.predictions import (
    MOST_ANSWER_CHARACTERS,
    Predictions,
    answer_predictions,
    class_predictions,
    write_predictions,
)
from harness.stages.task_heads import ClassificationHead
from harness.tasks import TASKS, get_task

HOSTILE = [
    'the "quoted" cat',
    "two\nlines",
    "carriage\rreturn",
    "a,b;c",
    "",
    "=SUM(A1)",
    "\x1b[31mred",
    "naïve – 漢字",
    "'",
]


def read(artifact: Path, name: str) -> list[dict[str, str]]:
    with (artifact / "predictions" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.head.name == "classification"])
def test_every_classification_metric_follows_from_the_file(tmp_path: Path, name: str) -> None:
    task, draw = get_task(name), np.random.default_rng(5)
    labels = draw.integers(task.num_labels, size=211).tolist()
    logits = list(draw.normal(size=(211, task.num_labels)))
    rows = datasets.Dataset.from_dict({"label": labels})
    scored = ClassificationHead().scores(rows, rows, {"logits": logits}, task, {})
    write_predictions(tmp_path, name, scored.predictions)
    found = read(tmp_path, name)
    assert [int(row["example"]) for row in found] == list(range(211))
    pairs = [(int(row["label"]), int(row["prediction"])) for row in found]
    assert [label for label, _ in pairs] == labels
    if "accuracy" in task.metrics:
        assert sum(label == said for label, said in pairs) / len(pairs) == scored.metrics["accuracy"]
    if "matthews" in task.metrics:
        assert matthews_corrcoef(*zip(*pairs, strict=True)) == pytest.approx(scored.metrics["matthews"], rel=1e-12)
    if "f1" in task.metrics:
        right, positive, said = pairs.count((1, 1)), labels.count(1), sum(each for _, each in pairs)
        precision, recall = right / said, right / positive
        assert 2 * precision * recall / (precision + recall) == pytest.approx(scored.metrics["f1"], rel=1e-15)


def test_answers_of_any_text_come_back_and_sum_up_to_the_metrics(tmp_path: Path) -> None:
    golds = ["cat quoted", "lines", "carriage return", "abc", "x", "sum", "red", "naïve", "it"]
    references = [
        {"id": f'q"{i},', "answers": {"text": [gold, "no"], "answer_start": [0, 0]}} for i, gold in enumerate(golds)
    ]
    answers = {row["id"]: text for row, text in zip(references, HOSTILE, strict=True)}
    metrics = question_answering_scores(get_task("squad"), answers, references)
    write_predictions(tmp_path, "squad", answer_predictions(question_scores(answers, references), answers))
    found = read(tmp_path, "squad")
    assert {row["id"]: row["answer"] for row in found} == answers
    assert [row["id"] for row in found] == [row["id"] for row in references]
    assert 100 * sum(int(row["exact_match"]) for row in found) / len(found) == metrics["exact_match"]
    assert 100 * sum(float(row["f1"]) for row in found) / len(found) == metrics["f1"]
    # By hand: "two lines" against "lines" shares one of two words: precision 1/2, recall 1.
    assert float(found[1]["f1"]) == pytest.approx(2 / 3)


def test_an_answer_is_cut_and_its_score_is_of_the_whole(tmp_path: Path) -> None:
    endless = "x" * 10**6
    references: list[dict[str, Any]] = [{"id": "q", "answers": {"text": [endless], "answer_start": [0]}}]
    kept = answer_predictions(question_scores({"q": endless}, references), {"q": endless})
    write_predictions(tmp_path, "squad", kept)
    (row,) = read(tmp_path, "squad")
    assert (row["exact_match"], len(row["answer"])) == ("1", MOST_ANSWER_CHARACTERS)
    assert (tmp_path / "predictions" / "squad.csv").stat().st_size < MOST_ANSWER_CHARACTERS + 100


def test_the_bytes_are_these(tmp_path: Path) -> None:
    write_predictions(tmp_path, "sst2", class_predictions([0, 1], [0, 0]))
    assert (tmp_path / "predictions" / "sst2.csv").read_bytes() == b"example,label,prediction\n0,0,0\n1,1,0\n"
    write_predictions(tmp_path, "squad", Predictions(("id", "exact_match", "f1", "answer"), [("a", 1, 1 / 3, 'b"\n')]))
    expected = b'id,exact_match,f1,answer\n"a",1,0.3333333333333333,"b""\n"\n'
    assert (tmp_path / "predictions" / "squad.csv").read_bytes() == expected


def test_an_example_without_a_prediction_is_refused() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        class_predictions([0, 1], [0])
