"""A batch in parts is the batch: weights, losses, masks and data order; and a device that runs out of memory.

Without dropout and in double precision a split may differ by rounding only, so the tolerance can be tight. The GPU is
played by an objective that raises torch's own error when it is handed more examples than it "holds".
"""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import torch
import toy_training
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    TrainerCallback,
    set_seed,
)

from harness.compression.quantization import RangeObserver
from harness.compression.schedule import PruningSchedule
from harness.errors import Interrupted
from harness.inputs.families import BERT
from harness.progress import NEVER
from harness.stages.context import Resources
from harness.stages.training_run import TrainingOutcome, TrainingRun
from harness.training.checkpoints import Checkpoints
from harness.training.hooks import TrainingHooks
from harness.training.micro_batch import first_micro_batch_size, micro_batches, run_with_oom_backoff
from harness.training.modifiers import GradualPruning, LockedQuantization, Matrices, Modifier
from harness.training.objectives import (
    ClassificationObjective,
    Distillation,
    Objective,
    PretrainingObjective,
    QuestionAnsweringObjective,
)
from harness.training.trainer import CompressionTrainer, Progress, training_arguments
from harness.worker.run import outcome_of

VOCABULARY, BATCH, ROWS = 40, 8, 21  # 21 examples: batches of 8, 8 and 5 in an epoch
PARAMETERS: dict[str, Any] = {
    **toy_training.PARAMETERS,
    "batch_size": BATCH,
    "max_grad_norm": 0.1,  # small enough to clip
    "threads": 1,
    "steps": 6,
    "warmup_fraction": 0.0,
}
TRAINED = {
    "classification": BertForSequenceClassification,
    "questions": BertForQuestionAnswering,
    "pretraining": BertForPreTraining,
}
OBJECTIVES = {
    "classification": ClassificationObjective,
    "questions": QuestionAnsweringObjective,
    "pretraining": PretrainingObjective,
}


def network(what: str, seed: int = 0) -> Any:
    set_seed(seed)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.3,  # so that student and teacher disagree
    )
    return TRAINED[what](config).double()


def objective_of(what: str, *, distilled: bool) -> Objective:
    kd = Distillation(teacher=network(what, seed=1), ce_weight=0.3, kd_weight=0.7, temperature=2.0)
    return OBJECTIVES[what](distillation=kd if distilled else None)


def examples(rows: int = ROWS) -> datasets.Dataset:
    """Of different length; the share of masked tokens differs as well, down to an example without any."""
    draw = np.random.default_rng(0)
    lengths = [5 + (5 * i) % 9 for i in range(rows)]
    ids = [draw.integers(5, VOCABULARY, n).tolist() for n in lengths]
    return datasets.Dataset.from_dict(
        {
            "number": list(range(rows)),
            "input_ids": ids,
            "masked": [[t if draw.random() < 0.1 * (i % 4) else -100 for t in row] for i, row in enumerate(ids)],
            "label": [i % 2 for i in range(rows)],
            "start": [1 + i % 3 for i in range(rows)],
            "length": lengths,
        }
    )


@dataclass
class Collator:
    """Pads to the longest of the batch and keeps which examples came together."""

    what: str
    batches: list[list[int]] = field(default_factory=list)

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Tensor]:
        self.batches.append([f["number"] for f in features])
        width = max(f["length"] for f in features)

        def padded(name: str, filler: int) -> Tensor:
            return torch.tensor([f[name] + [filler] * (width - f["length"]) for f in features])

        ids, label = padded("input_ids", 0), torch.tensor([f["label"] for f in features])
        batch = {"input_ids": ids, "attention_mask": (ids != 0).long()}
        if self.what == "pretraining":
            return {**batch, "labels": padded("masked", -100), "next_sentence_label": label}
        if self.what == "questions":
            start = torch.tensor([f["start"] for f in features])
            return {**batch, "start_positions": start, "end_positions": start + 1}
        return {**batch, "labels": label}


@dataclass
class Watched:
    """An objective that notes how many examples it is handed, and whose device holds at most `holds` of them."""

    inner: Objective
    holds: int = 10**6
    from_call: int = 0
    sizes: list[int] = field(default_factory=list)

    def __call__(self, model: nn.Module, inputs: Mapping[str, Tensor], full_batch: Any = None) -> Tensor:
        self.sizes.append(len(inputs["input_ids"]))
        if self.sizes[-1] > self.holds and len(self.sizes) > self.from_call:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nand much more")
        return self.inner(model, inputs, full_batch)


