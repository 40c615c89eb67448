"""Iterative magnitude pruning: the rounds of a plan, what they share and cost, what is rewound and what is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from stage_runs import SETTINGS, Runner, cell, rounds
from tiny_world import ENCODER_WEIGHTS, NUM_LAYERS
from transformers import TrainerCallback

from harness.compression.mask import num_zeros
from harness.grids.workload import InputSizes, work_of
from harness.inputs.data_sources import Sizes
from harness.inputs.families import BERT
from harness.inputs.shapes import HUB_SHAPES
from harness.planning.graph import Plan
from harness.planning.method_template import templates
from harness.tasks import get_task
from harness.testing import planned
from methods.lottery_ticket import stage

TICKET, KEPT, KIND = "methods.lottery_ticket:METHOD", "methods.lottery_ticket:LR_REWINDING", "lottery-ticket:round"
STILL = {f"{KIND}.learning_rate": 1e-30}  # a training that moves no weight: 1 - 1e-30 is 1 in any float
ENCODER = [f"{name}.weight" for name in BERT.encoder_matrices(NUM_LAYERS)]


def plan_of(target: str, sparsities: Sequence[float], **settings: Any) -> Plan:
    return planned(target, settings={**SETTINGS, f"{KIND}.epochs": 1.0, **settings}, sparsities=sparsities)


def shares(plan: Plan) -> list[tuple[float, str]]:
    stages = (plan.stages[stage_id].parameters for stage_id in rounds(plan, KIND))
    return [(parameters["sparsity"], parameters["rounding"]) for parameters in stages]


# -- the plan


def test_a_tenth_of_the_original_weights_a_round_up_to_the_cells_sparsity() -> None:
    tenths = [(share / 10, "down") for share in range(1, 9)]
    assert shares(plan_of(TICKET, [0.85])) == [*tenths, (0.85, "down")]


def test_cells_share_the_rounds_that_they_have_alike() -> None:
    """0.85 and 0.9: eight rounds and one more each; 0.5 and 0.8 are rounds of them. Alone, sweep's would be 64."""
    assert len(rounds(plan_of(TICKET, [0.85, 0.9]), KIND)) == 10
    assert len(rounds(plan_of(TICKET, [0.5, 0.8, 0.85, 0.9]), KIND)) == 10
    sweep = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97]
    assert len(rounds(plan_of(TICKET, sweep), KIND)) == 12


def test_a_fifth_of_what_remains_a_round_and_the_last_as_exact_as_a_cell() -> None:
    plan = plan_of(TICKET, [0.6], **{f"{KIND}.amount": 0.2, f"{KIND}.amount_of": "remaining"})
    assert shares(plan) == [(0.2, "nearest"), (0.36, "nearest"), (0.488, "nearest"), (0.5904, "nearest"), (0.6, "down")]


def test_weights_are_rewound_by_the_start_and_chosen_by_the_model_trained_before() -> None:
    plan = plan_of(TICKET, [0.3])
    first, second, last = (plan.stages[stage_id] for stage_id in rounds(plan, KIND))
    assert plan.stages[first.parents["mask"]].kind == "dense"
    assert (second.parents["mask"], last.parents["mask"]) == (first.stage_id, second.stage_id)
    assert all("model" not in spec.parents and spec.inputs["model"] == "weights" for spec in (first, second, last))


def test_with_learning_rate_rewinding_a_round_goes_on_with_the_trained_weights() -> None:
    plan = plan_of(KEPT, [0.3])
    first, second, last = (plan.stages[stage_id] for stage_id in rounds(plan, KIND))
    assert plan.stages[first.parents["model"]].kind == "dense"
    assert (second.parents["model"], last.parents["model"]) == (first.stage_id, second.stage_id)
    assert all("mask" not in spec.parents for spec in (first, second, last))


def test_without_distillation_no_round_has_a_teacher() -> None:
    plan = plan_of("methods.lottery_ticket:WITHOUT_KD", [0.3])
    assert all("teacher" not in spec.parents and "kd_weight" not in spec.parameters for spec in plan.stages.values())


@pytest.mark.parametrize("target", [TICKET, KEPT])
def test_every_stage_of_a_plan_has_a_name_of_its_own(target: str) -> None:
    plan = plan_of(target, [0.3, 0.35])
    labels = [plan.label(stage_id) for stage_id in plan.stages]
    assert len(set(labels)) == len(labels)
    assert f"{KIND} 0.35 of dense model sst2 seed 0" in labels or f"{KIND} model sst2 0.35 seed 0" in labels


def test_an_estimate_counts_every_round() -> None:
    """At 0.9: nine rounds of the work of a distilled training, 8 operations a weight and token; the teacher's are 6."""
    plan = plan_of(TICKET, [0.9], **{"dense.epochs": 1.0})
    sizes = InputSizes(shapes={"model": HUB_SHAPES["bert-base"]}, data=Sizes(rows={"sst2/train": 96}, text_bytes={}))
    work = {kind: [work_of(plan.stages[i], plan, sizes) for i in rounds(plan, kind)] for kind in (KIND, "dense")}
    tokens = 96 * 13  # a typical sentence of sst2 has 13
    assert work["dense"] == [tokens * 6 * 84_934_656]
    assert work[KIND] == [tokens * 8 * 84_934_656] * 9


