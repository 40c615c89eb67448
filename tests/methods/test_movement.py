"""Movement pruning, hard and soft, through the trainer: masks, gradients, rates, what is frozen, resuming, the end."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy_training import PARAMETERS
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    TrainerCallback,
    set_seed,
)

from harness.compression.mask import num_zeros
from harness.errors import IntegrityError, Interrupted
from harness.inputs.families import BERT, DISTILBERT
from harness.training.checkpoints import Checkpoints
from harness.training.modifiers import Matrices, Modifier
from harness.training.objectives import ClassificationObjective, Distillation
from harness.training.trainer import CompressionTrainer, training_arguments
from methods.movement import stage
from methods.movement.stage import MovementPruning, Ramp, SoftMovementPruning

STEPS, ROWS, BATCH = 20, 18, 4  # an epoch is five batches, the last one of two
SETTINGS: dict[str, Any] = {
    "sparsity": 0.9,
    "ramp_begin": 0.2,
    "ramp_end": 0.8,
    "score_learning_rate": 0.05,
    "freeze_embeddings": True,
    "prune_pooler": True,
}
SOFT: dict[str, Any] = {"final_threshold": 0.1, "final_lambda": 5.0, "least_kept": 0.005}
Make = Callable[..., MovementPruning]


def model(dropout: float = 0.0) -> Any:
    set_seed(0)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=40,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=32,
            initializer_range=0.2,  # so that attention has gradients to speak of
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
    )


def examples() -> datasets.Dataset:
    draw = np.random.default_rng(0)
    rows = [draw.integers(5, 40, 6 + i % 3).tolist() for i in range(ROWS)]
    return datasets.Dataset.from_dict(
        {"input_ids": rows, "labels": [i % 2 for i in range(ROWS)], "length": [len(row) for row in rows]}
    )


def collate(features: list[dict[str, Any]]) -> dict[str, Tensor]:
    width = max(len(f["input_ids"]) for f in features)
    ids = torch.tensor([f["input_ids"] + [0] * (width - len(f["input_ids"])) for f in features])
    labels = torch.tensor([f["labels"] for f in features])
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": labels}


def hard(network: nn.Module, **changed: Any) -> MovementPruning:
    return MovementPruning.of({**SETTINGS, **changed}, Matrices.of(network, BERT), STEPS)


def soft(network: nn.Module, **changed: Any) -> MovementPruning:
    own = {name: changed.pop(name, value) for name, value in SOFT.items()}
    return SoftMovementPruning.of(
        {**SETTINGS, "score_learning_rate": 1.0, **changed}, Matrices.of(network, BERT), STEPS, **own
    )


BOTH = pytest.mark.parametrize("make", [hard, soft])


def trainer(
    network: nn.Module,
    folder: Path,
    hooks: Modifier,
    *watch: TrainerCallback,
    should_stop: Callable[[], bool] = lambda: False,
    micro_batch_size: int | None = None,
    objective: Any = None,
    **changed: Any,
) -> CompressionTrainer:
    hooks.attach(network)
    data = examples()
    return CompressionTrainer(
        model=network,
        args=training_arguments({**PARAMETERS, "batch_size": BATCH, **changed}, output_dir=folder, num_steps=STEPS),
        train_dataset=data,
        data_collator=collate,
        callbacks=[*hooks.callbacks(STEPS), *watch],
        objective=objective or ClassificationObjective(),
        factor=hooks.factor(STEPS, 2),
        lengths=data["length"][:],
        checkpoints=Checkpoints(folder),
        checkpoint_minutes=60.0,
        should_stop=should_stop,
        report=lambda progress: None,
        micro_batch_size=micro_batch_size,
        hooks=hooks,
    )


def trained(folder: Path, make: Make = hard, dropout: float = 0.1, **changed: Any) -> dict[str, Tensor]:
    """The plain weights after a whole run."""
    options = {name: changed.pop(name) for name in ("seed", "micro_batch_size", "max_grad_norm") if name in changed}
    network = model(dropout)
    pruning = make(network, **changed)
    trainer(network, folder, pruning, **options).fit()
    pruning.detach(network)
    return network.state_dict()


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Forward(TrainerCallback):
    """Before every optimizer step: masks, scores and weights by name, as the forward pass had them, with gradients."""

    def __init__(self, pruning: MovementPruning) -> None:
        self.pruning, self.steps = pruning, list[dict[str, Any]]()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        network = kwargs["model"]
        found = {}
        for name, mask in self.pruning.masks.items():
            weight = network.get_submodule(name).parametrizations["weight"].original
            found[name] = SimpleNamespace(
                mask=mask.mask.clone(),
                scores=mask.scores.detach().clone(),
                score_gradient=mask.scores.grad.clone(),
                weight=weight.detach().clone(),
                gradient=weight.grad.clone(),
            )
        self.steps.append(found)


# -- masks


@pytest.mark.oracle("O38")
def test_every_forward_pass_is_made_with_the_top_scores_of_the_share_that_its_step_keeps(tmp_path: Path) -> None:
    """Of 20 steps the ramp runs from 4 to 16: v(t) = .1 + .9 (1 - (t - 4) / 12)^3, 1 before and .1 after."""
    network = model(dropout=0.1)
    pruning = hard(network)
    seen = Forward(pruning)
    trainer(network, tmp_path, pruning, seen).fit()
    shares = [1.0] * 5 + [0.1 + 0.9 * (1 - (t - 4) / 12) ** 3 for t in range(5, 16)] + [0.1] * 4
    for share, matrices in zip(shares, seen.steps, strict=True):
        for found in matrices.values():
            numel = found.mask.numel()
            kept = max(int(share * numel + 1e-9), numel - num_zeros(0.9, numel))
            assert int(found.mask.sum()) == kept
            assert kept == numel or found.scores[found.mask].min() >= found.scores[~found.mask].max()
    assert len(seen.steps[0]) == 13
    assert any((seen.steps[t + 1][n].mask & ~seen.steps[t][n].mask).any() for t in range(19) for n in seen.steps[0])


def test_the_last_masks_follow_the_last_scores_by_exact_count(tmp_path: Path) -> None:
    network = model()
    pruning = hard(network)
    trainer(network, tmp_path, pruning).fit()
    scores = {name: mask.scores.detach().clone() for name, mask in pruning.masks.items()}
    report = pruning.detach(network)
    for name, each in scores.items():
        weight = network.get_submodule(name).weight
        zero = weight == 0
        assert isinstance(weight, nn.Parameter)
        assert int(zero.sum()) == num_zeros(0.9, zero.numel())
        assert each[~zero].min() >= each[zero].max()
        assert not torch.signbit(weight[zero]).any()
    assert not [name for name in network.state_dict() if "scores" in name or "parametrizations" in name]
    assert report.summary == [
        "scored 12 of 12 encoder matrices",
        "scored 1 of 1 pooler matrices",
        "froze 5 parameters of the embeddings",
        "kept the top scores of each matrix, sparsity 0.9",
    ]
    wanted = 2 * (4 * num_zeros(0.9, 256) + 2 * num_zeros(0.9, 512))
    assert report.details["sparsity"]["encoder_zeros"] == wanted
    assert report.details["schedule"] == {
        "ramp_begin": 4,
        "ramp_end": 16,
        "first_event": 0,
        "last_event": 19,
        "frequency": 1,
    }


def test_a_mask_of_another_count_is_not_made_permanent(monkeypatch: pytest.MonkeyPatch) -> None:
    network = model()
    pruning = hard(network)
    pruning.attach(network)
    monkeypatch.setattr(stage, "top_mask", lambda scores, kept: torch.ones_like(scores, dtype=torch.bool))
    with pytest.raises(IntegrityError, match="0 zeros, expected 230"):
        pruning.detach(network)


@pytest.mark.oracle("O38")
def test_soft_masks_are_the_sigmoids_above_a_threshold_that_rises_as_the_share_falls(tmp_path: Path) -> None:
    network = model(dropout=0.1)
    pruning = soft(network)
    seen = Forward(pruning)
    trainer(network, tmp_path, pruning, seen).fit()
    thresholds = [0.0] * 5 + [0.1 * (1 - (1 - (t - 4) / 12) ** 3) for t in range(5, 16)] + [0.1] * 4
    for threshold, matrices in zip(thresholds, seen.steps, strict=True):
        for found in matrices.values():
            assert torch.equal(found.mask, 1 / (1 + torch.exp(-found.scores)) > threshold)
    assert all(found.mask.all() for found in seen.steps[0].values())
    assert not all(found.mask.all() for found in seen.steps[-1].values())


def test_what_soft_pruning_reached_is_counted_and_told_beside_what_was_aimed_at(tmp_path: Path) -> None:
    """More penalty, more zeros; and no two matrices need have the same share."""
    reached = []
    for weight in (0.0, 5.0, 500.0):
        network = model()
        pruning = soft(network, final_lambda=weight, sparsity=0.85)
        trainer(network, tmp_path / str(weight), pruning, max_grad_norm=1e9).fit()
        report = pruning.detach(network)
        counts = report.details["sparsity"]
        zeros = sum(int((network.get_submodule(name).weight == 0).sum()) for name in pruning.matrices.encoder)
        assert counts["encoder_zeros"] == zeros
        told = f"reached sparsity {zeros / 4096:.4f}, aimed at 0.85, by a penalty of {weight:g}"
        assert report.summary[-1] == told
        reached.append(counts["encoder"])
        assert len(set(counts["zeros_by_matrix"].values())) > 2 or weight == 500
    assert reached == sorted(reached)
    assert reached[-1] > reached[0] + 0.2
    assert report.details["threshold"] == {"ramp_begin": 4, "ramp_end": 16, "final": 0.1}
    assert "schedule" not in report.details


# -- gradients, rates and decay


@BOTH
def test_gradients_are_those_of_the_plain_model_with_masked_weights(tmp_path: Path, make: Make) -> None:
    """By another road: a copy whose plain weights are W * M gives dL/dW'; then M * that for W, W * that for S."""
    network = model()
    plain = copy.deepcopy(network)
    pruning = make(network, freeze_embeddings=False)
    seen, batches = Forward(pruning), list[dict[str, Tensor]]()

    def objective(student: Any, inputs: Any, full: Any = None) -> Tensor:
        batches.append(dict(inputs))
        return ClassificationObjective()(student, inputs, full)

    weights: list[dict[str, Tensor]] = []

    class Plain(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            given = kwargs["model"]
            weights.append(
                {n: given.get_parameter(n).detach().clone() for n, _ in plain.named_parameters() if n in own}
            )

    own = {name for name, _ in network.named_parameters()} - {f"{name}.weight" for name in pruning.matrices.encoder}
    own -= {"bert.pooler.dense.weight"}
    trainer(network, tmp_path, pruning, seen, Plain(), objective=objective, max_grad_norm=1e9).fit()
    step = 12  # in the ramp
    with torch.no_grad():
        for name, value in weights[step].items():
            plain.get_parameter(name).copy_(value)
        for name, found in seen.steps[step].items():
            plain.get_parameter(f"{name}.weight").copy_(found.weight * found.mask)
    ClassificationObjective()(plain, batches[step]).backward()
    tau = 0.1 * (1 - (1 - 8 / 12) ** 3)
    for name, found in seen.steps[step].items():
        gradient = plain.get_parameter(f"{name}.weight").grad
        assert gradient is not None
        wanted = found.weight * gradient
        if make is soft:
            s = torch.sigmoid(found.scores)
            wanted = wanted + 5.0 * tau / 0.1 * s * (1 - s) / s.numel() / 13
        torch.testing.assert_close(found.gradient, found.mask * gradient, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(found.score_gradient, wanted, rtol=1e-4, atol=1e-7)
        assert not found.gradient[~found.mask].any()
        assert found.score_gradient[~found.mask].any() or bool(found.mask.all())


def test_scores_have_their_own_rate_and_no_decay_and_the_schedule_is_one_for_all(tmp_path: Path) -> None:
    rates: list[dict[float, float]] = []

    class Rates(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            groups = kwargs["optimizer"].param_groups
            scores = {id(mask.scores) for mask in pruning.masks.values()}
            (own,) = [group for group in groups if {id(p) for p in group["params"]} & scores]
            assert {id(p) for p in own["params"]} == scores
            assert own["weight_decay"] == 0.0
            assert {group["weight_decay"] for group in groups if group is not own} == {0.0, PARAMETERS["weight_decay"]}
            rates.append({0: groups[0]["lr"] / PARAMETERS["learning_rate"], 1: own["lr"] / 0.05})

    network = model()
    pruning = hard(network)
    trainer(network, tmp_path, pruning, Rates()).fit()
    linear = [0, 0.5, *((20 - t) / 18 for t in range(2, 20))]
    assert [each[0] for each in rates] == pytest.approx(linear)
    assert [each[1] for each in rates] == pytest.approx(linear)


def test_the_rate_of_the_scores_changes_no_mask_of_hard_pruning(tmp_path: Path) -> None:
    """Scores begin at 0 and Adam's steps are multiples of the rate: four times the rate is four times each score."""
    one, other = (trained(tmp_path / str(rate), score_learning_rate=rate) for rate in (0.05, 0.2))
    assert equal(one, other)


@BOTH
@pytest.mark.parametrize("frozen", [True, False])
def test_embeddings_are_frozen_where_the_recipe_says_so(tmp_path: Path, make: Make, frozen: bool) -> None:
    before = {name: value.clone() for name, value in model().state_dict().items() if "embeddings" in name}
    after = trained(tmp_path, make, freeze_embeddings=frozen)
    assert {torch.equal(before[name], after[name]) for name in before if "position_ids" not in name} == {frozen}


def test_the_embeddings_of_distilbert_are_found_and_a_model_without_any_is_refused() -> None:
    config = DistilBertConfig(vocab_size=40, dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=32)
    network = DistilBertForSequenceClassification(config)
    pruning = MovementPruning.of(SETTINGS, Matrices.of(network, DISTILBERT), STEPS)
    pruning.attach(network)
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in network.named_parameters() if ".embeddings." in name}
    assert pruning.summary()[-1] == f"froze {len(frozen)} parameters of the embeddings"
    with pytest.raises(ValueError, match="freeze_embeddings=false"):
        hard(model()).attach(nn.Sequential(nn.Linear(2, 2)))


# -- edges


@BOTH
def test_at_sparsity_0_it_is_plain_fine_tuning_bit_for_bit(tmp_path: Path, make: Make) -> None:
    network = model(0.1)
    trainer(network, tmp_path / "plain", Modifier(matrices=Matrices.of(network, BERT))).fit()
    zero = trained(tmp_path / "zero", make, sparsity=0.0, freeze_embeddings=False)
    assert equal(network.state_dict(), zero)


@BOTH
def test_nothing_to_prune_is_refused(make: Make) -> None:
    network = model()
    pruning = make(network)
    pruning.matrices = Matrices(encoder=(), pooler=())
    with pytest.raises(ValueError, match="names is empty"):
        pruning.attach(network)


def test_without_the_pooler_it_is_not_scored() -> None:
    network = model()
    pruning = hard(network, prune_pooler=False)
    pruning.attach(network)
    assert [*pruning.masks] == [*pruning.matrices.encoder]
    assert "scored 1 of 1 pooler matrices" not in pruning.summary()


@pytest.mark.oracle("O38")
def test_the_published_fractions_are_the_steps_of_the_squad_recipe() -> None:
    """N = 55,320 and a warm-up of 5,400 steps: from 5,400 to 55,320 - 2 * 5,400."""
    from methods.movement import MOVEMENT_PRUNING

    defaults = {name: parameter.default for name, parameter in MOVEMENT_PRUNING.recipe.items()}
    assert Ramp.of(defaults, 55_320) == Ramp(begin=5400, end=44_520, num_steps=55_320)


def test_a_run_too_short_for_a_ramp_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"num_steps=3: ramp_begin=0.4 and ramp_end=0.45 are steps 1 and 1, an empty ramp. Train longer",
    ):
        Ramp.of({"ramp_begin": 0.4, "ramp_end": 0.45}, 3)


@pytest.mark.parametrize("run", ["movement_pruning", "soft_movement_pruning"])
def test_every_parameter_of_the_stage_reaches_the_modifier(monkeypatch: pytest.MonkeyPatch, run: str) -> None:
    made: list[Any] = []
    network = model()
    matrices = Matrices.of(network, BERT)
    monkeypatch.setattr(stage, "fine_tune", lambda context, modifier: made.append(modifier(network, matrices, 100)))
    given = {
        "sparsity": 0.7,
        "ramp_begin": 0.1,
        "ramp_end": 0.6,
        "score_learning_rate": 0.3,
        "freeze_embeddings": False,
        "prune_pooler": False,
        "final_threshold": 0.2,
        "final_lambda": 9.0,
        "least_kept": 0.1,
    }
    getattr(stage, run)(SimpleNamespace(parameters=given))
    (pruning,) = made
    assert pruning.ramp == Ramp(begin=10, end=60, num_steps=100)
    assert (pruning.sparsity, pruning.score_learning_rate) == (0.7, 0.3)
    assert (pruning.freeze_embeddings, pruning.with_pooler) == (False, False)
    if run.startswith("soft"):
        assert (pruning.final_threshold, pruning.final_lambda, pruning.least_kept) == (0.2, 9.0, 0.1)


# -- the same again


@pytest.mark.slow
@BOTH
def test_a_run_repeats_bit_for_bit_and_another_seed_differs(tmp_path: Path, make: Make) -> None:
    first, again, other = (trained(tmp_path / str(n), make, seed=seed) for n, seed in enumerate((0, 0, 1)))
    assert equal(first, again)
    assert not equal(first, other)


@pytest.mark.slow
@BOTH
@pytest.mark.oracle("O45")
@pytest.mark.parametrize("stop", sorted(np.random.default_rng(14).choice(range(2, 19), 3, replace=False).tolist()))
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path, make: Make, stop: int) -> None:
    whole = trained(tmp_path / "whole", make)
    network, calls = model(0.1), iter(range(1, 100))
    with pytest.raises(Interrupted):
        trainer(network, tmp_path / "cut", make(network), should_stop=lambda: next(calls) == stop).fit()
    set_seed(99)
    network = model(0.1)
    pruning = make(network)
    trainer(network, tmp_path / "cut", pruning).fit()
    pruning.detach(network)
    assert equal(whole, network.state_dict())


@pytest.mark.slow
@BOTH
def test_micro_batches_make_the_step_of_the_whole_batch(tmp_path: Path, make: Make) -> None:
    """Without dropout; the penalty counts once. Two losses that differ by rounding may part at a tie: few steps."""
    losses = []
    for size in (None, 2):
        network = model()
        pruning = make(network)
        losses.append(trainer(network, tmp_path / str(size), pruning, micro_batch_size=size).fit().losses)
    np.testing.assert_allclose(losses[0][:6], losses[1][:6], rtol=1e-5, atol=1e-6)


def test_the_teacher_stays_as_it_was_and_outside_the_student(tmp_path: Path) -> None:
    teacher, network = model(), model(0.1)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    kd = Distillation(teacher=teacher, ce_weight=0.5, kd_weight=0.5, temperature=2.0)
    pruning = hard(network)
    trainer(network, tmp_path, pruning, objective=ClassificationObjective(distillation=kd)).fit()
    pruning.detach(network)
    assert equal(before, teacher.state_dict())
    assert network.state_dict().keys() == before.keys()
