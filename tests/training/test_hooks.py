"""TrainingHooks: each reaches the computation, once for a batch however it is cut, and the default changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
import toy_training
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, TrainerCallback, set_seed

from harness.training.checkpoints import Checkpoints
from harness.training.hooks import Batches, ParameterGroup, TrainingHooks
from harness.training.objectives import ClassificationObjective, Inputs, Objective
from harness.training.trainer import CompressionTrainer, training_arguments

RATE, DECAY, BATCH, ROWS = 0.01, 0.1, 4, 10  # an epoch is three batches, the last one of two
PARAMETERS = {
    **toy_training.PARAMETERS,
    "batch_size": BATCH,
    "learning_rate": RATE,
    "weight_decay": DECAY,
    "adam_epsilon": 1e-12,
    "max_grad_norm": 1e9,
}


def model(dropout: float = 0.0) -> Any:
    set_seed(0)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=40,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=16,
            hidden_dropout_prob=dropout,
        )
    )


ROWS_OF_DATA = [{"input_ids": [5 + (3 * i + j) % 35 for j in range(6)], "labels": i % 2} for i in range(ROWS)]


def collate(features: list[dict[str, Any]]) -> dict[str, Tensor]:
    ids = torch.tensor([feature["input_ids"] for feature in features])
    labels = torch.tensor([feature["labels"] for feature in features])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def fit(
    network: nn.Module,
    folder: Path,
    hooks: TrainingHooks | None,
    *,
    steps: int = 3,
    objective: Objective | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    micro_batch_size: int | None = None,
    accumulation: int = 1,
) -> list[float]:
    """The losses of a run at a constant learning rate."""
    arguments = training_arguments(PARAMETERS, output_dir=folder, num_steps=steps)
    arguments.gradient_accumulation_steps = accumulation
    trainer = CompressionTrainer(
        model=network,
        args=arguments,
        train_dataset=datasets.Dataset.from_list([{**row, "length": 6} for row in ROWS_OF_DATA]),
        data_collator=collate,
        callbacks=list(callbacks),
        objective=objective or ClassificationObjective(),
        factor=lambda step: 1.0,
        lengths=[6] * ROWS,
        checkpoints=Checkpoints(folder),
        checkpoint_minutes=60.0,
        should_stop=lambda: False,
        report=lambda progress: None,
        micro_batch_size=micro_batch_size,
        hooks=hooks,
    )
    return trainer.fit().losses


class OwnGroups(TrainingHooks):
    def __init__(self, groups: Callable[[Any], Sequence[ParameterGroup]]) -> None:
        self.groups = groups

    def parameter_groups(self, model: nn.Module) -> Sequence[ParameterGroup]:
        return self.groups(model)


def test_groups_have_their_own_rate_and_decay_and_the_others_keep_the_recipes(tmp_path: Path) -> None:
    """Adam's first step moves a weight by its rate, against the sign of its gradient: w (1 - rate * decay) -+ rate."""
    network = model()
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    hooks = OwnGroups(
        lambda found: [
            ParameterGroup(parameters=[found.classifier.weight], learning_rate=0.5),
            ParameterGroup(parameters=[found.bert.pooler.dense.weight], weight_decay=0.0),
        ]
    )
    fit(network, tmp_path, hooks, steps=1)
    own = {"classifier.weight": (0.5, DECAY), "bert.pooler.dense.weight": (RATE, 0.0)}
    for name in (*own, "bert.encoder.layer.0.output.dense.weight"):
        rate, decay = own.get(name, (RATE, DECAY))
        moved = network.get_parameter(name).detach() - before[name] * (1 - rate * decay)
        torch.testing.assert_close(moved.abs(), torch.full_like(moved, rate), rtol=1e-3, atol=1e-6, msg=name)


