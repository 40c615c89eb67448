"""A whole grid on a device that holds three examples: every stage halves its batch, finishes, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_world
import torch

from harness.cli import main as cli
from harness.stages import evaluation
from harness.store.store import Store
from harness.studies.study import read_study
from harness.training.objectives import ClassificationObjective, PretrainingObjective

HOLDS = 3


def refuse_more(count: int) -> None:
    if count > HOLDS:
        raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.slow
def test_every_stage_of_a_grid_finishes_on_a_small_device(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for objective in (ClassificationObjective, PretrainingObjective):
        whole_loss = objective.__call__

        def loss(self: Any, model: Any, inputs: Any, whole: Any = None, inner: Any = whole_loss) -> Any:
            refuse_more(len(inputs["input_ids"]))
            return inner(self, model, inputs, whole)

        monkeypatch.setattr(objective, "__call__", loss)
    predict = evaluation.predict

    def small_predict(model: Any, features: Any, collator: Any, batch_size: int, *others: Any) -> Any:
        refuse_more(batch_size)
        return predict(model, features, collator, batch_size, *others)

    monkeypatch.setattr(evaluation, "predict", small_predict)
    arguments = tiny_world.grid_arguments(tiny.model, tiny.data, tmp_path, dense__epochs=1.0)
    arguments += ["--tasks", "sst2", "--methods", "prune-ofa", "--quantization", "int8"]
    assert cli.main(arguments) == 0

    store = Store(tmp_path)
    records = [store.stage(stage_id).read_record() for stage_id in read_study(store, tiny_world.STUDY).plan.stages]
    for record in records:
        assert [attempt.outcome for attempt in store.stage(record["stage_id"]).attempts()] == ["done"]
        if "training" in record["result"]:
            batch_size = record["parameters"]["batch_size"]
            halved = [batch_size >> n for n in range(10) if batch_size >> n > HOLDS]
            fits = halved[-1] // 2
            assert record["result"]["training"]["batches"] == {
                "global": batch_size,
                "device": [{"from_step": 1, "device_batch": fits, "accumulation": -(-batch_size // fits)}],
                "too_large": halved,
            }
        if record["kind"] == "evaluation":
            assert record["result"]["batches"] == {"device": 2, "too_large": [16, 8, 4]}
    trained = {record["kind"] for record in records if "training" in record["result"]}
    assert trained == {"teacher_preparation", "student_pruning", "dense", "transfer", "quantization"}