@dataclass
class Run:
    """A trainer that ran, and what was watched meanwhile."""

    model: Any
    progress: Progress
    sizes: list[int]
    batches: list[list[int]]


def fit(
    what: str,
    folder: Path,
    *,
    micro_batch_size: int | None = None,
    distilled: bool = True,
    callbacks: tuple[TrainerCallback, ...] = (),
    attach: Callable[[nn.Module], None] = lambda model: None,
    should_stop: Callable[[], bool] = lambda: False,
    hooks: TrainingHooks | None = None,
    **changed: Any,
) -> Run:
    model, data, collator = network(what), examples(), Collator(what)
    attach(model)
    objective = Watched(objective_of(what, distilled=distilled))
    parameters = {**PARAMETERS, **changed}
    trainer = CompressionTrainer(
        model=model,
        args=training_arguments(parameters, output_dir=folder, num_steps=parameters["steps"]),
        train_dataset=data,
        data_collator=collator,
        callbacks=list(callbacks),
        objective=objective,
        factor=lambda step: 1.0,
        lengths=data["length"],
        checkpoints=Checkpoints(folder),
        checkpoint_minutes=60.0,
        should_stop=should_stop,
        report=lambda progress: None,
        micro_batch_size=micro_batch_size,
        hooks=hooks,
    )
    return Run(model, trainer.fit(), objective.sizes, collator.batches)