def test_all_parameters_may_be_in_groups_of_their_own(tmp_path: Path) -> None:
    network = model()
    before = [parameter.detach().clone() for parameter in network.parameters()]
    hooks = OwnGroups(lambda found: [ParameterGroup(parameters=[*found.parameters()], learning_rate=0.0)])
    fit(network, tmp_path, hooks)
    assert all(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (
            lambda found: [ParameterGroup(parameters=[nn.Parameter(torch.zeros(1))])],
            "1 of 1 parameters are not trained",
        ),
        (lambda found: [ParameterGroup(parameters=[found.classifier.bias])] * 2, "1 are in two groups"),
    ],
)
def test_a_parameter_that_is_not_the_models_or_is_in_two_groups_is_refused(
    tmp_path: Path, groups: Any, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        fit(model(), tmp_path, OwnGroups(groups))


class HalfSquare(TrainingHooks):
    """Half the squared norm of one weight: its gradient is the weight itself."""

    def __init__(self, weight: Tensor) -> None:
        self.weight, self.steps = weight, list[int]()

    def penalty(self, step: int) -> Tensor | None:
        self.steps.append(step)
        return self.weight.square().sum() / 2 if step != 1 else None


class Gradients(TrainerCallback):
    """The gradient of one weight, and the weight, before every optimizer step."""

    def __init__(self, weight: nn.Parameter) -> None:
        self.weight, self.seen = weight, list[tuple[Tensor, Tensor]]()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        assert self.weight.grad is not None
        self.seen.append((self.weight.grad.clone(), self.weight.detach().clone()))


def no_loss(model: nn.Module, inputs: Inputs, full_batch: Inputs | None = None) -> Tensor:
    return 0.0 * model(input_ids=inputs["input_ids"]).logits.sum()


@pytest.mark.parametrize(("micro_batch_size", "accumulation"), [(None, 1), (1, 1), (3, 1), (None, 2), (3, 2)])
def test_a_penalty_counts_once_a_step_however_the_batch_is_cut(
    tmp_path: Path, micro_batch_size: int | None, accumulation: int
) -> None:
    network = model()
    weight = network.classifier.weight
    hooks, gradients = HalfSquare(weight), Gradients(weight)
    losses = fit(
        network,
        tmp_path,
        hooks,
        objective=no_loss,
        callbacks=[gradients],
        micro_batch_size=micro_batch_size,
        accumulation=accumulation,
    )
    if accumulation == 1:
        assert hooks.steps == [0, 1, 2]
    for step, (gradient, value) in enumerate(gradients.seen):
        torch.testing.assert_close(gradient, value if step != 1 else torch.zeros_like(value))
    squares = [float(value.square().sum() / 2) if step != 1 else 0.0 for step, (_, value) in enumerate(gradients.seen)]
    assert losses == pytest.approx(squares, rel=1e-6)


class OneBatch(TrainingHooks):
    """Notes when a batch begins and ends, and the micro-batches in between."""

    def __init__(self) -> None:
        self.seen: list[str | int] = []

    @contextmanager
    def as_one_batch(self, model: nn.Module) -> Iterator[None]:
        self.seen.append("begin")
        yield
        self.seen.append("end")


def test_the_micro_batches_of_a_batch_are_enclosed_together_and_an_uncut_batch_is_not(tmp_path: Path) -> None:
    hooks = OneBatch()

    def objective(model: nn.Module, inputs: Inputs, full_batch: Inputs | None = None) -> Tensor:
        hooks.seen.append(len(inputs["input_ids"]))
        return no_loss(model, inputs, full_batch)

    fit(model(), tmp_path, hooks, objective=objective, micro_batch_size=3)
    assert hooks.seen == ["begin", 3, 1, "end"] * 2 + [2]


class OwnLosses(TrainingHooks, TrainerCallback):
    """The loss on every batch of the epoch after each step, computed by the modifier itself."""

    def __init__(self) -> None:
        self.losses: list[list[float]] = []
        self.gradients: list[Tensor] = []

    def start(self, objective: Objective, batches: Batches) -> None:
        self.objective, self.batches = objective, batches

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        network = kwargs["model"].eval()
        with torch.no_grad():
            self.losses.append([float(self.objective(network, inputs)) for inputs in self.batches()])
        network.train()


def test_a_modifier_sees_objective_and_batches_and_disturbs_neither_order_nor_randomness(tmp_path: Path) -> None:
    own = OwnLosses()
    watched, plain = model(dropout=0.3), model(dropout=0.3)
    losses = [
        fit(watched, tmp_path / "watched", own, steps=5, callbacks=[own]),
        fit(plain, tmp_path / "plain", None, steps=5),
    ]
    assert losses[0] == losses[1]
    state = plain.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in watched.state_dict().items())
    assert [len(found) for found in own.losses] == [3] * 5
    # By the library: its mean over all ten rows, from means over 4, 4 and 2 of them.
    whole = collate(ROWS_OF_DATA)
    with torch.no_grad():
        expected = float(watched.eval()(**whole).loss)
    assert sum(n * loss for n, loss in zip((4, 4, 2), own.losses[-1], strict=True)) / ROWS == pytest.approx(expected)