def test_a_study_knows_the_cells_of_any_number_of_rounds_as_the_methods_own() -> None:
    for target, name in ((TICKET, "lottery-ticket"), (KEPT, "imp-lr-rewinding")):
        for settings in ({}, {f"{KIND}.amount": 0.3}):
            plan = plan_of(target, [0.05, 0.9], **settings)
            for each in plan.paths:
                assert any(form.mismatch(plan, each) is None for form in templates(name, get_task("sst2"), "none"))
                other = "imp-lr-rewinding" if name == "lottery-ticket" else "lottery-ticket"
                assert all(form.mismatch(plan, each) for form in templates(other, get_task("sst2"), "none"))


# -- what a round does


@pytest.fixture
def runner(tiny: Any, tmp_path: Path) -> Runner:
    return Runner(tiny.model, tiny.data, tmp_path)


def base_weights(tiny: Any) -> dict[str, torch.Tensor]:
    return {f"bert.{name}": tensor for name, tensor in load_file(tiny.model / "model.safetensors").items()}


@pytest.mark.oracle("O39")
def test_after_every_rewind_what_is_left_has_the_pre_trained_weights(tiny: Any, runner: Runner) -> None:
    plan = cell(TICKET, 0.35, **{**STILL, f"{KIND}.epochs": 0.3})
    runner.run(plan)
    base, zeros = base_weights(tiny), []
    for stage_id in rounds(plan, KIND):
        ran = runner.ran[stage_id]
        for name, was in base.items():
            live = ran.weights[name] != 0 if name in ENCODER or "pooler" in name else torch.ones_like(was).bool()
            if "bias" not in name:  # those are 0 and so move by the rate
                assert torch.equal(ran.weights[name][live], was[live]), name  # embeddings are rewound too
        zeros.append(sum(int((ran.weights[name] == 0).sum()) for name in ENCODER))
    # A tenth of 16,384 is 1638.4.
    assert zeros == [1638, 3276, 4915, num_zeros(0.35, ENCODER_WEIGHTS)]


def test_the_trained_weights_say_what_goes(runner: Runner) -> None:
    plan = cell(TICKET, 0.1, **{**STILL, f"{KIND}.epochs": 0.3, "dense.learning_rate": 0.05})
    ran = runner.run(plan)
    trained = runner.ran[ran.spec.parents["mask"]].weights
    magnitudes = torch.cat([trained[name].flatten() for name in ENCODER]).abs()
    went = torch.cat([ran.weights[name].flatten() for name in ENCODER]) == 0
    assert magnitudes[went].max() <= magnitudes[~went].min()
    start = torch.cat([base_weights_of(runner)[name].flatten() for name in ENCODER]).abs()
    assert start[went].max() > start[~went].min()  # which the pre-trained weights would not have said


def base_weights_of(runner: Runner) -> dict[str, torch.Tensor]:
    return {f"bert.{name}": tensor for name, tensor in load_file(runner.model / "model.safetensors").items()}


@pytest.mark.parametrize("rewinds", [False, True])
def test_the_head_stays_trained_as_in_the_released_code_or_is_drawn_anew(runner: Runner, rewinds: bool) -> None:
    plan = cell(TICKET, 0.1, **{**STILL, f"{KIND}.epochs": 0.3, f"{KIND}.rewind_head": rewinds})
    ran = runner.run(plan)
    trained = runner.ran[ran.spec.parents["mask"]].weights
    assert torch.equal(ran.weights["classifier.weight"], trained["classifier.weight"]) is not rewinds


def test_with_learning_rate_rewinding_what_is_left_has_the_trained_weights(runner: Runner) -> None:
    plan = cell(KEPT, 0.2, **{**STILL, f"{KIND}.epochs": 0.3})
    ran = runner.run(plan)
    dense = runner.ran[rounds(plan, "dense")[0]].weights
    for name, was in dense.items():
        live = ran.weights[name] != 0
        assert torch.equal(ran.weights[name][live], was[live]), name


class Watch(TrainerCallback):
    def __init__(self) -> None:
        self.moments: list[int] = []
        self.rates: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            self.moments.append(len(kwargs["optimizer"].state))

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.rates.append(kwargs["optimizer"].param_groups[0]["lr"])


@pytest.mark.oracle("O39")
@pytest.mark.parametrize("target", [TICKET, KEPT])
def test_every_round_has_empty_moments_and_a_whole_learning_rate_schedule(
    target: str, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four steps of 24 examples each, the first of them warm-up: 0, 1, 2/3, 1/3 of the peak, twice."""
    watch = Watch()
    monkeypatch.setattr(stage.Round, "callbacks", lambda self, num_steps: [watch])
    settings = {f"{KIND}.batch_size": 24, f"{KIND}.warmup_fraction": 0.25, f"{KIND}.learning_rate": 0.003}
    runner.run(cell(target, 0.2, **{**settings, f"{KIND}.epochs": 1.0}))
    assert watch.moments == [0, 0]
    assert watch.rates == pytest.approx([0, 0.003, 0.002, 0.001] * 2)
