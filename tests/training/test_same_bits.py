"""Speed-ups that move no bit: 20 steps of a toy have the losses and weights of the plain form of the arithmetic."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_training import PARAMETERS
from transformers import BertConfig, BertForSequenceClassification, set_seed

from harness.compression import quantization, sparsify
from harness.compression.schedule import PruningSchedule
from harness.inputs.families import BERT
from harness.training.checkpoints import Checkpoints
from harness.training.modifiers import GradualPruning, LockedQuantization, Matrices, Modifier, PatternLock
from harness.training.objectives import ClassificationObjective, Distillation
from harness.training.trainer import CompressionTrainer, training_arguments

STEPS = 20


def toy(seed: int = 0) -> BertForSequenceClassification:
    set_seed(seed)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return BertForSequenceClassification(BertConfig(vocab_size=40, max_position_embeddings=32, **sizes))


def pruning(matrices: Matrices) -> Modifier:
    schedule = PruningSchedule(final_sparsity=0.8, ramp_end=8, first_event=0, last_event=16, frequency=2)
    return GradualPruning(matrices=matrices, schedule=schedule, ranking="local", rewind=True, with_pooler=True)


def locking(matrices: Matrices) -> Modifier:
    return PatternLock(matrices=matrices, with_pooler=True)


def quantizing(matrices: Matrices) -> Modifier:
    linears = [*matrices.encoder, *matrices.pooler, "classifier"]
    return LockedQuantization(
        matrices=matrices,
        with_pooler=True,
        linears=linears,
        fp32_outputs=[name for name in linears if BERT.keeps_fp32_output(name)],
        weight_scale="ref_max127_5",
        activation_momentum=0.1,
    )


def trained(folder: Path, make: Callable[[Matrices], Modifier]) -> tuple[list[float], dict[str, Tensor]]:
    """Losses and the state after 20 steps, with dropout and a teacher; a third of the weights begins at zero."""
    network = toy()
    matrices = Matrices.of(network, BERT)
    with torch.no_grad():
        for name in matrices.encoder:
            weight: Any = network.get_submodule(name).weight
            weight.masked_fill_(weight.abs() < weight.abs().median() * 0.6, 0.0)
    modifier = make(matrices)
    modifier.attach(network)
    draw = torch.Generator().manual_seed(3)
    rows = [{"input_ids": torch.randint(5, 40, (9,), generator=draw), "labels": number % 2} for number in range(32)]

    def collate(features: list[dict[str, Any]]) -> dict[str, Tensor]:
        ids = torch.stack([feature["input_ids"] for feature in features])
        labels = torch.tensor([feature["labels"] for feature in features])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}

    distillation = Distillation(teacher=toy(seed=1), ce_weight=0.5, kd_weight=0.5, temperature=2.0)
    trainer = CompressionTrainer(
        model=network,
        args=training_arguments(PARAMETERS, output_dir=folder, num_steps=STEPS),
        train_dataset=rows,
        data_collator=collate,
        callbacks=modifier.callbacks(STEPS),
        objective=ClassificationObjective(distillation=distillation),
        factor=modifier.factor(STEPS, 2),
        lengths=[9] * 32,
        checkpoints=Checkpoints(folder),
        checkpoint_minutes=60,
        should_stop=lambda: False,
        report=lambda progress: None,
        hooks=modifier,
    )
    losses = trainer.fit().losses
    return losses, {name: tensor.clone() for name, tensor in network.state_dict().items()}


class PlainFakeQuantize(torch.autograd.Function):
    """Every operation of the definition on its own, nothing in place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: Any, qmin: int, qmax: int) -> Tensor:
        unclipped = torch.round(x * (1 / scale)) + zero_point
        ctx.save_for_backward((unclipped >= qmin) & (unclipped <= qmax))
        return (unclipped.clamp(qmin, qmax) - zero_point) * scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        (inside,) = ctx.saved_tensors
        return grad * inside, None, None, None, None


def plain_scale(weight: Tensor, *, rule: str) -> Tensor:
    scale = weight.detach().abs().max() / (127 if rule == "max127" else 127.5)
    return torch.where(scale < torch.finfo(scale.dtype).tiny, torch.ones_like(scale), scale)


@pytest.mark.parametrize("make", [pruning, locking, quantizing])
def test_twenty_steps_have_the_bits_of_the_plain_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Matrices], Modifier]
) -> None:
    fast_losses, fast = trained(tmp_path / "fast", make)
    monkeypatch.setattr(sparsify.Mask, "forward", lambda self, shadow: shadow * self.mask)
    monkeypatch.setattr(quantization, "_FakeQuantize", PlainFakeQuantize)
    monkeypatch.setattr(quantization, "weight_scale", plain_scale)
    plain_losses, plain = trained(tmp_path / "plain", make)
    assert fast_losses == plain_losses
    assert len(set(fast_losses)) == STEPS
    assert fast.keys() == plain.keys()
    assert all(torch.equal(fast[name], tensor) for name, tensor in plain.items())


def test_a_mask_that_changes_in_place_or_is_replaced_is_the_one_that_multiplies() -> None:
    mask = sparsify.Mask(torch.tensor([True, False, True]))
    shadow = torch.tensor([2.0, 3.0, 4.0])
    assert mask(shadow).tolist() == [2, 0, 4]
    mask.mask.copy_(torch.tensor([False, True, True]))
    assert mask(shadow).tolist() == [0, 3, 4]
    mask.load_state_dict({"mask": torch.tensor([True, True, False])})
    assert mask(shadow).tolist() == [2, 3, 0]
    mask.mask = torch.tensor([False, False, True])
    assert mask(shadow).tolist() == [0, 0, 4]
    mask.mask.copy_(torch.tensor([True, False, False]))
    assert copy.deepcopy(mask)(shadow).tolist() == [2, 0, 0]
    assert mask(shadow).tolist() == [2, 0, 0]
    assert mask(shadow.double()).dtype == torch.float64
    assert mask(shadow).dtype == torch.float32
