"""The Trainer subclass: steps, gradient accumulation, data order, the lock through real training, checkpoints."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from torch import nn
from toy_training import PARAMETERS
from transformers import BertConfig, BertForSequenceClassification, TrainerCallback, set_seed

from harness.compression.schedule import PruningSchedule
from harness.compression.sparsify import lock_pattern
from harness.errors import IntegrityError, Interrupted
from harness.inputs.families import BERT
from harness.stages.training_run import loss_curve
from harness.store.leases import LeaseLost, acquire
from harness.training.checkpoints import COMPLETE, Checkpoints
from harness.training.data_order import SeededLengthGroupedSampler, SeededShuffledSampler
from harness.training.modifiers import GradualPruning, Matrices, PatternLock
from harness.training.objectives import ClassificationObjective
from harness.training.trainer import (
    CompressionTrainer,
    training_arguments,
)

STEPS = 12


def model(dropout: float = 0.0) -> BertForSequenceClassification:
    set_seed(0)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=40,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=32,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
    )


def examples(rows: int = 32) -> datasets.Dataset:
    draw = np.random.default_rng(0)
    lengths = [6 + i % 3 for i in range(rows)]
    return datasets.Dataset.from_dict(
        {
            "input_ids": [draw.integers(5, 40, n).tolist() for n in lengths],
            "labels": [i % 2 for i in range(rows)],
            "length": lengths,
        }
    )


def collate(features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    width = max(len(f["input_ids"]) for f in features)
    ids = torch.tensor([f["input_ids"] + [0] * (width - len(f["input_ids"])) for f in features])
    return {
        "input_ids": ids,
        "attention_mask": (ids != 0).long(),
        "labels": torch.tensor([f["labels"] for f in features]),
    }


def trainer(
    network: nn.Module,
    folder: Path,
    *,
    steps: int = STEPS,
    factor: Callable[[int], float] = lambda step: 1.0,
    callbacks: tuple[TrainerCallback, ...] = (),
    should_stop: Callable[[], bool] = lambda: False,
    minutes: float = 60.0,
    data: datasets.Dataset | None = None,
    accumulation: int = 1,
    **changed: Any,
) -> CompressionTrainer:
    arguments = training_arguments({**PARAMETERS, **changed}, output_dir=folder, num_steps=steps)
    arguments.gradient_accumulation_steps = accumulation
    data = examples() if data is None else data
    return CompressionTrainer(
        model=network,
        args=arguments,
        train_dataset=data,
        data_collator=collate,
        callbacks=list(callbacks),
        objective=ClassificationObjective(),
        factor=factor,
        lengths=data["length"],
        checkpoints=Checkpoints(folder),
        checkpoint_minutes=minutes,
        should_stop=should_stop,
        report=lambda progress: None,
    )


class RatesUsed(TrainerCallback):
    """The learning rate with which each optimizer step was made."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.rates.append(kwargs["optimizer"].param_groups[0]["lr"])


def test_step_n_uses_the_factor_of_n_minus_one(tmp_path: Path) -> None:
    seen = RatesUsed()
    trainer(model(), tmp_path, factor=lambda step: step / 100, callbacks=(seen,)).fit()
    assert seen.rates == pytest.approx([0.01 * step / 100 for step in range(STEPS)])


