"""The switches between the paper's method and its variants: each changes what it should in a run, and nothing else.

Two runs of one toy, the same but for the switch, are compared in what they do at every step.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from toy_training import BERT_LAYER, PARAMETERS, toy_config
from transformers import BertForSequenceClassification, TrainerCallback, set_seed

from harness.compression.mask import num_zeros
from harness.compression.quantization import QuantizedLinear
from harness.errors import Interrupted
from harness.inputs.families import BERT
from harness.stages import fine_tuning
from harness.training.checkpoints import Checkpoints
from harness.training.modifiers import GradualPruning, LockedQuantization, Matrices, Modifier
from harness.training.objectives import ClassificationObjective, Distillation
from harness.training.trainer import CompressionTrainer, training_arguments

STEPS = 20
ENCODER = [f"bert.encoder.layer.0.{name}" for name in BERT_LAYER]
POOLER = "bert.pooler.dense"
PRUNING: dict[str, Any] = {
    "sparsity": 0.5,
    "initial_sparsity": 0.0,
    "ramp_begin": 0.0,
    "ramp_end": 0.4,
    "first_event": 0.0,
    "last_event": 0.8,
    "frequency": 0.1,
    "ranking": "local",
    "lr_rewind": True,
    "prune_pooler": True,
}
HALF = {"ce_weight": 0.5, "kd_weight": 0.5, "temperature": 2.0}
ROWS = [{"input_ids": [5 + (3 * row + place) % 15 for place in range(6)], "labels": row % 2} for row in range(8)]


def toy(seed: int = 0) -> Any:
    set_seed(seed)
    dropouts = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertForSequenceClassification(toy_config(**dropouts, initializer_range=0.3))


def stack(features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    ids = torch.tensor([feature["input_ids"] for feature in features])
    labels = torch.tensor([feature["labels"] for feature in features])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


@dataclass
class Seen(TrainerCallback):
    """After every step: the rate it was made with, masks, shadows, and whether rounding was on in it."""

    rates: list[float] = field(default_factory=list)
    masks: list[dict[str, torch.Tensor]] = field(default_factory=list)
    rounded: list[bool] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.rates.append(kwargs["optimizer"].param_groups[0]["lr"])
        layers = [module for module in kwargs["model"].modules() if isinstance(module, QuantizedLinear)]
        self.rounded.append(bool(layers) and all(module.is_active for module in layers))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        parametrizations = {
            name: module.parametrizations.weight[0].mask.clone()
            for name, module in kwargs["model"].named_modules()
            if hasattr(module, "parametrizations")
        }
        self.masks.append(parametrizations)

    def zeros(self) -> list[list[int]]:
        return [[int((~mask).sum()) for mask in masks.values()] for masks in self.masks]


def run(
    folder: Path, modifier: Modifier, network: Any, kd: Distillation | None = None, stops: tuple[int, ...] = ()
) -> Seen:
    seen = Seen()
    modifier.attach(network)
    made = CompressionTrainer(
        model=network,
        args=training_arguments({**PARAMETERS, "weight_decay": 0.01}, output_dir=folder, num_steps=STEPS),
        train_dataset=ROWS,
        data_collator=stack,
        callbacks=[*modifier.callbacks(STEPS), seen],
        objective=ClassificationObjective(distillation=kd),
        factor=modifier.factor(STEPS, 2),
        lengths=[6] * len(ROWS),
        checkpoints=Checkpoints(folder),
        checkpoint_minutes=60.0,
        should_stop=lambda: len(seen.masks) in stops,
        report=lambda progress: None,
        hooks=modifier,
    )
    seen.losses = made.fit().losses
    return seen


def pruned(folder: Path, **switch: Any) -> Seen:
    network = toy()
    made = GradualPruning.of({**PRUNING, **switch}, Matrices.of(network, BERT), STEPS)
    name = "-".join(map(str, switch.values())) or "default"
    return run(folder / name, made, network)


# -- one field of the modifier for each parameter


@pytest.mark.parametrize(
    ("name", "value", "field_name"),
    [
        ("lr_rewind", False, "rewind"),
        ("ranking", "global", "ranking"),
        ("prune_pooler", False, "with_pooler"),
        ("regrowth", False, "regrowth"),
        ("tie_rule", "threshold", "tie_rule"),
    ],
)
def test_a_switch_of_pruning_is_one_field_and_its_default_todays_behaviour(
    name: str, value: Any, field_name: str
) -> None:
    matrices = Matrices.of(toy(), BERT)
    default = GradualPruning.of(PRUNING, matrices, STEPS)
    assert (default.regrowth, default.tie_rule) == (True, "exact")
    assert GradualPruning.of({**PRUNING, "regrowth": True, "tie_rule": "exact"}, matrices, STEPS) == default
    switched = GradualPruning.of({**PRUNING, name: value}, matrices, STEPS)
    assert switched != default
    assert switched == replace(default, **{field_name: value})


@pytest.mark.parametrize(("given", "begin"), [({}, 0.0), ({"quantization_begin": 0.25}, 0.25)])
def test_the_start_of_quantization_reaches_its_modifier(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, float], begin: float
) -> None:
    found: dict[str, Any] = {}
    monkeypatch.setattr(fine_tuning, "fine_tune", lambda context, **options: found.update(options))
    monkeypatch.setattr(fine_tuning, "family_of", lambda folder: BERT)
    parameters = {"lock_pooler": True, "weight_scale": "max127", "activation_momentum": 0.1, **given}
    context: Any = SimpleNamespace(parameters=parameters, parent_artifacts={"model": None})
    fine_tuning.quantization(context)
    network = toy()
    assert found["modifier"](network, Matrices.of(network, BERT), STEPS).begin == begin


# -- what a run does


def test_rewinding_changes_the_rates_of_the_ramp_and_no_event(tmp_path: Path) -> None:
    """N = 20, two steps of warm-up, a ramp of 8 with rewinds every 2: D = 12, d = 10."""
    on, off = pruned(tmp_path), pruned(tmp_path, lr_rewind=False)
    saw_tooth = [0, 0.5, 1.2, 1.1, 1.2, 1.1, 1.2, 1.1]
    assert on.rates == pytest.approx([0.01 * each for each in [*saw_tooth, *((20 - t) / 10 for t in range(8, 20))]])
    assert off.rates == pytest.approx([0.01 * each for each in [0, 0.5, *((20 - t) / 18 for t in range(2, 20))]])
    assert on.zeros() == off.zeros()
    assert on.losses[:2] == off.losses[:2]
    assert on.losses != off.losses


def test_without_regrowth_masks_only_shrink_by_the_same_counts_and_rates(tmp_path: Path) -> None:
    on, off = pruned(tmp_path), pruned(tmp_path, regrowth=False)
    assert on.zeros() == off.zeros()
    assert on.rates == off.rates

    def returned(seen: Seen) -> int:
        pairs = zip(seen.masks, seen.masks[1:], strict=False)
        return sum(int((after[name] & ~before[name]).sum()) for before, after in pairs for name in after)

    assert returned(off) == 0
    assert returned(on) > 0
    first = next(step for step, zeros in enumerate(on.zeros()) if sum(zeros))
    for step in range(first + 1):  # until something was pruned there was nothing to return
        assert all(torch.equal(mask, off.masks[step][name]) for name, mask in on.masks[step].items())


def test_the_threshold_rule_takes_all_ties_and_is_the_exact_rule_where_there_are_none(tmp_path: Path) -> None:
    exact, threshold = pruned(tmp_path), pruned(tmp_path, tie_rule="threshold")
    assert exact.losses == threshold.losses
    assert exact.zeros() == threshold.zeros()
    zeros = {}
    for rule in ("exact", "threshold"):
        network = toy()
        with torch.no_grad():
            for name in ENCODER:
                network.get_submodule(name).weight.fill_(0.25)
        made = GradualPruning.of({**PRUNING, "tie_rule": rule}, Matrices.of(network, BERT), STEPS)
        made.attach(network)
        (callback,) = made.callbacks(STEPS)
        nothing: Any = None
        callback.on_step_end(nothing, SimpleNamespace(global_step=9), nothing, model=network)  # type: ignore[arg-type]
        zeros[rule] = [int((network.get_submodule(name).weight == 0).sum()) for name in (*ENCODER, POOLER)]
    assert zeros["exact"] == [32] * 7
    assert zeros["threshold"] == [64] * 6 + [32]


def test_a_global_ranking_moves_zeros_between_matrices_and_keeps_their_sum(tmp_path: Path) -> None:
    local, ranked = pruned(tmp_path), pruned(tmp_path, ranking="global")
    assert local.rates == ranked.rates
    assert local.zeros()[-1] == [32] * 7
    assert ranked.zeros()[-1] != local.zeros()[-1]
    for one, other in zip(local.zeros(), ranked.zeros(), strict=True):
        # local: each matrix is rounded down by itself
        assert sum(one) <= sum(other) <= sum(one) + 6
    assert sum(ranked.zeros()[-1]) == num_zeros(0.5, 7 * 64)


def test_the_pooler_is_in_or_out_and_the_encoders_zeros_are_the_same(tmp_path: Path) -> None:
    with_it, without = pruned(tmp_path), pruned(tmp_path, prune_pooler=False)
    assert with_it.rates == without.rates
    assert with_it.masks[0].keys() - without.masks[0].keys() == {POOLER}
    assert [zeros[:6] for zeros in with_it.zeros()] == without.zeros()


@pytest.mark.parametrize(
    "changed", [{"ce_weight": 1.0, "kd_weight": 0.0}, {"kd_weight": 0.9, "ce_weight": 0.1}, {"temperature": 4.0}]
)
def test_distillation_changes_the_loss_and_neither_rates_nor_events(tmp_path: Path, changed: dict[str, float]) -> None:
    """All weight on the hard labels is a run without a teacher."""
    seen = []
    for weights in (None, HALF, changed):
        network = toy()
        kd = None
        if weights is not None:
            kd = Distillation(teacher=toy(seed=1), **{**HALF, **weights})
        made = GradualPruning.of(PRUNING, Matrices.of(network, BERT), STEPS)
        seen.append(run(tmp_path / str(len(seen)), made, network, kd))
    plain, half, other = seen
    assert plain.rates == half.rates == other.rates
    assert plain.zeros() == half.zeros() == other.zeros()
    assert half.losses[0] != other.losses[0]
    if changed.get("kd_weight") == 0.0:
        assert other.losses == pytest.approx(plain.losses, rel=1e-5)
    else:
        assert other.losses[0] != plain.losses[0]


# -- quantization


def quantized(folder: Path, begin: float, stops: tuple[int, ...] = (), **changed: Any) -> tuple[Seen, Any, Modifier]:
    """With stops: stopped after those steps and begun again in a process that knows nothing."""
    for stop in (*((each,) for each in stops), ()):
        network = toy()
        with torch.no_grad():
            for name in ENCODER:
                network.get_submodule(name).weight[:, ::2] = 0.0
        linears = [*ENCODER, POOLER, "classifier"]
        made = LockedQuantization(
            matrices=Matrices.of(network, BERT),
            with_pooler=True,
            linears=linears,
            fp32_outputs=linears,
            begin=begin,
            **{"weight_scale": "max127", "activation_momentum": 0.01, **changed},
        )
        try:
            return run(folder, made, network, stops=stop), network, made
        except Interrupted:
            continue
    raise AssertionError("the last attempt has no stop")


@pytest.mark.parametrize(
    ("begin", "steps"),
    [(0.29, 5), (0.3, 6), *(pytest.param(*ends, marks=pytest.mark.slow) for ends in ((0.0, 0), (0.99, 19)))],
)
def test_rounding_begins_with_its_step_and_before_it_the_run_is_a_locked_fine_tuning(
    tmp_path: Path, begin: float, steps: int
) -> None:
    """.29 of 20 steps are 5.8: five. The step after them is the first whose loss differs from one that never rounds."""
    seen, network, made = quantized(tmp_path / "begun", begin)
    assert seen.rounded == [False] * steps + [True] * (STEPS - steps)
    assert seen.rates == quantized(tmp_path / "at once", 0.0)[0].rates
    late, _, _ = quantized(tmp_path / "late", 0.99)
    differing = [one != other for one, other in zip(seen.losses, late.losses, strict=True)]
    assert differing[:steps] == [False] * steps
    assert steps == 19 or differing[steps]
    report = made.detach(network)
    assert report.int8 is not None
    assert report.details["sparsity"]["encoder_zeros"] == 6 * 32


@pytest.mark.parametrize("stop_after", [6, *(pytest.param(step, marks=pytest.mark.slow) for step in (3, 12))])
def test_a_resumed_run_rounds_from_the_same_step(tmp_path: Path, stop_after: int) -> None:
    whole, one, _ = quantized(tmp_path / "whole", 0.3)
    resumed, other, _ = quantized(tmp_path / "resumed", 0.3, stops=(stop_after,))
    assert resumed.losses == whole.losses
    assert resumed.rounded == whole.rounded[stop_after:]
    assert all(torch.equal(one.state_dict()[name], tensor) for name, tensor in other.state_dict().items())


def test_the_scale_rule_changes_codes_and_neither_rates_nor_pattern(tmp_path: Path) -> None:
    ours, network, made = quantized(tmp_path / "ours", 0.0)
    theirs, network_of_theirs, made_of_theirs = quantized(tmp_path / "theirs", 0.0, weight_scale="ref_max127_5")
    assert ours.rates == theirs.rates
    assert ours.losses[0] != theirs.losses[0]
    one, other = made.detach(network), made_of_theirs.detach(network_of_theirs)
    assert one.details["sparsity"]["locked_pattern_sha256"] == other.details["sparsity"]["locked_pattern_sha256"]
    assert one.int8 is not None
    assert other.int8 is not None
    assert one.int8.keys() == other.int8.keys()
    assert any(not torch.equal(one.int8[f"{name}.codes"], other.int8[f"{name}.codes"]) for name in ENCODER)
