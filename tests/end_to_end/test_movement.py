"""Movement pruning on the tiny world, hard and soft, from `harness grid` to int8 and a table."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import tiny_world
import torch
from safetensors.torch import load_file

from harness.cli import main as cli
from harness.compression.mask import num_zeros
from harness.inputs.families import BERT
from harness.specs import StageSpec
from harness.store.store import Store
from harness.studies.study import read_study
from paper_tables.numbers.study_numbers import StudyNumbers, read_numbers
from paper_tables.numbers.terms import SPARSITY, differing_terms
from paper_tables.tables.study_page import study_page

pytestmark = pytest.mark.slow
ENCODER = BERT.encoder_matrices(tiny_world.NUM_LAYERS)
KINDS = ("movement:pruning", "soft-movement:pruning")
SETTINGS = {
    **{f"{kind}.{name}": value for kind in KINDS for name, value in (("epochs", 3.0), ("learning_rate", 0.003))},
    "soft-movement:pruning.score_learning_rate": 1.0,
    "soft-movement:pruning.sparsities.0.9.final_lambda": 20.0,
}


class Finished(NamedTuple):
    store: Store
    numbers: StudyNumbers

    def stage(self, kind: str, parent: str = "") -> tuple[StageSpec, dict[str, Any], dict[str, torch.Tensor]]:
        """The one stage of a kind, whose model is of the parent kind: spec, record's result, weights."""
        stages = self.numbers.study.plan.stages
        (found,) = (
            stage_id
            for stage_id, spec in stages.items()
            if spec.kind == kind and (not parent or stages[spec.parents["model"]].kind == parent)
        )
        weights = load_file(self.store.stage(found).artifact_path / "model.safetensors")
        return stages[found], self.store.stage(found).read_record()["result"], weights


@pytest.fixture(scope="module")
def finished(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    root = tmp_path_factory.mktemp("store")
    chosen = ["--methods", "movement,soft-movement,finetune-pruning", "--tasks", "sst2", "--sparsities", "0.9"]
    arguments = tiny_world.grid_arguments(tiny.model, tiny.data, root, **SETTINGS)
    assert cli.main([*arguments, *chosen, "--quantization", "none,int8"]) == 0
    return Finished(Store(root), read_numbers(Store(root), tiny_world.STUDY))


def zeros(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: weights[f"{name}.weight"] == 0 for name in [*ENCODER, "bert.pooler.dense"]}


def test_movement_pruning_has_the_zeros_of_fine_tune_pruning_matrix_by_matrix(finished: Finished) -> None:
    ours, theirs = (finished.stage(kind)[2] for kind in ("movement:pruning", "task_pruning"))
    counts = [{name: int(each.sum()) for name, each in zeros(weights).items()} for weights in (ours, theirs)]
    assert counts[0] == counts[1]
    assert counts[0]["bert.pooler.dense"] == num_zeros(0.9, 32 * 32)


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_from_the_base_model_and_distils_from_the_task_teacher(finished: Finished, kind: str) -> None:
    spec, result, weights = finished.stage(kind)
    assert finished.numbers.study.plan.stages[spec.parents["teacher"]].kind == "dense"
    assert "model" in spec.inputs
    assert weights.keys() == finished.stage("dense")[2].keys()  # no score, no mask, no teacher
    assert "scored 12 of 12 encoder matrices" in result["did"]
    assert spec.parameters["prune_pooler"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.oracle("O44")
def test_the_pattern_is_kept_by_quantization(finished: Finished, kind: str) -> None:
    _, before, weights = finished.stage(kind)
    _, after, quantized = finished.stage("quantization", parent=kind)
    assert before["sparsity"]["pattern_sha256"] == after["sparsity"]["pattern_sha256"]
    first, last = zeros(weights), zeros(quantized)
    assert all(bool((last[name] | ~first[name]).all()) for name in first)


def test_soft_pruning_is_recorded_shown_and_compared_as_what_it_reached(finished: Finished) -> None:
    _, result, weights = finished.stage("soft-movement:pruning")
    encoder = zeros(weights)
    reached = sum(int(encoder[name].sum()) for name in ENCODER) / tiny_world.ENCODER_WEIGHTS
    assert result["sparsity"]["encoder"] == reached
    assert abs(reached - 0.9) > 0.001, "chance: it was met; take another final_lambda"
    rows = {(row.method, row.bits): row for row in finished.numbers.rows}
    row = rows["soft-movement", 32]
    assert (row.measured_sparsity, row.reached) == ((reached, reached), reached)
    page = study_page(finished.numbers)
    assert f"its sparsity is an outcome; 0.90 was aimed at, {reached:.2%} of the encoder's weights are zero." in page
    assert "No winner is named between soft-movement and" in page
    study = finished.numbers.study
    assert SPARSITY in differing_terms(study, row, rows["movement", 32])
    assert SPARSITY not in differing_terms(study, rows["finetune-pruning", 32], rows["movement", 32])
    assert read_study(finished.store, tiny_world.STUDY).plan.methods["soft-movement"].sparsity_is == "outcome"