Whole = Callable[..., Run]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Runs with every batch whole, each made once: what the splits are held against."""
    runs: dict[tuple[str, bool], Run] = {}

    def run(what: str, *, distilled: bool = True) -> Run:
        if (what, distilled) not in runs:
            runs[what, distilled] = fit(what, tmp_path_factory.mktemp("whole"), distilled=distilled)
        return runs[what, distilled]

    return run


def assert_same_weights(first: nn.Module, second: nn.Module) -> None:
    for (name, a), (_, b) in zip(first.state_dict().items(), second.state_dict().items(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9, msg=name)


# -- parts add up to the batch


@pytest.mark.parametrize(
    ("micro_batch_size", "of_8", "of_5"),
    [(8, [8], [5]), (4, [4, 4], [4, 1]), (3, [3, 3, 2], [3, 2]), (2, [2] * 4, [2, 2, 1]), (1, [1] * 8, [1] * 5)],
)
def test_a_batch_is_cut_into_micro_batches_of_the_given_size(
    tmp_path: Path, micro_batch_size: int, of_8: list[int], of_5: list[int]
) -> None:
    run = fit("classification", tmp_path, micro_batch_size=micro_batch_size, steps=4)
    assert run.sizes == [*of_8, *of_8, *of_5, *of_8]  # an epoch of 21, and the next one's first batch
    assert run.progress.device_batches == [{"from_step": 1, "device_batch": micro_batch_size}]


@pytest.mark.parametrize("micro_batch_size", [4, 3, 1])
@pytest.mark.parametrize(
    ("what", "distilled"),
    [("pretraining", False), ("pretraining", True), ("classification", True), ("questions", True)],
)
def test_weights_losses_and_data_order_do_not_depend_on_the_split(
    tmp_path: Path, whole: Whole, what: str, distilled: bool, micro_batch_size: int
) -> None:
    unsplit = whole(what, distilled=distilled)
    split = fit(what, tmp_path, distilled=distilled, micro_batch_size=micro_batch_size)
    assert max(unsplit.sizes) == BATCH
    assert max(split.sizes) == micro_batch_size
    assert_same_weights(unsplit.model, split.model)
    assert split.progress.losses == pytest.approx(unsplit.progress.losses, rel=1e-9)
    assert split.progress.tokens_seen == unsplit.progress.tokens_seen
    assert split.batches == unsplit.batches  # the loader makes global batches, however they are cut


def test_the_whole_batch_at_once_is_bit_equal_to_no_micro_batch_size(tmp_path: Path, whole: Whole) -> None:
    unset, asked = whole("pretraining"), fit("pretraining", tmp_path, micro_batch_size=BATCH)
    assert unset.progress.losses == asked.progress.losses
    state = asked.model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in unset.model.state_dict().items())


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@pytest.mark.parametrize("micro_batch_size", [8, 4, 3, 1])
def test_the_masked_lm_loss_is_a_mean_over_the_masked_tokens_of_the_whole_batch(micro_batch_size: int) -> None:
    """By numpy, from the library's own logits; a mean of the parts' means is another number."""
    model = network("pretraining").eval()
    batch = Collator("pretraining")([dict(row) for row in examples().select(range(8))])
    with torch.no_grad():
        output = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        parts = [PretrainingObjective()(model, part, batch) for part in micro_batches(batch, micro_batch_size)]
        means = [PretrainingObjective()(model, part).item() for part in micro_batches(batch, micro_batch_size)]
    labels, pairs = batch["labels"].numpy(), batch["next_sentence_label"].numpy()
    tokens = log_softmax(output.prediction_logits.numpy())
    rows, columns = np.nonzero(labels != -100)
    masked = [-tokens[row, column, labels[row, column]] for row, column in zip(rows, columns, strict=True)]
    next_sentence = -log_softmax(output.seq_relationship_logits.numpy())[np.arange(8), pairs]
    by_hand = sum(masked) / len(masked) + sum(next_sentence) / 8
    assert torch.stack(parts).sum().item() == pytest.approx(by_hand, rel=1e-12)
    if micro_batch_size < 8:
        assert abs(sum(means) / len(means) - by_hand) > 0.01


def test_the_parts_of_a_distilled_batch_add_up_to_the_divergence_over_all_live_tokens() -> None:
    """Soft targets alone (weights 0 and 1): sum over live tokens of KL(teacher || student), over their count."""
    student, teacher = network("pretraining").eval(), network("pretraining", seed=1).eval()
    kd = Distillation(teacher=teacher, ce_weight=0.0, kd_weight=1.0, temperature=1.0)
    batch = Collator("pretraining")([dict(row) for row in examples().select(range(8))])
    with torch.no_grad():
        loss = sum(
            PretrainingObjective(distillation=kd)(student, part, batch).item() for part in micro_batches(batch, 3)
        )
        said = [
            [log_softmax(logits.numpy()) for logits in (out.prediction_logits, out.seq_relationship_logits)]
            for out in (m(batch["input_ids"], attention_mask=batch["attention_mask"]) for m in (student, teacher))
        ]
    tokens, pairs = ((np.exp(taught) * (taught - own)).sum(-1) for own, taught in zip(*said, strict=True))
    live = batch["attention_mask"].numpy() == 1
    assert loss == pytest.approx(tokens[live].sum() / live.sum() + pairs.sum() / 8, rel=1e-9)


class MaskPatterns(TrainerCallback):
    """The zero patterns of all encoder matrices after each step."""

    def __init__(self, matrices: Matrices) -> None:
        self.matrices = matrices
        self.patterns: list[list[Tensor]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        modules = [kwargs["model"].get_submodule(name) for name in self.matrices.encoder]
        self.patterns.append([module.weight == 0 for module in modules])


def test_pruning_makes_the_same_masks_at_the_same_steps(tmp_path: Path) -> None:
    def run(folder: Path, micro_batch_size: int) -> list[list[Tensor]]:
        matrices = Matrices.of(network("classification"), BERT)
        pruning = GradualPruning(
            matrices=matrices,
            schedule=PruningSchedule(final_sparsity=0.7, ramp_begin=0, ramp_end=4, frequency=1, last_event=4),
            ranking="local",
            rewind=False,
            with_pooler=False,
        )
        seen = MaskPatterns(matrices)
        callbacks = (*pruning.callbacks(6), seen)
        fit("classification", folder, micro_batch_size=micro_batch_size, callbacks=callbacks, attach=pruning.attach)
        return seen.patterns

    uncut, split = run(tmp_path / "whole", 8), run(tmp_path / "split", 3)
    counts = [sum(int(mask.sum()) for mask in masks) for masks in uncut]
    assert len(set(counts)) == 5, "a mask update after each of the first five steps, and none after"
    for masks, others in zip(uncut, split, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(masks, others, strict=True))


def test_an_activation_range_moves_once_a_step_however_the_batch_is_cut(tmp_path: Path) -> None:
    """The first layer's input ranges are exact; deeper ones see activations that were rounded a little differently."""

    def run(folder: Path, micro_batch_size: int) -> dict[str, RangeObserver]:
        like = network("classification")
        locked = LockedQuantization(
            matrices=Matrices.of(like, BERT),
            with_pooler=False,
            linears=[name for name, module in like.named_modules() if isinstance(module, nn.Linear)],
            fp32_outputs=["classifier"],
            weight_scale="max127",
            activation_momentum=0.3,
        )
        ran = fit(
            "classification",
            folder,
            micro_batch_size=micro_batch_size,
            attach=locked.attach,
            hooks=locked,
            steps=3,
            learning_rate=1e-9,
        )
        return {name: module for name, module in ran.model.named_modules() if isinstance(module, RangeObserver)}

    uncut, split = run(tmp_path / "whole", 8), run(tmp_path / "split", 3)
    assert len(uncut) > 12
    for name, observer in uncut.items():
        exact = "layer.0.attention.self" in name and "input" in name
        tolerance = 1e-6 if exact else 0.1
        assert split[name].minimum.item() == pytest.approx(observer.minimum.item(), rel=tolerance, abs=0.02), name
        assert split[name].maximum.item() == pytest.approx(observer.maximum.item(), rel=tolerance, abs=0.02), name
        assert split[name]._micro_batches is None