@pytest.mark.oracle("O2")
def test_masks_are_updated_after_the_scheduled_steps(tmp_path: Path) -> None:
    """t0=0, t1=5, mask updates every 2 steps up to 8: zeros after steps 1, 3, 5, 7, 9 and not in between."""
    network = model()
    matrices = Matrices.of(network, BERT)
    schedule = PruningSchedule(final_sparsity=0.5, ramp_begin=0, ramp_end=4, first_event=0, last_event=8, frequency=2)
    pruning = GradualPruning(matrices=matrices, schedule=schedule, ranking="local", rewind=False, with_pooler=False)
    pruning.attach(network)
    zeros: list[int] = []

    class Count(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            zeros.append(int((network.get_submodule(matrices.encoder[0]).weight == 0).sum()))

    trainer(network, tmp_path, callbacks=(*pruning.callbacks(STEPS), Count())).fit()
    # 256 weights; s(0)=0, s(2)=.5*(1-1/8)=.4375 -> 112, s(4)=.5 -> 128.
    assert zeros == [0, 0, 112, 112, 128, 128, 128, 128, 128, 128, 128, 128]
    report = pruning.detach(network)
    assert report.summary == [
        "masked 12 of 12 encoder matrices",
        "masked 0 of 1 pooler matrices",
        "5 mask events to sparsity 0.5",
    ]
    assert report.details["sparsity"]["encoder"] == 0.5


@pytest.mark.oracle("O25")
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_the_lock_holds_through_the_trainers_own_optimizer(tmp_path: Path, decay: float, clip: float) -> None:
    network = model(dropout=0.1)
    matrices = Matrices.of(network, BERT)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name in matrices.masked(with_pooler=True):
            weight = network.get_submodule(name).weight
            weight.mul_(torch.rand(weight.shape, generator=draw) > 0.85)
    before = {name: network.get_submodule(name).weight.detach().clone() for name in matrices.encoder}
    lock = PatternLock(matrices=matrices, with_pooler=True)
    lock.attach(network)
    run = trainer(network, tmp_path, weight_decay=decay, max_grad_norm=clip)
    run.fit()
    moments = run.optimizer.state[network.get_submodule(matrices.encoder[0]).parametrizations.weight.original]
    dead = before[matrices.encoder[0]] == 0
    assert bool((moments["exp_avg"][dead] == 0).all())
    assert bool((moments["exp_avg_sq"][dead] == 0).all())
    report = lock.detach(network)
    assert report.summary == ["locked 12 of 12 encoder matrices", "locked 1 of 1 pooler matrices"]
    for name, weight in before.items():
        after = network.get_submodule(name).weight
        assert torch.equal(weight == 0, after == 0), name
        assert not torch.equal(weight, after), f"{name} did not train"


@pytest.mark.parametrize("name", ["bert.encoder.layer.1.intermediate.dense", "bert.pooler.dense"])
def test_a_pattern_that_changed_in_any_locked_matrix_the_poolers_too_is_no_result(name: str) -> None:
    network = model()
    with torch.no_grad():
        network.get_submodule(name).weight[0, 0] = 0.0
    lock = PatternLock(matrices=Matrices.of(network, BERT), with_pooler=True)
    lock.attach(network)
    weight = network.get_submodule(name).parametrizations.weight
    weight[0].mask[0, 0] = True
    weight.original.data[0, 0] = 1.0
    with pytest.raises(IntegrityError, match="the locked zero pattern changed"):
        lock.detach(network)


def test_the_locked_pattern_is_told_with_the_pooler_and_the_encoders_without() -> None:
    """Two models whose poolers alone differ in zeros."""
    told = []
    for zeros in (1, 2):
        network = model()
        with torch.no_grad():
            network.bert.pooler.dense.weight[0, :zeros] = 0.0
        lock = PatternLock(matrices=Matrices.of(network, BERT), with_pooler=True)
        lock.attach(network)
        told.append(lock.detach(network).details["sparsity"])
    assert told[0]["pattern_sha256"] == told[1]["pattern_sha256"]
    assert told[0]["locked_pattern_sha256"] != told[1]["locked_pattern_sha256"]


@pytest.mark.oracle("O26")
def test_without_the_lock_one_run_removes_all_sparsity(tmp_path: Path) -> None:
    network = model()
    weight = network.get_submodule("bert.encoder.layer.0.output.dense").weight
    with torch.no_grad():
        weight.mul_(torch.rand_like(weight) > 0.9)
    assert float((weight == 0).float().mean()) > 0.85
    trainer(network, tmp_path, steps=1).fit()
    assert float((weight == 0).float().mean()) == 0.0


def test_accumulated_micro_batches_give_the_step_of_the_whole_batch(tmp_path: Path) -> None:
    """2 x 4 examples accumulated move the weights as one batch of 8: the objective is a mean, not a sum."""
    rows = examples(8)
    whole, parts = model(), model()
    trainer(whole, tmp_path / "a", steps=1, data=rows, batch_size=8).fit()
    trainer(parts, tmp_path / "b", steps=1, data=rows, batch_size=4, accumulation=2).fit()
    start = model().state_dict()
    for name, tensor in whole.state_dict().items():
        assert torch.allclose(tensor, parts.state_dict()[name], atol=2e-5), name
    assert any(not torch.equal(start[name], tensor) for name, tensor in whole.state_dict().items())


def test_tokens_and_losses_are_counted_once_per_step(tmp_path: Path) -> None:
    rows = examples(8)
    progress = trainer(model(), tmp_path, steps=4, data=rows).fit()  # 4 steps of 4 = two epochs of 8
    assert progress.tokens_seen == 2 * sum(rows["length"])
    assert len(progress.losses) == 4


@pytest.mark.parametrize(
    ("padding", "sampler"), [("longest", SeededLengthGroupedSampler), ("max_length", SeededShuffledSampler)]
)
def test_the_order_of_a_run_is_that_of_its_padding(tmp_path: Path, padding: str, sampler: type) -> None:
    run = trainer(model(), tmp_path, padding=padding)
    found = run._get_train_sampler()
    assert type(found) is sampler
    met = [row["input_ids"].shape[0] for row in run.batches()]
    assert met == [4] * 8
    assert found.seed == 0
    assert len(found) == 32


class BatchesMet(TrainerCallback):
    """The first tokens of the examples of every batch, in order."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        self.batches.append([f["input_ids"][0] * 1000 + f["input_ids"][1] * 10 + f["length"] for f in features])
        return collate(features)


@pytest.mark.parametrize("padding", ["longest", "max_length"])
def test_a_resumed_run_meets_the_batches_of_the_uninterrupted_one(tmp_path: Path, padding: str) -> None:
    """20 steps of 4 in epochs of 8 steps; stopped after step 11, in the second epoch."""
    met: dict[str, list[list[int]]] = {}
    for name, stops in (("whole", [99]), ("resumed", [11, 99])):
        met[name] = []
        for stop_after in stops:
            seen = BatchesMet()
            steps = iter(range(1, 100))
            run = trainer(
                model(),
                tmp_path / name,
                steps=20,
                should_stop=lambda steps=steps, stop_after=stop_after: next(steps) >= stop_after,
                padding=padding,
            )
            run.data_collator = seen
            try:
                run.fit()
            except Interrupted:
                met[name] += seen.batches[:11]
            else:
                met[name] += seen.batches[: 20 - len(met[name])]
    assert len(met["whole"]) == 20
    assert met["resumed"] == met["whole"]
    first, second = (sorted(chain(*met["whole"][start : start + 8])) for start in (0, 8))
    assert first == second  # each epoch has every example once, in another order
    assert met["whole"][:8] != met["whole"][8:16]


def pruned_run(folder: Path, stop_after: int | None = None) -> dict[str, Any]:
    """A run with dropout and pruning; with `stop_after` it is stopped there once and then started again."""
    weights: dict[str, Any] = {}
    for attempt in range(2 if stop_after else 1):
        network = model(dropout=0.1)
        matrices = Matrices.of(network, BERT)
        pruning = GradualPruning(
            matrices=matrices,
            schedule=PruningSchedule(final_sparsity=0.8, ramp_end=8, first_event=0, last_event=16, frequency=2),
            ranking="local",
            rewind=True,
            with_pooler=True,
        )
        pruning.attach(network)
        count = {"steps": 0}

        class Stop(TrainerCallback):
            def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                count["steps"] = state.global_step + 1  # noqa: B023

        run = trainer(
            network,
            folder,
            steps=20,
            factor=pruning.factor(20, 2),
            callbacks=(Stop(), *pruning.callbacks(20)),
            should_stop=(lambda: count["steps"] >= (stop_after or 99)) if attempt == 0 else (lambda: False),  # noqa: B023
        )
        try:
            progress = run.fit()
        except Interrupted:
            assert attempt == 0
            continue
        state = run.optimizer.state_dict()["state"]
        weights = {
            "state": {name: tensor.clone() for name, tensor in network.state_dict().items()},
            "moments": [state[i]["exp_avg"].clone() for i in sorted(state)],
            "losses": progress.losses,
            "tokens": progress.tokens_seen,
            "rate": run.optimizer.param_groups[0]["lr"],
        }
    return weights


@pytest.mark.oracle("O45")
@pytest.mark.parametrize("stop_after", [3, 7, 8, 13, 19])
def test_a_stopped_and_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path: Path, stop_after: int) -> None:
    """Before, in and after the ramp, at an epoch border (8) and one step before the end; shadows, masks, moments."""
    whole, resumed = pruned_run(tmp_path / "whole"), pruned_run(tmp_path / "resumed", stop_after)
    assert resumed["losses"] == whole["losses"]
    assert resumed["tokens"] == whole["tokens"]
    assert resumed["rate"] == whole["rate"]
    assert resumed["state"].keys() == whole["state"].keys()
    assert all(torch.equal(resumed["state"][name], tensor) for name, tensor in whole["state"].items())
    assert all(torch.equal(a, b) for a, b in zip(resumed["moments"], whole["moments"], strict=True))


def test_gradients_that_are_never_finite_end_the_run_before_any_is_applied(tmp_path: Path) -> None:
    network = model()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.classifier.weight.register_hook(lambda gradient: torch.full_like(gradient, torch.inf))
    with pytest.raises(FloatingPointError, match=r"the gradient norm is (nan|inf) at step 4, and .* at the 3 steps"):
        trainer(network, tmp_path).fit()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.oracle("O28")
@pytest.mark.parametrize("max_grad_norm", [0.0, 1.0])
@pytest.mark.parametrize("bad", [(5,), (2, 3, 4, 6), (1,), (STEPS,)])
def test_a_step_whose_gradient_is_not_finite_is_skipped_and_clock_and_rate_go_on(
    tmp_path: Path, bad: tuple[int, ...], max_grad_norm: float
) -> None:
    """An infinite gradient on a masked entry: against a loop by hand that makes no step there, but counts it."""
    used = RatesUsed()
    network = locked_model()
    shadow = network.bert.encoder.layer[0].output.dense.parametrizations.weight.original
    run = trainer(network, tmp_path, factor=rate, callbacks=(used,), max_grad_norm=max_grad_norm, weight_decay=0.1)

    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        if run.state.global_step + 1 not in bad:
            return gradient
        return gradient.index_put(tuple(torch.tensor([i]) for i in MASKED), torch.tensor(torch.inf))

    shadow.register_hook(spoil)
    progress = run.fit()
    assert progress.skipped_steps == list(bad)
    assert used.rates == pytest.approx([PARAMETERS["learning_rate"] * rate(step) for step in range(STEPS)])
    assert run.state.global_step == STEPS == len(progress.losses)
    expected = trained_by_hand(locked_model(), run, bad, max_grad_norm)
    for name, tensor in network.state_dict().items():
        assert torch.isfinite(tensor).all()
        assert torch.allclose(tensor, expected[name], rtol=0, atol=2e-5), name
    assert shadow[MASKED] == 0


MASKED = (3, 4)


def rate(step: int) -> float:
    return 1.0 - step / STEPS


def locked_model() -> BertForSequenceClassification:
    network = model()
    dense = network.bert.encoder.layer[0].output.dense
    with torch.no_grad():
        dense.weight[MASKED] = 0.0
    lock_pattern(network, ["bert.encoder.layer.0.output.dense"])
    return network


def trained_by_hand(
    network: nn.Module, run: CompressionTrainer, bad: tuple[int, ...], max_grad_norm: float
) -> dict[str, torch.Tensor]:
    """AdamW over the same batches, in a loop of its own. At a bad step nothing is called."""
    sampler, batches = run._get_train_sampler(), []
    for epoch in range(STEPS):
        sampler.set_epoch(epoch)
        order = list(sampler)
        batches += [order[start : start + 4] for start in range(0, len(order), 4)]
    decays = [p for name, p in network.named_parameters() if p.ndim > 1 and "LayerNorm" not in name]
    others = [p for name, p in network.named_parameters() if not (p.ndim > 1 and "LayerNorm" not in name)]
    options = {"lr": PARAMETERS["learning_rate"], "betas": (PARAMETERS["adam_beta1"], PARAMETERS["adam_beta2"])}
    groups = [{"params": decays, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, **options, eps=PARAMETERS["adam_epsilon"], foreach=False)
    data, objective = examples(), ClassificationObjective()
    network.train()
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = PARAMETERS["learning_rate"] * rate(step)
        if step + 1 in bad:
            continue
        optimizer.zero_grad()
        objective(network, collate([data[row] for row in batches[step]]), None).backward()
        if max_grad_norm:
            torch.nn.utils.clip_grad_norm_(network.parameters(), max_grad_norm)
        optimizer.step()
    return network.state_dict()


def test_the_loss_curve_is_over_the_steps_that_were_made() -> None:
    """Twelve steps in ten windows; a window of skipped steps alone is left out."""
    losses = [1.0, math.inf, 3.0, 4.0, math.nan, math.nan, math.nan, 8.0, 9.0, 10.0, 11.0, 12.0]
    assert [round(12 * (i + 1) / 10) for i in range(10)] == [1, 2, 4, 5, 6, 7, 8, 10, 11, 12]
    steps = {point["step"]: point["loss"] for point in loss_curve(losses)}
    assert steps == {1: 1.0, 4: 3.5, 8: 8.0, 10: 9.5, 11: 11.0, 12: 12.0}


def write_checkpoint(checkpoints: Checkpoints | Path, step: int) -> Path:
    checkpoints = Checkpoints(checkpoints) if isinstance(checkpoints, Path) else checkpoints
    with checkpoints.writing() as staging:
        written = staging / f"checkpoint-{step}"
        written.mkdir()
        (written / "weights").write_bytes(b"x" * 100)
    return checkpoints.folder / f"checkpoint-{step}"


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    for step in (5, 90, 100, 110):
        write_checkpoint(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-100", "checkpoint-110"]
    latest = Checkpoints(tmp_path).latest()
    assert latest is not None
    assert latest.name == "checkpoint-110"


HARMS = [
    "truncated",
    "one byte changed",
    "missing file",
    "file too many",
    "no completeness file",
    "torn completeness file",
    "empty completeness file",
]


@pytest.mark.parametrize("harm", HARMS)
def test_a_half_written_or_damaged_checkpoint_is_passed_over(
    tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_checkpoint(tmp_path, 10)
    newest = write_checkpoint(tmp_path, 20)
    if harm == "truncated":
        (newest / "weights").write_bytes(b"x" * 99)
    elif harm == "one byte changed":
        (newest / "weights").write_bytes(b"x" * 42 + b"y" + b"x" * 57)
    elif harm == "file too many":
        (newest / "more").write_bytes(b"")
    elif harm == "empty completeness file":
        (newest / COMPLETE).write_text("[]")
    elif harm == "missing file":
        (newest / "weights").unlink()
    elif harm == "no completeness file":
        (newest / COMPLETE).unlink()
    else:
        (newest / COMPLETE).write_text('{"weights": 1')
    latest = Checkpoints(tmp_path).latest()
    assert latest is not None
    assert latest.name == "checkpoint-10"

    assert "checkpoint-20 is skipped" in caplog.text


def test_a_run_that_went_on_from_an_older_checkpoint_leaves_the_damaged_one_behind(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 10)
    (write_checkpoint(tmp_path, 20) / "weights").write_bytes(b"")
    for step in (15, 17):
        write_checkpoint(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-15", "checkpoint-17"]


def test_a_worker_that_lost_its_lease_neither_adds_nor_removes_a_checkpoint(tmp_path: Path) -> None:
    """The rightful worker, which took over, is at 500; the one before it lived on and has come to 300."""
    leases, folder = tmp_path / "leases", tmp_path / "checkpoints"
    lost = acquire(leases, {}, lambda holder: True)
    held = acquire(leases, {}, lambda holder: True)
    assert lost is not None
    assert held is not None
    rightful, straggler = Checkpoints(folder, held.check), Checkpoints(folder, lost.check)
    for step in (400, 450, 500):
        write_checkpoint(rightful, step)
    half_written = folder / ".writing.rightful"
    half_written.mkdir()

    for step in (300, 500, 600):
        with pytest.raises(LeaseLost, match="taken over .generation 2"):
            write_checkpoint(straggler, step)
    with pytest.raises(LeaseLost):
        straggler.latest()  # as after it ran out of device memory; it removes what a killed writer left
    assert sorted(path.name for path in folder.iterdir()) == [half_written.name, "checkpoint-450", "checkpoint-500"]
    assert rightful.latest() == folder / "checkpoint-500"
    assert not half_written.exists()


def test_a_lease_that_is_lost_while_the_checkpoint_gets_its_name_removes_no_other(tmp_path: Path) -> None:
    for step in (450, 500):
        write_checkpoint(Checkpoints(tmp_path), step)
    asked: list[int] = []

    def lost_at_the_second_look() -> None:
        asked.append(1)
        if len(asked) > 1:
            raise LeaseLost("taken over")

    with pytest.raises(LeaseLost):
        write_checkpoint(Checkpoints(tmp_path, lost_at_the_second_look), 300)
    assert {"checkpoint-450", "checkpoint-500"} <= {path.name for path in tmp_path.iterdir()}


def test_a_checkpoint_of_an_earlier_version_lists_sizes_alone_and_is_valid(tmp_path: Path) -> None:
    newest = write_checkpoint(tmp_path, 10)
    (newest / COMPLETE).write_text(json.dumps({"weights": 100}))
    assert Checkpoints(tmp_path).latest() == newest
    (newest / COMPLETE).write_text(json.dumps({"weights": 99}))
    assert Checkpoints(tmp_path).latest() is None


def test_a_full_disk_is_reported_as_one_whatever_the_library_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch.save on a full disk: "[enforce fail at inline_container.cc:672] . unexpected pos 167616 vs 167504"."""

    def write(error: Exception) -> None:
        with Checkpoints(tmp_path).writing() as staging:
            (staging / "checkpoint-3").mkdir()
            raise error

    unexpected = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 167616 vs 167504")
    with pytest.raises(RuntimeError, match="unexpected pos"):
        write(unexpected)  # there is space: the words stand
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> None:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="quota") as caught:
            write(unexpected)
    assert caught.value.__cause__ is unexpected
    with pytest.raises(OSError, match="No space left on device"):
        write(ValueError("Error while serializing: I/O error: No space left on device (os error 28)"))
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_fails_leaves_no_checkpoint(tmp_path: Path) -> None:
    def fail() -> None:
        with Checkpoints(tmp_path).writing() as staging:
            (staging / "checkpoint-3").mkdir()
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert list(tmp_path.iterdir()) == []
    assert Checkpoints(tmp_path).latest() is None
