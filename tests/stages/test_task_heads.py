"""Task heads: each declared one has its functions, and every stage reaches a head through them alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest

from harness.progress import NEVER
from harness.stages import task_data, task_heads
from harness.stages.evaluation import score
from harness.stages.task_heads import HEAD_FUNCTIONS, head_of
from harness.tasks import HEADS, TASKS, Task, TaskHead

COUNTING = TaskHead(
    name="counting", target_columns=("count",), metrics=("words",), settings=("base",), metrics_in_percent=False
)
TASK = Task(
    name="counts",
    head=COUNTING,
    text_columns=("text",),
    metrics=("words",),
    evaluation_splits=(("validation", "counts"),),
    hub_path="a/b",
    hub_name="c",
    hub_revision="0" * 40,
)
ROWS = datasets.Dataset.from_dict({"text": ["a b", "c"], "count": [2, 1]})


class CountingHead:
    """Counts words, without a model."""

    def training_examples(self, rows: Any, task: Task, tokenizer: Any, parameters: Any, stops: Any) -> Any:
        return [len(text.split()) + parameters["base"] for text in rows["text"]]

    def evaluation_examples(self, rows: Any, task: Task, tokenizer: Any, parameters: Any, stops: Any) -> Any:
        return datasets.Dataset.from_dict({"length": rows["count"]})

    def objective(self, distillation: Any) -> Any:
        return "the counting loss"

    def scores(self, rows: Any, examples: Any, outputs: Any, task: Task, parameters: Any, stops: Any) -> dict[str, Any]:
        return {"words": sum(rows["count"]), "outputs": outputs}


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_heads, "HEAD_FUNCTIONS", {**HEAD_FUNCTIONS, COUNTING.name: CountingHead()})


def test_every_declared_head_has_its_functions() -> None:
    assert set(HEAD_FUNCTIONS) == {head.name for head in HEADS}
    for task in TASKS.values():
        assert head_of(task) is HEAD_FUNCTIONS[task.head.name]


@pytest.mark.usefixtures("counting")
def test_a_new_head_is_a_declaration_and_its_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.stages.evaluation.predict", lambda *others: {"logits": [np.zeros(1)]})
    monkeypatch.setattr("harness.stages.evaluation.PaddingCollator", lambda tokenizer: None)
    parameters = {"train_examples": 0, "train_subset_seed": 0, "base": 10}
    context: Any = SimpleNamespace(
        parameters=parameters,
        parent_artifacts={},
        stops=NEVER,
        spec=SimpleNamespace(inputs={"train": "t"}),
        sources=SimpleNamespace(data=SimpleNamespace(rows=lambda task, split, content_id: ROWS)),
    )
    assert TASK.columns == {"text": "text", "count": "count"}
    assert task_data.training_examples(context, TASK, None) == [12, 11]
    assert head_of(TASK).objective(None) == "the counting loss"  # type: ignore[comparison-overlap]
    assert score(None, ROWS, TASK, None, parameters, 2).result == {"words": 3, "outputs": {"logits": [np.zeros(1)]}}
