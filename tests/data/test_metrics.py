"""Metrics: raw counts, partial batches, the official SQuAD normalisation, and loading by path without a network."""

from __future__ import annotations

from pathlib import Path

import evaluate
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from harness.metrics import (
    classification_scores,
    load_metric,
    metric_path,
    question_answering_scores,
    regression_scores,
    undefined_correlations,
)
from harness.metrics.squad.squad import exact_match, normalize_answer, token_f1
from harness.tasks import get_task


@pytest.mark.parametrize(("num_wrong", "accuracy"), [(0, 1.0), (1, 129 / 130)])
def test_a_partial_last_batch_counts_its_own_examples(num_wrong: int, accuracy: float):
    labels = torch.arange(130) % 2
    predictions = labels.clone()
    predictions[130 - num_wrong :] = 1 - labels[130 - num_wrong :]  # wrong in the batch of two
    metric = load_metric("accuracy")
    sizes = []
    for batch_predictions, batch_labels in DataLoader(TensorDataset(predictions, labels), batch_size=128):
        metric.add_batch(predictions=batch_predictions, references=batch_labels)
        sizes.append(len(batch_labels))
    assert sizes == [128, 2]
    assert metric.compute() == {"accuracy": accuracy, "num_correct": 130 - num_wrong, "num_examples": 130}


def test_accuracy_and_f1_of_qqp_with_their_counts():
    # TP 2, FP 1, FN 1, TN 1: accuracy 3/5, F1 = 4 / (4 + 1 + 1) = 2/3.
    scores = classification_scores(get_task("qqp"), [1, 1, 1, 0, 0], [1, 1, 0, 1, 0])
    assert scores == {
        "accuracy": 3 / 5,
        "num_correct": 3,
        "num_examples": 5,
        "f1": pytest.approx(2 / 3),
        "true_positives": 2,
        "false_positives": 1,
        "false_negatives": 1,
    }


def test_f1_without_a_positive_is_zero_and_knows_two_classes():
    assert load_metric("f1").compute(predictions=[0, 0], references=[0, 0])["f1"] == 0.0
    with pytest.raises(ValueError, match=r"classes \[2\]"):
        load_metric("f1").compute(predictions=[0, 2], references=[0, 1])


def test_every_task_gets_the_metrics_it_names():
    for name in ("sst2", "qnli", "qqp", "mnli"):
        task = get_task(name)
        assert set(task.metrics) <= set(classification_scores(task, [0, 1], [0, 0]))


def test_predictions_must_match_references_one_to_one():
    with pytest.raises(ValueError, match="129 predictions for 130 references"):
        classification_scores(get_task("sst2"), [0] * 129, [0] * 130)
    with pytest.raises(ValueError, match="at least one"):
        classification_scores(get_task("sst2"), [], [])


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("The Cat", "cat"),
        ("  an   apple,  a pear ", "apple pear"),
        ("U.S.", "us"),
        ("Theatre of the Absurd", "theatre of absurd"),
        ("a-b", "ab"),  # punctuation goes before articles, so this is one word
        ("A.", ""),
        ("“quoted”", "“quoted”"),  # only ASCII punctuation is removed
        ("1,000", "1000"),
    ],
)
def test_the_official_normalisation(text: str, normalized: str):
    assert normalize_answer(text) == normalized


def test_exact_match_and_f1_by_hand():
    assert exact_match("The Denver Broncos!", "denver broncos") == 1.0
    assert token_f1("the Denver Broncos", "Denver Broncos team") == pytest.approx(0.8)  # 2/2 and 2/3
    assert token_f1("cat cat", "cat") == pytest.approx(2 / 3)  # repeated tokens count once
    assert token_f1("dog", "cat") == 0.0


