"""One-shot magnitude pruning: from the model of the cell's seed, with a locked training or without any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from stage_runs import Runner, cell, rounds
from tiny_world import NUM_LAYERS

from harness.inputs.families import BERT
from paper_tables.numbers.terms import TERMS

TARGET, KIND = "methods.one_shot:METHOD", "one-shot:pruning"


def test_it_prunes_the_model_of_the_cells_seed_and_distils_from_the_teacher() -> None:
    plan = cell(TARGET, 0.85, seed=3, **{f"{KIND}.epochs": 1.0})
    (pruning,) = (plan.stages[stage_id] for stage_id in rounds(plan, KIND))
    assert plan.stages[pruning.parents["model"]].parameters["seed"] == 3
    assert plan.stages[pruning.parents["teacher"]].parameters["seed"] == 0
    assert {name for name in TERMS if name in pruning.parameters} >= {"epochs", "learning_rate", "batch_size"}


def test_the_two_rankings_are_two_stages_of_kinds_of_their_own() -> None:
    one, other = cell(TARGET, 0.85), cell("methods.one_shot:GLOBAL", 0.85)
    assert rounds(one, KIND)
    assert rounds(other, "one-shot-global:pruning")
    assert not set(rounds(one, KIND)) & set(other.stages)


def test_with_no_epoch_it_is_the_dense_model_with_its_smallest_weights_at_zero(tiny: Any, tmp_path: Path) -> None:
    plan, runner = cell(TARGET, 0.85, **{f"{KIND}.epochs": 0.0}), Runner(tiny.model, tiny.data, tmp_path)
    ran = runner.run(plan)
    dense, weights = runner.ran[ran.spec.parents["model"]].weights, ran.weights
    pruned = {f"{name}.weight" for name in BERT.encoder_matrices(NUM_LAYERS)} | {"bert.pooler.dense.weight"}
    for name, was in dense.items():
        if name in pruned:
            zeros = int(0.85 * was.numel() + 1e-9)
            order = was.flatten().abs().argsort()
            assert (weights[name].flatten()[order[:zeros]] == 0).all(), name
            assert torch.equal(weights[name].flatten()[order[zeros:]], was.flatten()[order[zeros:]]), name
        else:
            assert torch.equal(weights[name], was), name
    assert ran.result.did[-1] == "no training: epochs is 0"
    assert "training" not in ran.result.details


def test_with_no_epoch_nothing_is_distilled_whatever_the_recipe_says() -> None:
    """So a page says so: a teacher's loss has no weight there."""
    plan = cell(TARGET, 0.85, **{f"{KIND}.epochs": 0.0, f"{KIND}.kd_weight": 1.0})
    (pruning,) = (plan.stages[stage_id] for stage_id in rounds(plan, KIND))
    assert (pruning.parameters["ce_weight"], pruning.parameters["kd_weight"]) == (1.0, 0.0)


@pytest.mark.parametrize("epochs", [-1.0, float("nan")])
def test_epochs_below_0_are_refused(epochs: float) -> None:
    with pytest.raises(Exception, match=r"one-shot:pruning\.epochs"):
        cell(TARGET, 0.85, **{f"{KIND}.epochs": epochs})
