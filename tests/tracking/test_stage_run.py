"""What a tracker is told of a stage: the record's own numbers, under names that do not depend on the tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from grid_world import of_kind
from tracked_store import LOSSES, STEPS, filled

from harness.planning.graph import Plan
from harness.store.store import Store
from harness.studies.study import Study
from harness.tracking.stage_run import StageRun, StageRuns


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return filled(tmp_path / "runs", seeds=(0, 1), sparsities=(0.85, 0.9))


def run_of(study: Study, tmp_path: Path, stage_id: str) -> StageRun:
    return StageRuns.of(study).run(stage_id, Store(tmp_path / "runs").stage(stage_id).read_record())


def one(plan: Plan, kind: str, **parameters: Any) -> str:
    return next(i for i, spec in of_kind(plan, kind).items() if parameters.items() <= spec.parameters.items())


def test_curves_are_those_of_the_record(study: Study, tmp_path: Path) -> None:
    run = run_of(study, tmp_path, one(study.plan, "student_pruning", sparsity=0.9))
    assert run.curves["train/loss"] == LOSSES
    # s(t) = 0.9 (1 - (1 - t / 50)^3) at t = 0, 25, 50; the mask is updated after optimizer step t + 1
    assert run.curves["train/sparsity"] == ((1, 0.0), (26, pytest.approx(0.9 * (1 - 0.5**3))), (51, 0.9))
    assert run.curves["train/learning_rate"]
    assert run.steps == STEPS
    rows = dict(run.by_step())
    assert list(rows) == sorted(rows)
    assert sum(map(len, rows.values())) == sum(map(len, run.curves.values()))
    assert rows[40]["train/loss"] == 2.5


def test_the_learning_rate_has_its_corners(study: Study, tmp_path: Path) -> None:
    # Step n has the peak times (n - 1) / 20 while it warms up over 20 steps, then times (101 - n) / 80.
    rates = run_of(study, tmp_path, one(study.plan, "transfer")).curves["train/learning_rate"]
    assert [step for step, _ in rates] == [1, 20, 21, 100]
    assert [rate for _, rate in rates] == pytest.approx([0.0, 0.0019, 0.002, 0.000025])


def test_a_stage_without_training_has_no_curve_and_all_its_numbers(study: Study, tmp_path: Path) -> None:
    stage_id = next(iter(of_kind(study.plan, "evaluation")))
    record = Store(tmp_path / "runs").stage(stage_id).read_record()
    run = run_of(study, tmp_path, stage_id)
    assert run.curves == {}
    assert list(run.by_step()) == []
    assert run.metrics == {
        "metrics/sst2/accuracy": record["result"]["metrics"]["sst2"]["accuracy"],
        "cell_sparsity": 0.85,
        "cost/seconds": 1.0,
        "cost/artifact_bytes": 1.0,
    }


def test_final_numbers_leave_out_lists_by_matrix(study: Study, tmp_path: Path) -> None:
    metrics = run_of(study, tmp_path, next(iter(of_kind(study.plan, "transfer")))).metrics
    assert {"sparsity/encoder": 0.5, "training/seconds": 3.5, "metrics/mlm_accuracy": 0.25}.items() <= metrics.items()
    assert not [name for name in metrics if "zeros_by_matrix" in name or "loss_curve" in name]


def test_latency_is_told_by_runtime_and_shape(study: Study) -> None:
    stage_id = next(iter(of_kind(study.plan, "evaluation")))
    spec = study.plan.stages[stage_id]
    timed = {"runtime": "torch", "scored": True, "examples": 8, "tokens": 64, "p50_ms": 2.5, "memory_bytes": None}
    record = {
        **spec.fingerprint_fields(),
        "digest": "d" * 64,
        "result": {"latency": {"measured": [timed], "threads": 2}},
    }
    metrics = StageRuns.of(study).run(stage_id, record).metrics
    assert metrics == {"latency/torch/8x64/p50_ms": 2.5, "latency/threads": 2.0}


def test_tags_are_what_the_cells_of_a_stage_have_in_common(study: Study, tmp_path: Path) -> None:
    plan = study.plan
    transfer = run_of(study, tmp_path, one(plan, "transfer", seed=1))
    sparsity = transfer.tags.pop("sparsity")  # type: ignore[attr-defined]
    assert sparsity in ("0.85", "0.9")
    assert transfer.tags == {
        "kind": "transfer",
        "model": "tiny",
        "method": "prune-ofa",
        "task": "sst2",
        "quantization": "none",
        "seed": "1",
        "pruning_seed": "0",
    }
    shared = run_of(study, tmp_path, next(iter(of_kind(plan, "teacher_preparation")))).tags
    assert shared["model"] == "tiny"
    assert shared["method"] == "prune-ofa"  # dense cells do not rest on it
    assert "sparsity" not in shared  # cells of both do
    assert not {"sparsity", "method"} & run_of(study, tmp_path, one(plan, "dense")).tags.keys()  # every cell does


def test_seeds_share_a_group_and_nothing_else_does(study: Study, tmp_path: Path) -> None:
    groups: dict[str, set[str]] = {}
    for cell in study.plan.paths:
        run = run_of(study, tmp_path, study.plan.endpoint(cell))
        groups.setdefault(run.group, set()).add(f"{cell.method} {cell.sparsity}")
    assert len(groups) == 3  # dense, and two sparsities
    assert all(len(found) == 1 for found in groups.values())


def test_an_evaluation_has_the_settings_of_its_whole_path(study: Study, tmp_path: Path) -> None:
    plan = study.plan
    cell = next(cell for cell in plan.paths if cell.sparsity == 0.9 and cell.seed == 1)
    run = run_of(study, tmp_path, plan.endpoint(cell))
    (transfer,) = (plan.stages[i] for i in plan.paths[cell] if plan.stages[i].kind == "transfer")
    assert run.parameters["transfer.learning_rate"] == transfer.parameters["learning_rate"]
    assert run.parameters["transfer.seed"] == 1
    assert run.parameters["student_pruning.sparsity"] == 0.9
    assert run.parameters["task"] == "sst2"
    inner = run_of(study, tmp_path, transfer.stage_id).parameters
    assert not [name for name in inner if "." in name]


def test_facts_lead_back_to_the_record(study: Study, tmp_path: Path) -> None:
    stage_id = one(study.plan, "transfer", seed=0)
    run, record = run_of(study, tmp_path, stage_id), Store(tmp_path / "runs").stage(stage_id).read_record()
    assert run.facts["stage_id"] == stage_id
    assert run.facts["record_digest"] == record["digest"]
    assert run.facts["provenance.commit"] == record["provenance"]["commit"]
    assert run.facts["provenance.versions.torch"] == "2.13.0"
    assert run.facts["parent.model"] == record["parents"]["model"]
    assert run.key == f"{stage_id}-{record['digest'][:8]}"


def test_names_are_different_within_a_study(study: Study, tmp_path: Path) -> None:
    names = [run_of(study, tmp_path, stage_id).name for stage_id in study.plan.stages]
    assert len(set(names)) == len(names)


def test_steps_lie_between_start_and_end(study: Study, tmp_path: Path) -> None:
    run = run_of(study, tmp_path, one(study.plan, "transfer"))
    assert [run.time_of(step) for step in (0, 50, 100)] == [1.0, 1.5, 2.0]
