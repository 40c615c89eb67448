"""One suite over the magnitude methods that prune on a task: counts, repeats, resumes, nothing at sparsity 0, QAT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stage_runs
import torch
from stage_runs import Runner, cell
from tiny_world import ENCODER_WEIGHTS, NUM_LAYERS, make_distilbert

from harness.compression.learning_rate import cyclic_factor
from harness.compression.mask import num_zeros
from harness.inputs.families import BERT, DISTILBERT
from harness.planning.method_registry import kind_of
from harness.stages.fine_tuning import fine_tune
from harness.training.modifiers import Factor, Modifier

# Method -> its place, the kind of its last stage.
METHODS = {
    "one-shot": ("methods.one_shot:METHOD", "one-shot:pruning"),
    "one-shot-global": ("methods.one_shot:GLOBAL", "one-shot-global:pruning"),
    "lottery-ticket": ("methods.lottery_ticket:METHOD", "lottery-ticket:round"),
    "imp-lr-rewinding": ("methods.lottery_ticket:LR_REWINDING", "lottery-ticket:round"),
    "gmp-neural-magic": ("methods.gmp_neural_magic:METHOD", "gmp-neural-magic:pruning"),
    "gmp-star": ("methods.gmp_star:METHOD", "gmp-star:pruning"),
}
GLOBAL = ("one-shot-global", "lottery-ticket", "imp-lr-rewinding", "gmp-star")
MATRICES = [f"{name}.weight" for name in BERT.encoder_matrices(NUM_LAYERS)]
POOLER = "bert.pooler.dense.weight"
Start = Callable[..., Runner]


def planned(method: str, sparsity: float, **given: Any) -> Any:
    """A cell of the method in trainings of ten steps; iterative pruning in rounds of two fifths."""
    target, kind = METHODS[method]
    settings = {f"{kind}.epochs": 1.6}
    if kind == "lottery-ticket:round":
        settings["lottery-ticket:round.amount"] = 0.4
    return cell(target, sparsity, **{**settings, **given})


@pytest.fixture
def start(tiny: Any, tmp_path: Path) -> Start:
    """start() -> a runner in a folder of its own."""
    count = iter(range(9))
    return lambda: Runner(tiny.model, tiny.data, tmp_path / str(next(count)))


@pytest.mark.parametrize("method", METHODS)
def test_exact_zeros_in_every_matrix_or_together_and_nothing_else_in_the_file(method: str, start: Start) -> None:
    ran = start().run(planned(method, 0.85))
    weights = ran.weights
    by_matrix = [int((weights[name] == 0).sum()) for name in MATRICES]
    # floor(.85 * 1024) = 870 and floor(.85 * 2048) = 1740 by matrix; .85 of 16,384 is 13,926.4 together.
    if method in GLOBAL:
        assert sum(by_matrix) == 13_926 == num_zeros(0.85, ENCODER_WEIGHTS)
        assert by_matrix != [870, 870, 870, 870, 1740, 1740] * NUM_LAYERS
    else:
        assert by_matrix == [870, 870, 870, 870, 1740, 1740] * NUM_LAYERS
    assert int((weights[POOLER] == 0).sum()) == 870  # of its own, however the encoder is ranked
    assert ran.sparsity["encoder_zeros"] == sum(by_matrix)
    assert any(said.endswith("12 of 12 encoder matrices") for said in ran.result.did)
    assert not [name for name in weights if "parametrizations" in name or "teacher" in name or "mask" in name]
    assert not any(bool((torch.signbit(weights[name]) & (weights[name] == 0)).any()) for name in MATRICES)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_family_without_a_pooler_has_the_same_counts(method: str, tiny: Any, tmp_path: Path) -> None:
    runner = Runner(make_distilbert(tmp_path / "distilbert"), tiny.data, tmp_path / "runs")
    ran = runner.run(planned(method, 0.85))
    by_matrix = [int((ran.weights[f"{name}.weight"] == 0).sum()) for name in DISTILBERT.encoder_matrices(NUM_LAYERS)]
    expected = 13_926 if method in GLOBAL else NUM_LAYERS * (4 * 870 + 2 * 1740)
    assert sum(by_matrix) == ran.sparsity["encoder_zeros"] == expected
    assert (ran.weights["pre_classifier.weight"] != 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_repeats_bit_for_bit_and_another_differs(method: str, start: Start) -> None:
    first, again, other = (start().run(planned(method, 0.5, seed=seed)) for seed in (1, 1, 2))
    assert first.bytes == again.bytes
    assert first.bytes != other.bytes


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 4, 9])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.oracle("O45")
def test_stopped_in_its_last_training_it_ends_with_the_same_bits(method: str, step: int, start: Start) -> None:
    """Of iterative pruning the last is the second round: 0.4, then 0.7."""
    plan = planned(method, 0.7)
    last = stage_runs.rounds(plan, METHODS[method][1])[-1]
    undisturbed, stopped = start(), start()
    whole, resumed = undisturbed.run(plan), stopped.run(plan, stop=(last, step))
    assert whole.spec.parameters["sparsity"] == 0.7
    assert resumed.bytes == whole.bytes
    assert resumed.result.details["training"]["loss_curve"] == whole.result.details["training"]["loss_curve"]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_at_sparsity_0_it_is_plain_training_of_the_same_recipe(method: str, start: Start) -> None:
    """A grid has no such cell, the stage has: the first round of iterative pruning, from the start that it prunes."""
    settings = {"lottery-ticket:round.rewind_head": True} if method == "lottery-ticket" else {}
    plan, runner = planned(method, 0.3, **settings), start()
    runner.run(plan)
    (stage_id,) = stage_runs.rounds(plan, METHODS[method][1])
    spec = replace(plan.stages[stage_id], parameters={**plan.stages[stage_id].parameters, "sparsity": 0.0})

    class Plain(Modifier):
        def factor(self, num_steps: int, warmup_steps: int) -> Factor:
            if method != "gmp-star":
                return super().factor(num_steps, warmup_steps)
            return lambda step: cyclic_factor(step, num_steps=num_steps, warmup_steps=warmup_steps, num_cycles=5)

    ours, plain = (runner.context(stage_id, spec, name) for name in ("ours", "plain"))
    counted = kind_of(spec).function()(ours).details["sparsity"]
    fine_tune(plain, modifier=lambda model, matrices, num_steps: Plain(matrices=matrices))
    assert counted["encoder_zeros"] == 0
    assert (ours.artifact / "model.safetensors").read_bytes() == (plain.artifact / "model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_the_zeros_survive_saving_loading_and_quantization_aware_training(method: str, start: Start) -> None:
    runner = start()
    fp32 = runner.run(planned(method, 0.85))
    int8 = runner.run(planned(method, 0.85, quantization="int8"))
    assert int8.spec.kind == "quantization"
    assert int8.sparsity["pattern_sha256"] == fp32.sparsity["pattern_sha256"]
    for name in [*MATRICES, POOLER]:
        assert not (int8.weights[name][fp32.weights[name] == 0]).any(), name


@pytest.mark.parametrize("method", METHODS)
def test_without_a_matrix_to_prune_it_fails(method: str, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(BERT), "encoder_matrices", lambda self, num_layers: [])
    monkeypatch.setattr("harness.training.modifiers.sparsity_details", lambda model, matrices: {"sparsity": {}})
    with pytest.raises(ValueError, match="is empty"):
        start().run(planned(method, 0.5, **{f"{METHODS[method][1]}.prune_pooler": False}))
