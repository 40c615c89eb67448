"""The task registry: what the planner reads, and how light it is to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.tasks import HEADS, TASKS, get_task


def test_label_order_is_that_of_the_hub():
    assert get_task("sst2").label_names == ("negative", "positive")
    assert get_task("qnli").label_names == ("entailment", "not_entailment")
    assert get_task("mnli").label_names == ("entailment", "neutral", "contradiction")
    assert get_task("qqp").label_names == ("not_duplicate", "duplicate")
    assert get_task("squad").num_labels == 0


PAPER = ("squad", "mnli", "qqp", "qnli", "sst2")


def test_the_papers_tasks_give_seven_metrics_per_seed_without_the_mismatched_split():
    required = [
        (task.name, metric)
        for task in map(get_task, PAPER)
        for split, _ in task.evaluation_splits
        if split not in task.optional_splits
        for metric in task.metrics
    ]
    assert {*TASKS} - {*PAPER} == {"cola", "mrpc", "rte", "stsb"}
    assert len(required) == 7  # squad and qqp report two values each


def test_required_columns():
    assert tuple(get_task("mnli").columns) == ("premise", "hypothesis", "label")
    assert tuple(get_task("squad").columns) == ("id", "question", "context", "answers")
    assert get_task("mnli").splits == ("train", "validation_matched", "validation_mismatched")


def test_a_setting_of_one_head_belongs_to_its_tasks_alone_and_any_other_to_all():
    assert [name for name in TASKS if get_task(name).has_setting("doc_stride")] == ["squad"]
    assert all(task.has_setting("max_length") for task in TASKS.values())


def test_every_task_has_a_declared_head():
    assert {task.head for task in TASKS.values()} == set(HEADS)


def test_an_unknown_task_is_answered_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"task 'mnil' is not known\. Did you mean 'mnli'"):
        get_task("mnil")


def test_planning_imports_nothing_heavy():
    heavy = "{'torch', 'transformers', 'datasets', 'evaluate', 'pandas', 'sklearn'}"
    code = f"import sys, harness.tasks, harness.inputs.parquet, harness.metrics; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