# -- resuming


@pytest.mark.parametrize(("stop_after", "before", "after"), [(2, 8, 3), (3, 8, 3), (4, 8, 3), (2, 3, 8), (3, 4, 1)])
def test_a_checkpoint_goes_on_at_the_same_example_with_another_split(
    tmp_path: Path, whole: Whole, stop_after: int, before: int, after: int
) -> None:
    """Stopped within an epoch of three steps, at its border, and after it."""
    unsplit = whole("classification")
    steps = {"made": 0}

    class Count(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            steps["made"] = state.global_step + 1

    with pytest.raises(Interrupted):
        fit(
            "classification",
            tmp_path,
            micro_batch_size=before,
            callbacks=(Count(),),
            should_stop=lambda: steps["made"] >= stop_after,
        )
    resumed = fit("classification", tmp_path, micro_batch_size=after)
    assert sum(resumed.sizes) == sum(len(batch) for batch in unsplit.batches[stop_after : PARAMETERS["steps"]])
    assert resumed.progress.losses == pytest.approx(unsplit.progress.losses, rel=1e-9)
    assert resumed.progress.tokens_seen == unsplit.progress.tokens_seen
    assert_same_weights(unsplit.model, resumed.model)
    assert resumed.progress.device_batches == [
        {"from_step": 1, "device_batch": before},
        {"from_step": stop_after + 1, "device_batch": after},
    ]


# -- out of memory


@dataclass
class Try:
    """A training run on a device that holds so much; `models` are those that were loaded, weakly."""

    training_run: TrainingRun
    objective: Watched
    models: list[Any]
    alive_at_load: list[int]

    def run(self) -> TrainingOutcome:
        return self.training_run.run()


def attempt(folder: Path, *, holds: int, from_call: int = 0, minutes: float = 60.0, micro_batch_size: int = 0) -> Try:
    objective = Watched(objective_of("classification", distilled=True), holds=holds, from_call=from_call)
    models: list[Any] = []
    alive: list[int] = []

    def load() -> nn.Module:
        alive.append(sum(model() is not None for model in models))
        model = network("classification")
        models.append(weakref.ref(model))
        return model

    context: Any = SimpleNamespace(
        parameters=PARAMETERS,
        spec=SimpleNamespace(kind="transfer"),
        checkpoints=folder,
        resources=Resources(checkpoint_minutes=minutes, micro_batch_size=micro_batch_size),
        should_stop=lambda: False,
        checked=NEVER.over,
        guard=lambda: None,
        report=lambda progress: None,
        team=None,
    )
    training_run = TrainingRun(
        context=context,
        load_model=load,
        family=BERT,
        make_modifier=lambda model, matrices, num_steps: Modifier(matrices=matrices),
        objective=objective,
        examples=examples(),
        collator=Collator("classification"),
    )
    return Try(training_run, objective, models, alive)


def batches_of(trained: TrainingOutcome) -> dict[str, Any]:
    found: dict[str, Any] = trained.details["training"]["batches"]
    return found


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> TrainingOutcome:
    return attempt(tmp_path_factory.mktemp("run"), holds=8).run()


def test_out_of_memory_at_the_start_goes_on_with_half_and_ends_with_the_same_weights(
    tmp_path: Path, whole_run: TrainingOutcome, caplog: pytest.LogCaptureFixture
) -> None:
    assert batches_of(whole_run) == {
        "global": 8,
        "device": [{"from_step": 1, "device_batch": 8, "accumulation": 1}],
        "too_large": [],
    }
    with caplog.at_level(logging.WARNING):
        small = attempt(tmp_path / "small", holds=3)
        trained = small.run()
    assert batches_of(trained) == {
        "global": 8,
        "device": [{"from_step": 1, "device_batch": 2, "accumulation": 4}],
        "too_large": [8, 4],
    }
    assert small.objective.sizes[:3] == [8, 4, 2]
    assert_same_weights(whole_run.model, trained.model)
    said = [record.getMessage() for record in caplog.records if record.name.endswith("micro_batch")]
    found = "CUDA out of memory. Tried to allocate 2.00 GiB."
    assert said == [
        f"training (transfer) ran out of memory with 8 examples at a time: {found}",
        "training (transfer) continues with 4 examples at a time",
        f"training (transfer) ran out of memory with 4 examples at a time: {found}",
        "training (transfer) continues with 2 examples at a time",
    ]


def test_out_of_memory_later_on_goes_on_from_the_newest_checkpoint(tmp_path: Path, whole_run: TrainingOutcome) -> None:
    """The 5th step's batch does not fit: steps 1 to 4 are kept, the step itself is made again in parts of 4."""
    late = attempt(tmp_path / "late", holds=7, from_call=4, minutes=0.0)
    trained = late.run()
    # Steps of 8, 8, 5, 8, the failing 8; then 8 = 4 + 4 and 5 = 4 + 1.
    assert late.objective.sizes == [8, 8, 5, 8, 8, 4, 4, 4, 1]
    assert batches_of(trained) == {
        "global": 8,
        "device": [
            {"from_step": 1, "device_batch": 8, "accumulation": 1},
            {"from_step": 5, "device_batch": 4, "accumulation": 2},
        ],
        "too_large": [8],
    }
    assert_same_weights(whole_run.model, trained.model)
    curves = [found.details["training"]["loss_curve"] for found in (whole_run, trained)]
    assert [point["loss"] for point in curves[1]] == pytest.approx([point["loss"] for point in curves[0]], rel=1e-9)


def test_out_of_memory_later_on_without_a_checkpoint_starts_again(tmp_path: Path, whole_run: TrainingOutcome) -> None:
    late = attempt(tmp_path / "late", holds=7, from_call=4)
    trained = late.run()
    assert late.objective.sizes[:9] == [8, 8, 5, 8, 8, 4, 4, 4, 4]
    assert batches_of(trained)["device"] == [{"from_step": 1, "device_batch": 4, "accumulation": 2}]
    assert_same_weights(whole_run.model, trained.model)


def test_one_example_too_many_fails_and_says_what_was_tried(tmp_path: Path) -> None:
    hopeless = attempt(tmp_path, holds=0)
    with pytest.raises(torch.OutOfMemoryError) as raised:
        hopeless.run()
    assert hopeless.objective.sizes == [8, 4, 2, 1]
    message = str(raised.value)
    assert "training (transfer) does not fit the device with one example at a time (tried 8, 4, 2, 1)" in message
    assert "CUDA out of memory. Tried to allocate 2.00 GiB." in message
    assert "more free memory" in message
    assert outcome_of(raised.value) == "out-of-memory"


def test_a_failed_try_is_let_go_of_before_the_next_one_loads(tmp_path: Path) -> None:
    gc.disable()  # what is freed is freed by us, not by a collection that happened to come
    try:
        small = attempt(tmp_path, holds=2)
        small.run()
    finally:
        gc.enable()
    assert len(small.models) == 3
    assert small.alive_at_load == [0, 0, 0]


def test_the_requested_micro_batch_size_is_where_it_starts(tmp_path: Path) -> None:
    trained = attempt(tmp_path, holds=8, micro_batch_size=3).run()
    assert batches_of(trained) == {
        "global": 8,
        "device": [{"from_step": 1, "device_batch": 3, "accumulation": 3}],
        "too_large": [],
    }


def test_a_micro_batch_size_above_the_batch_is_the_batch_and_zero_is_the_whole() -> None:
    assert [first_micro_batch_size(12, requested) for requested in (0, 1, 5, 12, 32)] == [12, 1, 5, 12, 12]


def test_halving_rounds_down_and_ends_at_one() -> None:
    tried: list[int] = []

    def work(size: int) -> str:
        tried.append(size)
        if size > 1:
            raise torch.cuda.OutOfMemoryError("full")
        return "done"

    backoff = run_with_oom_backoff(work, 13, what="work")
    assert tried == [13, 6, 3, 1]
    assert (backoff.result, backoff.micro_batch_size, backoff.oom_sizes) == ("done", 1, (13, 6, 3))


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error"), Interrupted("stop")])
def test_other_errors_are_not_tried_again(error: Exception) -> None:
    calls: list[int] = []

    def work(size: int) -> None:
        calls.append(size)
        raise error

    with pytest.raises(type(error)):
        run_with_oom_backoff(work, 8, what="work")
    assert calls == [8]
