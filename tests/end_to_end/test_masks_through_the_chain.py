"""One pattern from pruning to int8, matrix by matrix, in a model that goes on answering right (O44).

The four trainings of a chain, each by its modifier in the harness's trainer, on a task of one rule: is the second token
among the upper half of the words? Sparsity alone would pass for a model that is all zeros, so accuracy stands beside.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from toy_training import BERT_LAYER, PARAMETERS, toy_config
from transformers import BertForSequenceClassification, set_seed

from harness.compression.quantization import load_frozen
from harness.compression.schedule import PruningSchedule
from harness.inputs.families import BERT
from harness.training.checkpoints import Checkpoints
from harness.training.modifiers import (
    GradualPruning,
    LockedQuantization,
    Matrices,
    Modifier,
    PatternLock,
    TrainingReport,
)
from harness.training.objectives import ClassificationObjective, Distillation
from harness.training.trainer import CompressionTrainer, training_arguments

NAMES = [f"bert.encoder.layer.{layer}.{name}" for layer in range(2) for name in BERT_LAYER]
WORDS = 15  # tokens 5 to 19
Masks = dict[str, torch.Tensor]


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 5 + WORDS, (count, 6), generator=draw)
    return [{"input_ids": row, "labels": int(row[1] >= 12)} for row in ids]


def stack(features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    ids = torch.stack([feature["input_ids"] for feature in features])
    labels = torch.tensor([feature["labels"] for feature in features])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


TRAIN, HELD_OUT = rows(128, 0), rows(200, 1)
CHANCE = 0.5 + 4 * 0.5 / math.sqrt(len(HELD_OUT))  # four sigma above a coin


def accuracy(network: Any) -> float:
    batch = stack(HELD_OUT)
    labels = batch.pop("labels")
    with torch.no_grad():
        return float((network.eval()(**batch).logits.argmax(-1) == labels).float().mean())


def train(network: Any, modifier: Modifier, folder: Path, steps: int, teacher: Any = None, rate: float = 3e-3) -> None:
    modifier.attach(network)
    kd = teacher and Distillation(teacher=teacher, ce_weight=0.5, kd_weight=0.5, temperature=2.0)
    CompressionTrainer(
        model=network.train(),
        args=training_arguments(
            {**PARAMETERS, "batch_size": 32, "learning_rate": rate}, output_dir=folder, num_steps=steps
        ),
        train_dataset=TRAIN,
        data_collator=stack,
        callbacks=modifier.callbacks(steps),
        objective=ClassificationObjective(distillation=kd),
        factor=modifier.factor(steps, 5),
        lengths=[6] * len(TRAIN),
        checkpoints=Checkpoints(folder),
        checkpoint_minutes=60.0,
        should_stop=lambda: False,
        report=lambda progress: None,
        hooks=modifier,
    ).fit()


def masks_of(network: Any) -> Masks:
    """True: kept."""
    return {name: network.get_submodule(name).parametrizations.weight[0].mask.clone() for name in NAMES}


def nonzeros(network: Any) -> Masks:
    return {name: network.get_submodule(name).weight.detach() != 0 for name in NAMES}


def same(one: Masks, other: Masks) -> bool:
    return all(torch.equal(one[name], other[name]) for name in NAMES)


class Ends(NamedTuple):
    """What each training left: masks in it at its end, where W is not zero after it, and the models' accuracies."""

    masks: dict[str, Masks]
    nonzero: dict[str, Masks]
    accuracies: dict[str, float]
    report: TrainingReport


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Ends:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("chain")
    set_seed(0)
    config = toy_config(hidden_size=32, intermediate_size=64, num_hidden_layers=2)
    dense = BertForSequenceClassification(config)
    matrices = Matrices.of(dense, BERT)
    masks, nonzero, accuracies = {}, {}, {}
    train(dense, Modifier(matrices=matrices), folder / "dense", 40)
    accuracies["dense"] = accuracy(dense)

    network = copy.deepcopy(dense)
    linears = [*NAMES, "bert.pooler.dense", "classifier"]
    schedule = PruningSchedule.from_fractions(final_sparsity=0.9, num_steps=80, frequency=0.05)
    modifiers: dict[str, tuple[Modifier, int, float]] = {
        "pruning": (
            GradualPruning(matrices=matrices, schedule=schedule, ranking="local", rewind=True, with_pooler=True),
            80,
            3e-3,
        ),
        "transfer": (PatternLock(matrices=matrices, with_pooler=True), 60, 3e-3),
        "quantization": (
            LockedQuantization(
                matrices=matrices,
                with_pooler=True,
                linears=linears,
                fp32_outputs=[name for name in linears if BERT.keeps_fp32_output(name)],
                weight_scale="max127",
                activation_momentum=0.1,
            ),
            20,
            3e-4,
        ),
    }
    for name, (modifier, steps, rate) in modifiers.items():
        train(network, modifier, folder / name, steps, teacher=dense, rate=rate)
        masks[name] = masks_of(network)
        report = modifier.detach(network)
        nonzero[name] = nonzeros(network)
        accuracies[name] = accuracy(network)
    assert report.int8 is not None
    load_frozen(network, report.int8)
    accuracies["int8"] = accuracy(network)
    torch.set_num_threads(threads)
    return Ends(masks, nonzero, accuracies, report)


@pytest.mark.oracle("O44")
def test_the_mask_after_pruning_is_the_one_after_transfer_and_after_quantization(chain: Ends) -> None:
    for mask in chain.masks["pruning"].values():  # floor(.9 * 1024) = 921 and floor(.9 * 2048) = 1843
        assert int((~mask).sum()) == {1024: 921, 2048: 1843}[mask.numel()]
    assert same(chain.nonzero["pruning"], chain.masks["pruning"])
    assert same(chain.masks["transfer"], chain.masks["pruning"])
    assert same(chain.nonzero["transfer"], chain.masks["pruning"])
    assert same(chain.masks["quantization"], chain.masks["pruning"])


@pytest.mark.oracle("O34", "O44")
def test_the_codes_keep_every_zero_and_the_few_that_they_add_are_counted(chain: Ends) -> None:
    codes, extra = chain.report.int8, 0
    assert codes is not None
    for name, mask in chain.masks["pruning"].items():
        is_zero = codes[f"{name}.codes"] == 0
        assert bool(is_zero[~mask].all()), name
        assert 0 <= int(is_zero[mask].sum()) <= 0.05 * int(mask.sum()), name
        extra += int(is_zero[mask].sum())
        assert torch.equal(chain.nonzero["quantization"][name], ~is_zero), name
    assert chain.report.details["int8"]["extra_zeros"] == extra


@pytest.mark.oracle("O34", "O44")
@pytest.mark.parametrize("end", ["dense", "pruning", "transfer", "quantization", "int8"])
def test_every_model_of_the_chain_answers_above_chance(chain: Ends, end: str) -> None:
    assert chain.accuracies[end] > CHANCE
