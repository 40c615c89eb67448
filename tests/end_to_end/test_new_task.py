"""docs/new-task.md: its files and commands; and a declared task of each other kind, through real stages."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest
import tiny_world
from grid_world import ROOT

from harness import api
from harness.cli import main as cli
from harness.errors import UsageError
from harness.store.store import Store
from harness.studies.study import read_study
from harness.task_files.form import COLUMN_KEYS, KEYS, parse_task

PAGE = (ROOT / "docs" / "new-task.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
(COMMANDS,) = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
TOY = {
    "common.threads": 1,
    "common.batch_size": 8,
    "common.evaluation_pairs": 8,
    "common.frequency": 0.1,
    "pairs.max_length": 32,
    "teacher_preparation.steps": 8,
    "student_pruning.steps": 8,
    "student_pruning.warmup_fraction": 0.01,
    "dense.epochs": 1.0,
    "transfer.epochs": 1.0,
    "quantization.epochs": 1.0,
}
SET = [word for key, value in TOY.items() for word in ("--set", f"{key}={value}")]
ALIKE = """
name = "alike"
kind = "regression"
metrics = ["pearson", "spearman"]
[columns]
text = ["one", "two"]
label = "value"
[settings]
max_length = 24
"""
QUIZ = """
name = "quiz"
kind = "extractive-qa"
metrics = ["exact_match", "f1"]
[columns]
id = "nr"
question = "asked"
[settings]
max_length = 32
doc_stride = 8
max_query_length = 10
"""


def test_the_page_tells_every_key_of_the_form() -> None:
    table = PAGE.partition("| key |")[2].partition("\n\n")[0]
    told = set(re.findall(r"`\[?(\w+)\]?`", table))
    keys = {*KEYS, *(key for columns in COLUMN_KEYS.values() for key in columns)}
    assert keys <= told
    assert parse_task(FILES["reviews.toml"], "page").columns == {"title": "title", "body": "body", "label": "stars"}


@pytest.mark.slow
def test_the_pages_commands_run_and_its_file_is_not_needed_afterwards(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").symlink_to(tiny.model)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "corpus").symlink_to(tiny.data / "corpus")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    make, grid, tables = (shlex.split(line) for line in COMMANDS.splitlines())
    assert make == ["python", "make_data.py"]
    runpy.run_path("make_data.py")
    assert cli.main([*grid[1:], "--executor", "debug", *SET]) == 0
    found = read_study(Store(tmp_path / "runs"), "reviews")
    assert len(found.plan.paths) == 4
    (tmp_path / "reviews.toml").unlink()
    capsys.readouterr()
    assert cli.main(tables[1:]) == 0
    page = capsys.readouterr().out
    assert "reviews acc" in page
    assert "reviews MCC" in page
    assert "missing" not in page.partition("\n- ")[0]
    # Elsewhere too: a store merged from the records alone.
    assert cli.main(["merge", "runs", "--into", "elsewhere", "--records-only"]) == 0
    capsys.readouterr()
    assert cli.main([*tables[1:], "--store", "elsewhere"]) == 0
    assert capsys.readouterr().out.partition("\n- ")[0] == page.partition("\n- ")[0]
    assert cli.main(["show", "task=reviews,method=dense,quantization=none", "--store", "elsewhere"]) == 0


def write_alike(data: Path) -> None:
    for split, rows in (("train", 48), ("validation", 16)):
        scores = [number % 11 / 2 for number in range(rows)]
        words = ["good" if score > 2.5 else "bad" for score in scores]
        columns = {"one": [f"the film was {word}" for word in words], "two": ["the film was good"] * rows}
        tiny_world._write(data / "alike" / f"{split}.parquet", {**columns, "value": scores})


@pytest.mark.slow
def test_a_regression_and_questions_run_through_training_distillation_int8_packing_and_export(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    write_alike(data)
    for split in ("train", "validation"):
        found = tiny_world.pq.read_table(tiny.data / "squad" / f"{split}.parquet").to_pydict()
        columns = {"nr": found["id"], "asked": found["question"], "context": found["context"]}
        tiny_world._write(data / "quiz" / f"{split}.parquet", {**columns, "answers": found["answers"]})
    for name, text in (("alike.toml", ALIKE), ("quiz.toml", QUIZ)):
        (tmp_path / name).write_text(text)
    sparse = tiny_world.make_sparse(tmp_path / "sparse", tiny.model, 0.5)
    words = ["grid", "--preset", str(tiny_world.PRESET), "--models", f"tiny={tiny.model}", "--data", str(data)]
    words += ["--task-file", "alike.toml", "--task-file", "quiz.toml", "--tasks", "alike,quiz", "--executor", "debug"]
    words += ["--sparse-from", f"mine={sparse}", "--quantization", "int8", "--measures", "packing", "--study", "two"]
    settings = [*SET, "--set", "common.teacher_logits=stored"]
    assert cli.main([*words, *settings]) == 0
    (tmp_path / "alike.toml").rename("kept.toml")
    store = Store(tmp_path / "runs")
    plan = read_study(store, "two").plan
    results = {i: store.stage(i).read_record()["result"] for i in plan.stages}
    of_alike = {i: s for i, s in plan.stages.items() if s.parameters.get("task") == "alike"}
    kinds = {spec.kind for spec in of_alike.values()}
    assert {"dense", "teacher_logits", "transfer", "quantization", "evaluation", "packing"} <= kinds
    for stage_id, spec in of_alike.items():
        if spec.kind == "evaluation":
            scores = results[stage_id]["metrics"]["alike"]
            assert -1 <= scores["pearson"] <= 1
            assert scores["num_examples"] == 16
            told = [line for line in results[stage_id]["did"] if "not defined" in line]
            assert bool(told) == (scores["num_distinct_predictions"] == 1)
        if spec.kind == "packing":
            twin = next(i for i, s in of_alike.items() if s.kind == "evaluation" and s.parents == spec.parents)
            assert results[stage_id]["metrics"]["alike"] == pytest.approx(results[twin]["metrics"]["alike"], abs=1e-6)
    cell = "task=alike,quantization=int8,seed=0"
    assert cli.main(["export", cell, "--study", "two", "--format", "packed", "--out", "packed"]) == 0
    assert 'task="alike.toml"' in (tmp_path / "packed" / "README.md").read_text()
    model, _ = api.load_packed("packed", "kept.toml")
    assert model.config.num_labels == 1
    with pytest.raises(UsageError, match="was not trained on quiz"):
        api.load_packed("packed", "quiz.toml")
    assert cli.main(["compare", cell, cell, "--study", "two"]) == 2


def test_a_bad_file_is_told_with_all_else_that_is_wrong(tiny: Any, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('name = "alike"\nkind = "regresion"\n')
    words = ["grid", "--preset", str(tiny_world.PRESET), "--models", f"tiny={tiny.model}", "--data", str(tiny.data)]
    words += ["--task-file", str(path), "--tasks", "alike", "--seeds", "-1", "--store", str(tmp_path / "runs")]
    assert cli.main(words) == 2
    told = capsys.readouterr().err
    assert "kind 'regresion' is not known. Did you mean 'regression'?" in told
    assert "metrics is missing" in told
    assert "[columns] is missing" in told
    assert "seed -1" in told
    assert "task 'alike'" not in told  # the file would declare it


def test_a_task_that_nobody_knows_is_answered_with_the_option(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"task 'alike' is not known.*One of your own: task_file FILE\.toml"):
        api.plan_grid(
            models={"tiny": tiny.model}, preset=str(tiny_world.PRESET), tasks="alike", data=tiny.data, store=tmp_path
        )


def test_python_takes_the_file_as_the_command_line_does(tiny: Any, tmp_path: Path) -> None:
    write_alike(tmp_path / "data")
    path = tmp_path / "alike.toml"
    path.write_text(ALIKE)
    grid = api.plan_grid(
        models={"tiny": tiny.model},
        preset=str(tiny_world.PRESET),
        tasks="alike",
        task_file=path,
        methods="dense",
        data=tmp_path / "data",
        store=tmp_path / "runs",
    )
    assert [cell.task for cell in grid.cells] == ["alike"]
    assert grid.plan.counts() == {"dense": 1, "evaluation": 1}
