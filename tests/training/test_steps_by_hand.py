"""What the trainer does in a step, against the optimizer written out; and what seed, dropout and epoch reach."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_training import PARAMETERS, toy_config
from transformers import BertForSequenceClassification, set_seed

from harness.training.checkpoints import Checkpoints
from harness.training.objectives import ClassificationObjective, Distillation
from harness.training.trainer import CompressionTrainer, training_arguments

# Far from every default, so that a setting that is ignored shows.
RECIPE = {
    "learning_rate": 0.02,
    "weight_decay": 0.3,
    "adam_beta1": 0.7,
    "adam_beta2": 0.95,
    "adam_epsilon": 1e-3,
    "max_grad_norm": 0.05,
}
FACTORS = [0.5, 1.0, 0.25]


def toy(dropout: float = 0.0) -> Any:
    set_seed(0)
    config = toy_config(hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, initializer_range=0.5)
    return BertForSequenceClassification(config).double()


class Stack:
    """Rows of one length as a batch; notes the epoch it was told when each batch was made."""

    def __init__(self) -> None:
        self.epoch = 0
        self.epochs: list[int] = []

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Tensor]:
        self.epochs.append(self.epoch)
        ids = torch.tensor([feature["input_ids"] for feature in features])
        labels = torch.tensor([feature["labels"] for feature in features])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


ROWS = [{"input_ids": [5 + (3 * row + place) % 15 for place in range(6)], "labels": row % 2} for row in range(4)]


def trainer(
    network: nn.Module,
    folder: Path,
    *,
    steps: int,
    rows: list[dict[str, Any]] = ROWS,
    collator: Callable[..., Any] | None = None,
    factor: Callable[[int], float] = lambda step: 1.0,
    **changed: Any,
) -> CompressionTrainer:
    return CompressionTrainer(
        model=network,
        args=training_arguments({**PARAMETERS, **changed}, output_dir=folder, num_steps=steps),
        train_dataset=rows,
        data_collator=collator or Stack(),
        objective=ClassificationObjective(),
        factor=factor,
        lengths=[6] * len(rows),
        checkpoints=Checkpoints(folder),
        checkpoint_minutes=60.0,
        should_stop=lambda: False,
        report=lambda progress: None,
    )


def decays(name: str) -> bool:
    """All but biases and norms (Loshchilov and Hutter's decay, as BERT's own training has it)."""
    return not (name.endswith("bias") or "LayerNorm" in name)


def steps_written_out(network: Any, inputs: dict[str, Tensor]) -> list[float]:
    """AdamW with clipping by the global norm, one parameter after the other; the loss of every step."""
    rate, decay, b1, b2 = (RECIPE[name] for name in ("learning_rate", "weight_decay", "adam_beta1", "adam_beta2"))
    moments = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in network.named_parameters()}
    losses = []
    for step, factor in enumerate(FACTORS, start=1):
        network.zero_grad()
        loss = network(**inputs).loss
        loss.backward()
        losses.append(loss.item())
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in network.parameters()))
        scale = min(1.0, RECIPE["max_grad_norm"] / (norm + 1e-6))
        assert scale < 1
        with torch.no_grad():
            for name, p in network.named_parameters():
                gradient, (first, second) = p.grad * scale, moments[name]
                first.mul_(b1).add_((1 - b1) * gradient)
                second.mul_(b2).add_((1 - b2) * gradient.square())
                if decays(name):
                    p.mul_(1 - rate * factor * decay)
                root = (second / (1 - b2**step)).sqrt() + RECIPE["adam_epsilon"]
                p.sub_(rate * factor * (first / (1 - b1**step)) / root)
    return losses


def test_three_steps_are_those_of_adamw_with_clipping_and_decay_of_matrices_alone(tmp_path: Path) -> None:
    trained, by_hand = toy(), toy()
    run = trainer(trained, tmp_path, steps=3, factor=lambda step: FACTORS[min(step, 2)], **RECIPE)
    losses = run.fit().losses
    assert losses == pytest.approx(steps_written_out(by_hand, Stack()(ROWS)), rel=1e-9)
    start = toy().state_dict()
    for name, tensor in by_hand.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], tensor, rtol=1e-8, atol=1e-10, msg=name)
        if tensor.is_floating_point():
            assert not torch.equal(start[name], tensor), f"{name} did not move"


SAME = [ROWS[0]] * 4  # in whatever order they come, the batch is the same


def first_loss(folder: Path, seed: int, dropout: float) -> float:
    return trainer(toy(dropout), folder / f"{seed}-{dropout}", steps=1, rows=SAME, seed=seed).fit().losses[0]


def test_the_seed_of_the_recipe_draws_the_dropout(tmp_path: Path) -> None:
    """The model's weights and the batch are the same: what a seed changes is dropout alone."""
    first, other = (first_loss(tmp_path, seed, 0.3) for seed in (0, 1))
    without = first_loss(tmp_path, 0, 0.0)
    assert first == first_loss(tmp_path, 0, 0.3)
    assert without == first_loss(tmp_path, 1, 0.0)
    assert len({first, other, without}) == 3