def test_squad_takes_the_best_gold_answer_and_counts():
    references = [
        {"id": "a", "answers": {"text": ["Paris", "the city of Paris"], "answer_start": [0, 0]}},
        {"id": "b", "answers": {"text": ["seven dogs"], "answer_start": [3]}},
        {"id": "c", "answers": {"text": ["x"], "answer_start": [3]}},
    ]
    scores = question_answering_scores(get_task("squad"), {"c": "", "b": "dogs", "a": "City of Paris."}, references)
    # a: exact by its second answer; b: F1 = 2 * 1 * .5 / 1.5 = 2/3; c: nothing.
    assert scores == {
        "exact_match": pytest.approx(100 / 3),
        "f1": pytest.approx(100 * (1 + 2 / 3) / 3),
        "num_exact": 1,
        "f1_sum": pytest.approx(1 + 2 / 3),
        "num_examples": 3,
    }
    with pytest.raises(ValueError, match="exactly one prediction per question"):
        question_answering_scores(get_task("squad"), {"a": "", "b": "", "d": ""}, references)


def test_metrics_load_by_path_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evaluate.config, "HF_MODULES_CACHE", tmp_path / "modules")
    monkeypatch.setattr(evaluate.config, "HF_EVALUATE_OFFLINE", True)
    for name, values in (("accuracy", {"num_correct": 1}), ("f1", {"true_positives": 1})):
        metric = evaluate.load(str(metric_path(name)), cache_dir=str(tmp_path / "cache"), keep_in_memory=True)
        scores = metric.compute(predictions=[1, 0], references=[1, 1])
        assert values.items() <= scores.items()
    squad = evaluate.load(str(metric_path("squad")), cache_dir=str(tmp_path / "cache"), keep_in_memory=True)
    answers = {"text": ["Paris"], "answer_start": [0]}
    scores = squad.compute(
        predictions=[{"id": "q", "prediction_text": "paris"}], references=[{"id": "q", "answers": answers}]
    )
    assert scores["exact_match"] == 100.0


def test_a_metric_leaves_no_file_behind():
    metric = load_metric("accuracy")
    metric.compute(predictions=[1], references=[1])
    assert not Path(metric.data_dir).exists()


def test_an_unknown_metric_is_named():
    with pytest.raises(ValueError, match="metric 'bleu' is not known"):
        load_metric("bleu")


def test_matthews_of_cola_is_that_of_the_four_counts():
    # TP 3, TN 2, FP 1, FN 2: (3 * 2 - 1 * 2) / sqrt(4 * 5 * 3 * 4) = 4 / sqrt(240).
    scores = classification_scores(get_task("cola"), [1, 1, 1, 0, 0, 1, 0, 0], [1, 1, 1, 0, 0, 0, 1, 1])
    assert scores["matthews"] == pytest.approx(4 / 240**0.5)
    assert scores["num_examples"] == 8
    assert undefined_correlations(get_task("cola"), scores) == []


def test_pearson_and_spearman_of_stsb_worked_by_hand():
    # Deviations -2, -1, 0, 3 and -1, -2, 1, 2: 10 / sqrt(14 * 10). Ranks 1, 2, 3, 4 and 2, 1, 3, 4: 1 - 6 * 2 / 60.
    scores = regression_scores(get_task("stsb"), [1.0, 2.0, 3.0, 6.0], [2.0, 1.0, 4.0, 5.0])
    assert scores["pearson"] == pytest.approx(10 / 140**0.5)
    assert scores["spearman"] == pytest.approx(0.8)
    assert scores["num_examples"] == 4


@pytest.mark.parametrize("task", ["cola", "stsb"])
@pytest.mark.parametrize(
    ("said", "right", "told"),
    [([1, 1, 1], [0, 1, 1], "all predictions are"), ([0, 1, 0], [1, 1, 1], "all right answers")],
)
def test_a_correlation_that_is_not_defined_counts_as_0_and_is_told(
    task: str, said: list[int], right: list[int], told: str
):
    scorer = classification_scores if task == "cola" else regression_scores
    scores = scorer(get_task(task), said, right)
    assert [scores[name] for name in get_task(task).metrics] == [0.0] * len(get_task(task).metrics)
    (note,) = undefined_correlations(get_task(task), scores)
    assert note.startswith(told)
    assert note.endswith("not defined, counted as 0")
