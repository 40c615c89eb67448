"""Data of declared tasks: columns by their own names, labels as names, numbers; what is wrong is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.inputs.content_hashes import ContentHashes
from harness.inputs.data_sources import FolderData, HubData, SyntheticData, hub_sets
from harness.inputs.parquet import load_split, row_problems
from harness.task_files.form import parse_task
from harness.tasks import Task, get_task

WriteParquet = Callable[[str, dict[str, Any]], Path]
MOOD = parse_task(
    'name = "mood"\nkind = "classification"\nlabels = ["low", "mid", "high"]\nmetrics = ["accuracy"]\n'
    '[columns]\ntext = ["words"]\nlabel = "stars"\n',
    "F",
)
ALIKE = parse_task(
    'name = "alike"\nkind = "regression"\nmetrics = ["pearson"]\n[columns]\ntext = ["a", "id"]\nlabel = "value"\n', "F"
)
QUIZ = parse_task(
    'name = "quiz"\nkind = "extractive-qa"\nmetrics = ["f1"]\n'
    '[columns]\nid = "nr"\nquestion = "frage"\ncontext = "text"\nanswers = "antwort"\n',
    "F",
)
ANSWER = {"text": ["cat"], "answer_start": [4]}
QUESTIONS = {"nr": ["1", "2"], "frage": ["q", "r"], "text": ["the cat sat"] * 2, "antwort": [ANSWER] * 2}


def test_names_of_classes_are_read_as_their_numbers(tmp_path: Path, write_parquet: WriteParquet) -> None:
    write_parquet("mood/train", {"words": ["a", "b", "c"], "stars": ["high", "low", "mid"], "more": [1, 2, 3]})
    assert load_split(tmp_path, MOOD, "train")[:] == {"words": ["a", "b", "c"], "label": [2, 0, 1]}
    write_parquet("mood/validation", {"words": ["a", "b"], "stars": [1, 2]})
    assert load_split(tmp_path, MOOD, "validation")[:] == {"words": ["a", "b"], "label": [1, 2]}


def test_numbers_stay_what_they_are_and_a_text_may_be_called_as_a_column_of_the_harness(
    tmp_path: Path, write_parquet: WriteParquet
) -> None:
    write_parquet("alike/train", {"a": ["x", "y"], "id": ["same", "same"], "value": [3.75, 0.0]})
    assert load_split(tmp_path, ALIKE, "train")[:] == {"a": ["x", "y"], "id": ["same"] * 2, "score": [3.75, 0.0]}


def test_columns_of_questions_are_read_under_squads_names(tmp_path: Path, write_parquet: WriteParquet) -> None:
    write_parquet("quiz/train", QUESTIONS)
    found = load_split(tmp_path, QUIZ, "train")
    assert found.column_names == ["id", "question", "context", "answers"]
    assert found[1]["answers"] == ANSWER


@pytest.mark.parametrize(
    ("task", "columns", "told"),
    [
        (
            MOOD,
            {"words": ["a", "b"], "stars": ["low", "High"]},
            "label 'High' in row 1 (rows count from 0); expected one of low",
        ),
        (MOOD, {"words": ["a", "b"], "stars": [0, 3]}, "label 3 in row 1 (rows count from 0); expected 0 to 2 (0 low"),
        (MOOD, {"words": ["a", "b"], "stars": ["low", None]}, "column stars is null in row 1"),
        (
            ALIKE,
            {"a": ["x"], "id": ["y"], "value": [float("nan")]},
            "value nan in row 0 (rows count from 0); expected a",
        ),
        (ALIKE, {"a": ["x"], "id": [" "], "value": [1.0]}, "column id is blank in its one row"),
        (QUIZ, {**QUESTIONS, "nr": ["1", "1"]}, "id '1' occurs 2 times"),
        (QUIZ, {**QUESTIONS, "antwort": [{"text": ["dog"], "answer_start": [4]}] * 2}, "2 of 2 answers are not at"),
    ],
)
def test_a_bad_row_is_told(write_parquet: WriteParquet, task: Task, columns: dict[str, Any], told: str) -> None:
    (problem,) = row_problems(write_parquet(f"{task.name}/train", columns), task)
    assert told in problem


def test_a_column_of_another_type_or_name_is_told_by_its_name_in_the_data(
    tmp_path: Path, write_parquet: WriteParquet
) -> None:
    write_parquet("mood/train", {"words": ["a"], "stars": [0.5]})
    write_parquet("mood/validation", {"text": ["a"], "stars": [1]})
    write_parquet("alike/train", {"a": ["x"], "id": ["y"], "value": ["3"]})
    found = FolderData(tmp_path).problems([MOOD, ALIKE], corpus=False)
    assert len(found) == 4
    assert "column stars is double; expected integer, or string with the names of classes" in found[0]
    assert "missing columns words. Found text, stars; expected words, stars" in found[1]
    assert "column value is string; expected a number" in found[2]
    assert found[3].endswith("Put it there as parquet with the columns a, id, value, or leave the task out.")


def test_rows_found_right_under_one_declaration_are_read_again_under_another(
    tmp_path: Path, write_parquet: WriteParquet
) -> None:
    for split in ("train", "validation"):
        write_parquet(f"data/mood/{split}", {"words": ["a", "b"], "stars": ["low", "high"]})
    other = parse_task(
        'name = "mood"\nkind = "classification"\nlabels = ["low", "top"]\nmetrics = ["accuracy"]\n'
        '[columns]\ntext = ["words"]\nlabel = "stars"\n',
        "F",
    )
    source = FolderData(tmp_path / "data", ContentHashes(tmp_path / "hashes.json"))
    assert source.problems([MOOD], corpus=False) == []
    assert len(source.problems([other], corpus=False)) == 2


def test_a_source_without_the_task_says_so() -> None:
    for source, words in ((HubData(), "on the hub"), (SyntheticData(), "of the synthetic world")):
        (problem,) = source.problems([MOOD], corpus=False)
        assert f"task 'mood' is not {words}" in problem
        assert "mood/SPLIT.parquet" in problem
    assert len(SyntheticData().problems([get_task("stsb"), get_task("sst2")], corpus=False)) == 1
    assert hub_sets([MOOD], corpus=False) == {}