def test_dropout_drops_its_share_in_every_step(tmp_path: Path) -> None:
    network = toy(0.5)
    training: list[bool] = []
    zeros = numbers = 0

    def count(module: nn.Module, given: Any, output: Tensor) -> None:
        nonlocal zeros, numbers
        training.append(module.training)
        zeros += int((output == 0).sum())
        numbers += output.numel()

    dropouts = [module for module in network.modules() if isinstance(module, nn.Dropout)]
    for module in dropouts:
        assert module.p == 0.5
        module.register_forward_hook(count)
    trainer(network, tmp_path, steps=5).fit()
    assert training
    assert all(training)
    assert zeros / numbers == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(numbers))  # four sigma


def test_the_collator_is_told_the_epoch_of_every_batch(tmp_path: Path) -> None:
    """Two batches of two an epoch: without it every epoch would have the same masked tokens."""
    collator = Stack()
    trainer(toy(), tmp_path, steps=6, collator=collator, batch_size=2).fit()
    assert collator.epochs == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("padding", ["longest", "max_length"])
def test_the_seed_of_the_recipe_orders_the_examples(tmp_path: Path, padding: str) -> None:
    rows = [{**ROWS[0], "labels": row % 2} for row in range(16)]

    def order(seed: int) -> list[int]:
        run = trainer(toy(), tmp_path, steps=1, rows=rows, seed=seed, padding=padding)
        return list(run._get_train_sampler())

    assert order(0) == order(0)
    assert len({tuple(order(seed)) for seed in (0, 1, 2)}) == 3


def test_a_rate_belongs_to_the_step_and_not_to_the_micro_batch(tmp_path: Path) -> None:
    """Four examples in micro-batches of one: the optimizer, the schedule and the clock move once."""
    whole, parts = toy(), toy()
    losses: list[list[float]] = []
    for network, size, folder in ((whole, 4, "whole"), (parts, 1, "parts")):
        run = trainer(network, tmp_path / folder, steps=3, factor=lambda step: FACTORS[min(step, 2)], **RECIPE)
        run.micro_batch_size = size
        progress = run.fit()
        losses.append(progress.losses)
        assert progress.tokens_seen == 3 * 4 * 6
    assert len(losses[0]) == 3
    assert losses[1] == pytest.approx(losses[0], rel=1e-9)  # clipping would hide a gradient four times as long
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], tensor, rtol=1e-6, atol=1e-9, msg=name)


@pytest.mark.oracle("O20")
def test_a_teacher_stays_as_it_was_through_the_trainers_own_steps(tmp_path: Path) -> None:
    """Not a bit of it changes, dropout is off in it, no optimizer group holds it, and no saved tensor is its own."""
    student, teacher = toy(0.3), toy(0.3)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(0.1)
    teacher.train()  # as a careless caller may leave it
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    names = set(student.state_dict())
    heard: list[bytes] = []
    teacher.register_forward_hook(lambda module, given, output: heard.append(output.logits.numpy().tobytes()))
    run = trainer(student, tmp_path, steps=3, rows=SAME, weight_decay=0.1)
    run.objective = ClassificationObjective(
        distillation=Distillation(teacher=teacher, ce_weight=0.5, kd_weight=0.5, temperature=2.0)
    )
    run.fit()
    assert len(heard) == 3
    assert len(set(heard)) == 1
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())
    owned = {id(parameter) for group in run.optimizer.param_groups for parameter in group["params"]}
    assert owned == {id(parameter) for parameter in student.parameters()}
    assert not owned & {id(parameter) for parameter in teacher.parameters()}
    assert set(student.state_dict()) == names
