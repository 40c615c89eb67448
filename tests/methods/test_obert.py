"""oBERT through the trainer: when it prunes, from which gradients, and what stays as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    BertForQuestionAnswering,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    TrainerCallback,
    set_seed,
)

from harness.compression.mask import num_zeros
from harness.compression.second_order import BlockFisherInverse
from harness.compression.sparsify import attach_masks, kept_entries, prune_further, shadow_weights
from harness.errors import IntegrityError, Interrupted
from harness.inputs.families import BERT, DISTILBERT
from harness.progress import StopFlag
from harness.training.checkpoints import Checkpoints
from harness.training.modifiers import Matrices, Modifier
from harness.training.objectives import ClassificationObjective, Distillation, Inputs
from harness.training.trainer import CompressionTrainer, training_arguments
from methods.obert import modifier
from methods.obert.modifier import SecondOrderPruning, evaluating, loss_gradients

STEPS, ROWS, BATCH = 20, 18, 4  # an epoch is five batches, the last one of two
SETTINGS: dict[str, Any] = {
    "sparsity": 0.9,
    "first_sparsity": 0.5,
    "first_event": 0.1,
    "last_event": 0.7,
    "num_events": 4,
    "cycle_end": 0.1,
    "num_gradients": 6,
    "gradient_batch": 3,
    "block_size": 10,
    "dampening": 1e-4,
    "prune_pooler": True,
}
EVENTS = (2, 6, 10, 14)
SPARSITIES = (0.5, 0.9 - 0.4 * 8 / 27, 0.9 - 0.4 / 27, 0.9)  # (1 - k/3)^3 of the way from 0.9 back to 0.5
ENCODER_WEIGHTS, POOLER_WEIGHTS = 2 * (4 * 16 * 16 + 2 * 16 * 32), 16 * 16


def model(dropout: float = 0.0, kind: Any = BertForSequenceClassification) -> Any:
    set_seed(0)
    return kind(
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
    lengths = [6 + i % 3 for i in range(ROWS)]
    return datasets.Dataset.from_dict(
        {
            "input_ids": [draw.integers(5, 40, n).tolist() for n in lengths],
            "labels": [i % 2 for i in range(ROWS)],
            "length": lengths,
        }
    )


def collate(features: list[dict[str, Any]]) -> dict[str, Tensor]:
    width = max(len(f["input_ids"]) for f in features)
    ids = torch.tensor([f["input_ids"] + [0] * (width - len(f["input_ids"])) for f in features])
    return {
        "input_ids": ids,
        "attention_mask": (ids != 0).long(),
        "labels": torch.tensor([f["labels"] for f in features]),
    }


def pruning_of(network: nn.Module, **changed: Any) -> SecondOrderPruning:
    return SecondOrderPruning.of({**SETTINGS, **changed}, Matrices.of(network, BERT), STEPS)


def trainer(
    network: nn.Module,
    folder: Path,
    hooks: Modifier,
    *,
    watch: tuple[TrainerCallback, ...] = (),
    should_stop: Callable[[], bool] = lambda: False,
    objective: Any = None,
    **changed: Any,
) -> CompressionTrainer:
    hooks.attach(network)
    data = examples()
    parameters = {**PARAMETERS, "batch_size": BATCH, **changed}
    return CompressionTrainer(
        model=network,
        args=training_arguments(parameters, output_dir=folder, num_steps=STEPS),
        train_dataset=data,
        data_collator=collate,
        callbacks=[*hooks.callbacks(STEPS), *watch],
        objective=objective or ClassificationObjective(),
        factor=hooks.factor(STEPS, 0),
        lengths=data["length"][:],
        checkpoints=Checkpoints(folder),
        checkpoint_minutes=60.0,
        should_stop=should_stop,
        report=lambda progress: None,
        hooks=hooks,
    )


class Kept(TrainerCallback):
    """After every step: the masks by name, and the weights that the model computes with."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.masks: list[dict[str, Tensor]] = []
        self.zeros: list[dict[str, Tensor]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        network = kwargs["model"]
        self.masks.append({name: mask.clone() for name, mask in kept_entries(network, self.names).items()})
        self.zeros.append({name: network.get_submodule(name).weight.detach() == 0 for name in self.names})


# -- when it prunes


@pytest.mark.oracle("O42")
def test_it_prunes_at_the_events_by_exact_count_and_nothing_leaves_the_pruned_set(tmp_path: Path) -> None:
    """Momentum, weight decay and clipping are on: they move shadows, and no weight."""
    network = model(dropout=0.1)
    pruning = pruning_of(network)
    names = pruning.matrices.masked(with_pooler=True)
    kept = Kept(names)
    trainer(network, tmp_path, pruning, watch=(kept,)).fit()
    expected = dict(zip(EVENTS, SPARSITIES, strict=True))
    sparsity, before = 0.0, {name: torch.ones_like(mask) for name, mask in kept.masks[0].items()}
    for step, (masks, zeros) in enumerate(zip(kept.masks, kept.zeros, strict=True), 1):
        sparsity = expected.get(step, sparsity)
        encoder = sum(int((~masks[name]).sum()) for name in pruning.matrices.encoder)
        assert encoder == num_zeros(sparsity, ENCODER_WEIGHTS)
        assert int((~masks["bert.pooler.dense"]).sum()) == num_zeros(sparsity, POOLER_WEIGHTS)
        assert all(not bool((masks[name] & ~before[name]).any()) for name in names)
        assert all(torch.equal(zeros[name], ~masks[name]) for name in names)
        before = masks
    of_matrices = {float(mask.float().mean()) for mask in before.values()}
    assert len(of_matrices) > 6  # one ranking over all: matrices keep unlike shares


def test_the_last_pattern_is_in_the_plain_weights_and_the_report_says_what_was_done(tmp_path: Path) -> None:
    network = model()
    pruning = pruning_of(network)
    kept = Kept([*pruning.matrices.encoder])
    trainer(network, tmp_path, pruning, watch=(kept,)).fit()
    report = pruning.detach(network)
    for name in pruning.matrices.encoder:
        weight = network.get_submodule(name).weight
        assert isinstance(weight, nn.Parameter)
        assert torch.equal(weight == 0, ~kept.masks[-1][name])
        assert not bool(torch.signbit(weight[weight == 0]).any())
    assert report.summary == [
        "masked 12 of 12 encoder matrices",
        "masked 1 of 1 pooler matrices",
        "4 events to sparsity 0.9, each by 6 gradients of up to 3 examples",
    ]
    assert report.details["sparsity"]["encoder_zeros"] == num_zeros(0.9, ENCODER_WEIGHTS)
    assert report.details["cycles"]["events"] == [*EVENTS]
    assert report.details["cycles"]["sparsities"] == pytest.approx(SPARSITIES)


def test_the_rate_begins_anew_after_every_event(tmp_path: Path) -> None:
    rates: list[float] = []

    class Rates(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            rates.append(kwargs["optimizer"].param_groups[0]["lr"] / PARAMETERS["learning_rate"])

    network = model()
    trainer(network, tmp_path, pruning_of(network), watch=(Rates(),)).fit()
    four = [1 - 0.9 * step / 4 for step in range(4)]
    assert rates == pytest.approx([1, 0.55, *four * 3, *(1 - 0.9 * step / 6 for step in range(6))])


# -- from which gradients


FEATURES = [*examples()]
ROWS_OF = [3, 0, 5, 1, 2, 4]  # two batches of three


def two_batches() -> Iterator[Inputs]:
    for rows in (ROWS_OF[:3], ROWS_OF[3:]):
        yield collate([FEATURES[row] for row in rows])


PARTS = [[3, 0], [5], [1, 2], [4]] * 2  # of at most two, over again for more than there are


def dense_inverse(network: Any, name: str, objective: Any) -> Tensor:
    """In fp64 [numel, numel], from six gradients by backward; entries across blocks are 0 before it is inverted."""
    (shadow,) = shadow_weights(network, [name]).values()
    gradients = []
    for rows in PARTS[:6]:
        network.zero_grad()
        objective(network, collate([FEATURES[row] for row in rows])).backward()
        assert shadow.grad is not None
        gradients.append(shadow.grad.flatten().double())
    network.zero_grad(set_to_none=True)
    stacked = torch.stack(gradients)
    block = torch.arange(shadow.numel()) // SETTINGS["block_size"]
    fisher = torch.where(block[:, None] == block[None, :], stacked.T @ stacked / 6, 0.0)
    return torch.linalg.inv(fisher + SETTINGS["dampening"] * torch.eye(shadow.numel(), dtype=torch.float64))


@pytest.mark.parametrize("distils", [False, True])
def test_an_event_is_the_arithmetic_on_masked_gradients_of_the_training_loss(distils: bool) -> None:
    """The whole event in fp64 by another road, for the second event of a model with dropout and masks."""
    network = model(dropout=0.3)
    kd = Distillation(teacher=model(), ce_weight=0.3, kd_weight=0.7, temperature=2.0) if distils else None
    objective = ClassificationObjective(distillation=kd)
    pruning = pruning_of(network, gradient_batch=2)
    pruning.attach(network)
    draw = torch.Generator().manual_seed(0)
    names = [*pruning.matrices.encoder]
    shadows = shadow_weights(network, names)
    masks = {name: torch.rand(shadow.shape, generator=draw) > 0.3 for name, shadow in shadows.items()}
    prune_further(network, {name: shadow.detach() for name, shadow in shadows.items()}, masks)
    before = {name: (shadow.detach() * masks[name]).double().flatten() for name, shadow in shadows.items()}
    network.eval()
    inverses = {name: dense_inverse(network, name, objective) for name in names}
    network.train()

    pruning.start(objective, two_batches)
    pruning.prune(network, 0.6)

    for inverse in inverses.values():
        assert float(inverse.diagonal().min()) < 0.95 / SETTINGS["dampening"]  # the gradients weigh in
    scores = {name: before[name] ** 2 / (2 * inverses[name].diagonal()) for name in names}
    ranked = torch.cat([scores[name][masks[name].flatten()] for name in names]).sort().values
    cut = ranked[num_zeros(0.6, ENCODER_WEIGHTS) - sum(int((~mask).sum()) for mask in masks.values())]
    for name in names:
        pruned_now = masks[name].flatten() & (scores[name] < cut)
        update = inverses[name] @ (pruned_now * before[name] / inverses[name].diagonal())
        expected = (before[name] - update) * (masks[name].flatten() & ~pruned_now)
        found = network.get_submodule(name).weight.detach().flatten().double()
        assert torch.equal(found == 0, expected == 0)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
        assert float((expected - before[name] * (expected != 0)).abs().max()) > 1e-3  # the others moved


def test_gradients_touch_no_grad_and_no_mode_and_no_random_state() -> None:
    network = model(dropout=0.5)
    attach_masks(network, ["bert.pooler.dense"])
    network.train()
    network.bert.embeddings.eval()
    modes = [module.training for module in network.modules()]
    state = torch.get_rng_state()
    weights = [*shadow_weights(network, ["bert.pooler.dense"]).values()]
    with evaluating(network):
        found = loss_gradients(network, weights, ClassificationObjective(), two_batches, batch_size=2)
        first, second = (next(found)[0] for _ in range(2))
        again = next(loss_gradients(network, weights, ClassificationObjective(), two_batches, batch_size=2))[0]
    assert torch.equal(first, again)  # dropout draws nothing
    assert not torch.equal(first, second)
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_run_whose_events_change_nothing_is_a_run_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradients are taken, dropout on: neither order, nor draws, nor moments notice. Both have masks of ones."""

    class Cycles(Modifier):
        def attach(self, model: nn.Module) -> None:
            attach_masks(model, self.matrices.masked(with_pooler=True))

        def factor(self, num_steps: int, warmup_steps: int) -> Callable[[int], float]:
            return pruning_of(network).factor(num_steps, warmup_steps)

    made: list[int] = []

    def unchanged(weights: Any, masks: Any, inverses: list[BlockFisherInverse], sparsity: float) -> Any:
        made.extend(inverse.num_added for inverse in inverses)
        return weights, masks

    monkeypatch.setattr(modifier, "prune_by_curvature", unchanged)
    network, plain = model(dropout=0.2), model(dropout=0.2)
    pruning = pruning_of(network)
    losses = trainer(network, tmp_path / "watched", pruning).fit().losses
    assert made == [6] * 13 * len(EVENTS)
    cycles = Cycles(matrices=Matrices.of(plain, BERT))
    assert losses == trainer(plain, tmp_path / "plain", cycles).fit().losses
    state = plain.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_at_sparsity_zero_nothing_is_computed_and_nothing_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any, **options: Any) -> None:
        raise AssertionError("an inverse was made")

    monkeypatch.setattr(modifier, "BlockFisherInverse", refuse)
    network = model()
    pruning = pruning_of(network, sparsity=0.0)
    trainer(network, tmp_path, pruning).fit()
    assert pruning.detach(network).details["sparsity"]["encoder_zeros"] == 0


# -- repeats and resumes


def run(folder: Path, stop_after: int | None = None, **changed: Any) -> dict[str, Any]:
    """All that a run leaves behind; with `stop_after` it is stopped there once and then started again."""
    for attempt in range(2 if stop_after else 1):
        network = model(dropout=0.1)
        pruning = pruning_of(network)
        steps = iter(range(1, 99))
        started = trainer(
            network,
            folder,
            pruning,
            should_stop=(lambda steps=steps: next(steps) >= stop_after)
            if stop_after and attempt == 0
            else lambda: False,
            **changed,
        )
        try:
            progress = started.fit()
        except Interrupted:
            assert attempt == 0
            continue
        state = started.optimizer.state_dict()["state"]
        tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        tensors |= {f"moment {i}": state[i]["exp_avg"].clone() for i in state}
        return {"tensors": tensors, "losses": progress.losses, "report": pruning.detach(network)}
    raise AssertionError


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(tmp_path_factory.mktemp("whole"))


@pytest.mark.oracle("O45")
@pytest.mark.parametrize(
    "stop_after", [5, 6, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 2, 11, 14, 19))]
)
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(
    tmp_path: Path, whole: dict[str, Any], stop_after: int
) -> None:
    """Before, at (2, 6, 14) and after events; an epoch ends after step 5."""
    resumed = run(tmp_path, stop_after)
    assert resumed["losses"] == whole["losses"]
    assert equal(resumed["tensors"], whole["tensors"])
    assert resumed["report"] == whole["report"]


@pytest.mark.slow
def test_it_repeats_under_a_seed_and_another_seed_differs(tmp_path: Path, whole: dict[str, Any]) -> None:
    assert equal(run(tmp_path / "same")["tensors"], whole["tensors"])
    assert not equal(run(tmp_path / "other", seed=1)["tensors"], whole["tensors"])


def test_a_stop_ends_an_event_between_two_gradients() -> None:
    network = model()
    asked: list[bool] = []

    def third() -> bool:
        asked.append(True)
        return len(asked) == 3

    pruning = SecondOrderPruning.of(SETTINGS, Matrices.of(network, BERT), STEPS, StopFlag(third))
    pruning.attach(network)
    pruning.start(ClassificationObjective(), two_batches)
    with pytest.raises(Interrupted, match="stopped after 2 gradients"):
        pruning.prune(network, 0.5)
    assert network.training
    assert all(bool(mask.all()) for mask in kept_entries(network, [*pruning.matrices.encoder]).values())


# -- what it touches, and what it refuses


def test_settings_reach_the_schedule_and_the_estimate() -> None:
    made = pruning_of(model(), sparsity=0.8, num_gradients=9, gradient_batch=2, block_size=7, dampening=0.5)
    assert made.cycles.events == EVENTS
    assert (made.cycles.sparsities[0], made.cycles.sparsities[-1]) == (pytest.approx(0.5), 0.8)
    assert made.cycles.cycle_end == 0.1
    inverse = made.fisher.inverse(torch.zeros(3, 14))
    assert (made.fisher.gradient_batch, inverse.num_gradients, inverse.blocks.shape) == (2, 9, (6, 7, 7))
    assert float(inverse.blocks[0, 0, 0]) == 2.0
    assert made.with_pooler
    assert not pruning_of(model(), prune_pooler=False).with_pooler


@pytest.mark.parametrize("kind", [BertForSequenceClassification, BertForQuestionAnswering, "distilbert"])
def test_exactly_the_listed_matrices_are_masked(kind: Any) -> None:
    network: Any
    if kind == "distilbert":
        family, expected = DISTILBERT, 12
        network = DistilBertForSequenceClassification(
            DistilBertConfig(vocab_size=40, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
        )
    else:
        network, family = model(kind=kind), BERT
        expected = 13 if kind is BertForSequenceClassification else 12
    pruning = SecondOrderPruning.of(SETTINGS, Matrices.of(network, family), STEPS)
    pruning.attach(network)
    masked = [name for name, _ in network.named_buffers() if name.endswith("parametrizations.weight.0.mask")]
    assert len(masked) == expected
    assert sum(len(group) for group in pruning.ranked_together) == expected


def test_no_module_at_all_is_an_error() -> None:
    network = model()
    nothing = SecondOrderPruning.of({**SETTINGS, "prune_pooler": False}, Matrices(encoder=(), pooler=()), STEPS)
    with pytest.raises(ValueError, match="names is empty: no module would be masked"):
        nothing.attach(network)


def test_without_a_batch_or_a_start_an_event_is_an_error() -> None:
    network = model()
    pruning = pruning_of(network)
    pruning.attach(network)
    with pytest.raises(ValueError, match="start"):
        pruning.prune(network, 0.5)
    pruning.start(ClassificationObjective(), lambda: iter(()))
    with pytest.raises(ValueError, match="there is no batch to take gradients from"):
        pruning.prune(network, 0.5)


def test_masks_only_shrink_and_locked_ones_stay() -> None:
    network = nn.ModuleDict({"a": nn.Linear(2, 1, bias=False)})
    attach_masks(network, ["a"])
    weight = torch.tensor([[1.0, -2.0]])
    prune_further(network, {"a": weight}, {"a": torch.tensor([[True, False]])})
    assert network["a"].weight.tolist() == [[1.0, 0.0]]
    with pytest.raises(IntegrityError, match="a: 1 entries that were pruned would return"):
        prune_further(network, {"a": weight}, {"a": torch.tensor([[False, True]])})
    network["a"].parametrizations["weight"][0].locked = True
    with pytest.raises(ValueError, match="a is locked"):
        prune_further(network, {"a": weight}, {"a": torch.tensor([[True, False]])})
    with pytest.raises(ValueError, match=r"without a mask: \['b'\]"):
        kept_entries(nn.ModuleDict({"b": nn.Linear(2, 1)}), ["b"])


def test_a_stage_hands_its_parameters_and_its_stop_to_the_modifier() -> None:
    from methods.obert import stage

    network, asked = model(), StopFlag(lambda: True)
    made: Any = stage._pruning(SimpleNamespace(parameters=SETTINGS, stops=asked))(  # type: ignore[arg-type]
        network, Matrices.of(network, BERT), STEPS
    )
    assert made.cycles.events == EVENTS
    assert made.stops is asked
