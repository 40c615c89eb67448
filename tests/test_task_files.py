"""Tasks declared in TOML: every problem of a file at once, what a declaration keeps, and the shipped ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from grid_world import sentences

from harness.errors import UsageError
from harness.task_files.form import parse_task, read_task_files
from harness.tasks import (
    CLASSIFICATION,
    DECLARATION,
    EXTRACTIVE_QA,
    REGRESSION,
    TASKS,
    Task,
    get_task,
    known_task,
    task_of,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVIEWS = f"""
name = "reviews"
kind = "classification"
labels = ["bad", "good"]
metrics = ["accuracy", "f1"]
[columns]
text = ["title", "body"]
label = "stars"
[splits]
train = "fit"
evaluation = ["dev", "hard"]
optional = ["hard"]
[hub]
path = "somebody/reviews"
config = "default"
revision = "{COMMIT}"
[settings]
max_length = 32
"""
QUIZ = """
name = "quiz"
kind = "extractive-qa"
metrics = ["f1"]
[columns]
question = "frage"
id = "nr"
"""


def problems(text: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        parse_task(text, "F")
    return sentences(caught.value)


def test_a_file_says_columns_labels_metrics_splits_and_where_the_data_are() -> None:
    task = parse_task(REVIEWS, "F")
    assert (task.name, task.head, task.label_names, task.metrics) == (
        "reviews",
        CLASSIFICATION,
        ("bad", "good"),
        ("accuracy", "f1"),
    )
    assert task.columns == {"title": "title", "body": "body", "label": "stars"}
    assert task.splits == ("fit", "dev", "hard")
    assert task.optional_splits == ("hard",)
    assert task.evaluation_splits == (("dev", "reviews"), ("hard", "reviews-hard"))
    assert (task.hub_path, task.hub_name, task.hub_revision) == ("somebody/reviews", "default", COMMIT)
    assert dict(task.settings) == {"max_length": 32, "train_examples": 0, "train_subset_seed": 0}


def test_columns_of_questions_are_those_of_squad_where_nothing_else_is_said() -> None:
    task = parse_task(QUIZ, "F")
    assert task.head == EXTRACTIVE_QA
    assert task.columns == {"id": "nr", "question": "frage", "context": "context", "answers": "answers"}
    assert dict(task.settings)["max_length"] == 384
    assert not task.is_on_hub


def test_every_problem_of_a_file_is_told_at_once_with_its_key() -> None:
    text = """
    nam = "x"
    name = "a.b"
    kind = "classifcation"
    labels = "x"
    metrics = ["acc"]
    [splits]
    train = 3
    evaluation = ["dev", "dev"]
    [hub]
    path = "a"
    revision = "main"
    [settings]
    max_length = 2
    foo = 1
    """
    found = problems(text)
    expected = [
        "F: key 'nam' is not known. Did you mean 'name'?",
        "F: name = 'a.b': expected at most 100 letters",
        "F: kind 'classifcation' is not known. Did you mean 'classification'?",
        "F: labels = 'x': expected the names of classes",
        "F: metric 'acc' is not known. Did you mean 'accuracy'?",
        "F: [columns] is missing.",
        "F: splits.train = 3: expected a text",
        "F: splits.evaluation: 'dev' stands there more than once",
        "F: hub.config is missing",
        "F: hub.revision = 'main': expected the 40 hexadecimal digits of a commit",
        "F: key 'settings.foo' is not known",
        "F: settings.max_length = 2: expected a whole number, 5 or more",
    ]
    assert len(found) == len(expected)
    for sentence, start in zip(found, expected, strict=True):
        assert sentence.startswith(start), sentence


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('["bad", "good"]', '["bad"]', "labels = ['bad']: expected two classes or more"),
        ('["bad", "good"]', '["a", "b", "c"]', "f1 is of two classes, and there are 3 labels. Name accuracy"),
        ('["accuracy", "f1"]', '["pearson"]', "metric of kind classification 'pearson' is not known"),
        ('["accuracy", "f1"]', "[]", "metrics = []: expected a list of accuracy, f1, matthews"),
        ('"classification"', '"regression"', "labels: a task of kind regression has none"),
        ('["title", "body"]', '["a", "b", "c"]', "columns.text has 3 columns: expected one or two"),
        ('["title", "body"]', '["stars"]', "columns: 'stars' is named more than once"),
        ('["title", "body"]', '["label"]', "'label' is what the harness calls the label"),
        ('label = "stars"', "", "columns.label is missing: expected the column's name"),
        ('"fit"', '"dev"', "splits: 'dev' is trained on and scored"),
        ('"fit"', '"../up"', "splits: '../up': expected letters"),
        ('["hard"]', '["soft"]', "splits.optional: 'soft' is not among splits.evaluation"),
        ('["hard"]', '["hard", "dev"]', "splits.optional has every evaluation split"),
        ('"reviews"\nkind', '"corpus"\nkind', "name = 'corpus': it means something else"),
        ("[settings]", "[settings]\ndoc_stride = 4", "key 'settings.doc_stride' is not known"),
        ("max_length = 32", "max_length = true", "settings.max_length = True: expected a whole number"),
        ("[columns]", "[columns", "is no TOML"),
    ],
)
def test_a_bad_value_is_told(old: str, new: str, told: str) -> None:
    assert REVIEWS.count(old) >= 1
    assert any(told in sentence for sentence in problems(REVIEWS.replace(old, new, 1)))


def test_taken_names_are_refused_of_all_files_together(tmp_path: Path) -> None:
    texts = {
        "one": REVIEWS.replace('"reviews"', '"mnli"', 1),
        "two": REVIEWS,
        "three": REVIEWS,
        "four": REVIEWS.replace('"reviews"', '"mnli-mm"', 1),
    }
    paths = [tmp_path / f"{name}.toml" for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_task_files([*paths, tmp_path / "none.toml"], TASKS)
    found = sentences(caught.value)
    assert len(found) == 4
    assert "one.toml: name: 'mnli' is a shipped task" in found[0]
    assert "three.toml: name: 'reviews' is the name of another task file too" in found[1]
    assert "four.toml: name: 'mnli-mm' is a reported name of another task" in found[2]
    assert "none.toml" in found[3]


@pytest.mark.parametrize(
    "task", [parse_task(REVIEWS, "F"), parse_task(QUIZ, "F"), *TASKS.values()], ids=lambda t: t.name
)
def test_a_task_is_read_back_from_its_stages_parameters(task: Task) -> None:
    assert task_of(json.loads(json.dumps(task.parameters))) == task


def test_the_papers_tasks_are_named_alone() -> None:
    paper = [name for name, task in TASKS.items() if DECLARATION not in task.parameters]
    assert sorted(paper) == ["mnli", "qnli", "qqp", "squad", "sst2"]
    assert get_task("sst2").parameters == {"task": "sst2"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('["bad", "good"]', '["good", "bad"]'),
        ('["accuracy", "f1"]', '["f1", "accuracy"]'),
        ('["title", "body"]', '["body", "title"]'),
        ('"stars"', '"points"'),
        ('"fit"', '"train"'),
        ('["dev", "hard"]', '["hard", "dev"]'),
        ('["hard"]\n', "[]\n"),
        (COMMIT, COMMIT[::-1]),
    ],
)
def test_what_changes_a_number_changes_the_declaration(old: str, new: str) -> None:
    changed = REVIEWS.replace(old, new, 1)
    assert changed != REVIEWS
    assert parse_task(changed, "F").parameters != parse_task(REVIEWS, "F").parameters


def test_a_description_and_settings_change_none() -> None:
    text = 'description = "of films"\n' + REVIEWS.replace("max_length = 32", "max_length = 64")
    assert parse_task(text, "F").parameters == parse_task(REVIEWS, "F").parameters


@pytest.mark.parametrize("declaration", ["", "[]", "{}", '{"kind": "poetry"}', '{"kind": "regression", "x": 1}', 3])
def test_a_damaged_declaration_is_told(declaration: object) -> None:
    parameters = {"task": "reviews", DECLARATION: declaration}
    assert known_task(parameters) is None
    with pytest.raises(ValueError, match="task 'reviews': its declaration cannot be read"):
        task_of(parameters)


def test_the_rest_of_glue_has_the_hubs_columns_and_labels() -> None:
    glue = get_task("sst2")
    for name, columns, labels, metrics in (
        ("cola", ["sentence", "label"], ("unacceptable", "acceptable"), ("matthews",)),
        ("mrpc", ["sentence1", "sentence2", "label"], ("not_equivalent", "equivalent"), ("accuracy", "f1")),
        ("rte", ["sentence1", "sentence2", "label"], ("entailment", "not_entailment"), ("accuracy",)),
        ("stsb", ["sentence1", "sentence2", "label"], (), ("pearson", "spearman")),
    ):
        task = get_task(name)
        assert [*task.columns.values()] == columns
        assert (task.label_names, task.metrics) == (labels, metrics)
        assert (task.hub_path, task.hub_name, task.hub_revision) == ("nyu-mll/glue", name, glue.hub_revision)
        assert task.splits == ("train", "validation")
    assert get_task("stsb").head == REGRESSION
    assert get_task("stsb").num_labels == 1
