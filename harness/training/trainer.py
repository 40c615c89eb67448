"""The one Trainer: the library's loop, with our objective, learning-rate schedule, data order and checkpoints.

Steps are optimizer steps throughout, and the step counter of the Trainer's state is the only one: the learning rate of
step n is peak * factor(n - 1), and modifiers see pruning step n - 1 after step n.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from harness.compression.sparsify import Mask
from harness.errors import Interrupted
from harness.progress import StageProgress
from harness.training.checkpoints import Checkpoints
from harness.training.data_order import SeededLengthGroupedSampler, SeededShuffledSampler
from harness.training.hooks import ParameterGroup, TrainingHooks
from harness.training.objectives import Inputs, Objective
from harness.training.ranks import ALONE, Ranks

logger = logging.getLogger(__name__)
WEIGHTS = "training_state.safetensors"
PROGRESS = "progress.json"
LOG_EVERY_SECONDS = 15
GROUPED = "group_by_length"  # the library's word
SKIPPED_IN_A_ROW = 3  # steps whose gradient was not finite; one more, and the run ends


@dataclass
class Progress:
    """Counts of a run so far; saved with every checkpoint. losses: one per step. tokens_seen: not padding.

    skipped_steps: counted from 1, whose gradient was not finite.
    device_batches: the micro-batch size in examples, and the step, counted from 1, from which it was used. Named as in
        checkpoints and records that exist.
    rank_spans: the number of ranks, the step from which it was so many, and the seconds that they took.
    """

    losses: list[float] = field(default_factory=list)
    tokens_seen: int = 0
    seconds: float = 0.0
    device_batches: list[dict[str, int]] = field(default_factory=list)
    skipped_steps: list[int] = field(default_factory=list)
    rank_spans: list[dict[str, Any]] = field(default_factory=list)

    @property
    def recent_loss(self) -> float:
        """Mean over the last twenty steps that were made."""
        return mean_of_finite(self.losses[-20:])

    def note_micro_batch_size(self, next_step: int, micro_batch_size: int) -> None:
        """From `next_step` on, steps are made with micro-batches of this size."""
        if not self.device_batches or self.device_batches[-1]["device_batch"] != micro_batch_size:
            self.device_batches.append({"from_step": next_step, "device_batch": micro_batch_size})

    def note_ranks(self, next_step: int, ranks: int) -> None:
        """From `next_step` on, steps are made by so many."""
        if not self.rank_spans or self.rank_spans[-1]["ranks"] != ranks:
            self.rank_spans.append({"from_step": next_step, "ranks": ranks, "seconds": 0.0})


def mean_of_finite(losses: Sequence[float]) -> float:
    """NaN where none is: a step that was skipped has no loss to speak of."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    return sum(finite) / len(finite) if finite else math.nan


class CompressionTrainer(Trainer):
    """Trains `model` on `objective`; resumes by itself from the newest complete checkpoint.

    factor: step -> multiple of the peak learning rate. lengths: tokens of each training example.
    checkpoint_minutes: time between two checkpoints. should_stop: polled after every step. report: called after each.
    micro_batch_size: most examples on the device at a time; None is the whole batch. It moves no step, no epoch and no
    example to another batch, and changes numbers by rounding only, but for dropout, which draws anew for every
    micro-batch, and for activation ranges (`quantization.observed_as_one_batch`).
    hooks: how a modifier takes part in every step; None: not at all.
    ranks: the processes that train together; what is said above of writing, reports and stops is of rank 0.
    """

    def __init__(
        self,
        *,
        objective: Objective,
        factor: Callable[[int], float],
        lengths: Sequence[int] | NDArray[np.integer],
        checkpoints: Checkpoints,
        checkpoint_minutes: float,
        should_stop: Callable[[], bool],
        report: Callable[[StageProgress], None],
        micro_batch_size: int | None = None,
        hooks: TrainingHooks | None = None,
        ranks: Ranks = ALONE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if self.args.n_gpu > 1:
            raise ValueError(
                f"{self.args.n_gpu} GPUs are visible to one process: the library would split batches among them and "
                "lose the model's parts. Show it one (CUDA_VISIBLE_DEVICES=0)."
            )
        self.objective: Objective = objective
        self.factor = factor
        self.lengths = lengths
        self.checkpoints = checkpoints
        self.micro_batch_size = micro_batch_size or self.args.train_batch_size
        self.hooks = hooks or TrainingHooks()
        self.ranks = ranks
        self.progress = Progress()
        # The objective is a mean over its batch: the Trainer must divide by the accumulation steps, and must not ask
        # the model to scale by the number of labels of the whole accumulated batch.
        self.model_accepts_loss_kwargs = False
        self.loss_is_scaled_for_ga = False
        self._staging: Path | None = None
        self._full_batch: dict[str, Tensor] | None = None
        self._weight = 1.0
        self._penalty_is_due = False
        self._step_loss = 0.0
        self.remove_callback(PrinterCallback)
        self.add_callback(_EpochCallback(self.data_collator))
        if not ranks.is_alone:
            self.add_callback(_RanksAgree(ranks))
        self.add_callback(_ProgressCallback(self, checkpoint_minutes, should_stop, report))

    def fit(self) -> Progress:
        """Train to the end. Raises Interrupted, with a checkpoint on disk, once `should_stop` is true."""
        newest = self.ranks.from_first(self.checkpoints.latest() if self.ranks.is_first else None)
        if newest is not None:
            logger.info("resuming from %s", newest.name)
        self.hooks.start(self.objective, self.batches)
        self.train(resume_from_checkpoint=None if newest is None else str(newest))
        if self.state.global_step < self.state.max_steps:
            raise Interrupted(f"stopped after step {self.state.global_step} of {self.state.max_steps}.")
        return self.progress

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Forward and backward of a loader batch, in parts where there are micro-batches or ranks; its loss.

        Their gradients add up; clipping, the optimizer and every callback see the sum once.
        """
        self._penalty_is_due = self.ranks.is_first
        self.progress.tokens_seen += int(inputs["attention_mask"].sum())
        if self.ranks.is_alone and len(inputs["attention_mask"]) <= self.micro_batch_size:
            loss = super().training_step(model, inputs, num_items_in_batch)
        else:
            loss = self._step_in_parts(model, inputs, num_items_in_batch)
            self.ranks.sum_gradients(model.parameters())
        self._step_loss += float(loss)
        return loss

    def _step_in_parts(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None
    ) -> Tensor:
        """Forward and backward of this rank's parts of a batch; the loss of all ranks' parts."""
        loss = torch.zeros((), device=self.args.device)
        self._full_batch = inputs
        over_ranks = {} if self.ranks.is_alone else {"over_ranks": self.ranks.widest}
        step, parts = self.state.global_step, self.ranks.parts(inputs, self.micro_batch_size)
        out_of_memory: torch.OutOfMemoryError | None = None
        with (
            self.hooks.as_one_batch(model, **over_ranks),
            self.ranks.own_randomness(self.args.seed, step, self.args.device),
        ):
            try:
                for part, self._weight in parts:
                    loss = loss + super().training_step(model, part, num_items_in_batch)
            except torch.OutOfMemoryError as error:
                if self.ranks.is_alone or self.hooks.observes_batches:  # where others wait within their forward passes
                    raise
                out_of_memory = error
        if self.ranks.any(out_of_memory is not None):
            raise torch.OutOfMemoryError("another rank is out of memory") from out_of_memory
        self._full_batch, self._weight = None, 1.0
        return self.ranks.sum(loss)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The objective's mean over this batch, or this micro-batch's share of it. `num_items_in_batch` is not used.

        The hooks' penalty joins the first micro-batch of a batch, so that it counts once.
        """
        loss = self.objective(model, inputs, self._full_batch)
        if self._weight != 1.0:
            loss = loss * self._weight
        penalty = self.hooks.penalty(self.state.global_step) if self._penalty_is_due else None
        self._penalty_is_due = False
        return loss if penalty is None else loss + penalty

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The library's optimizer, with the hooks' groups taken out of its own. Raises ValueError for a bad group."""
        if self.optimizer is not None:
            return self.optimizer
        optimizer = super().create_optimizer(model)
        groups = self.hooks.parameter_groups(self.model if model is None else model)  # type: ignore[arg-type]
        if groups:
            _separate(optimizer, groups, weight_decay=self.args.weight_decay)
        return optimizer

    def batches(self) -> Iterator[Inputs]:
        """The current epoch's global batches on the device; neither the data loader nor any random state notices."""
        sampler = self._get_train_sampler()
        sampler.set_epoch(int(self.state.epoch or 0))
        order = list(sampler)
        for start in range(0, len(order), self.args.train_batch_size):
            rows = [self.train_dataset[row] for row in order[start : start + self.args.train_batch_size]]  # type: ignore[index]
            yield self._prepare_inputs(self.data_collator(rows))

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: the library would walk through all parameters at every step, and no record holds the number."""
        return 0

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer,  # type: ignore[arg-type]
                self.factor,
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def _get_train_sampler(self, train_dataset: Any = None) -> SeededLengthGroupedSampler | SeededShuffledSampler:
        if self.args.train_sampling_strategy != GROUPED:
            return SeededShuffledSampler(len(self.lengths), self.args.seed)
        batch_size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return SeededLengthGroupedSampler(batch_size, self.lengths, self.args.seed)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """Called once before every optimizer step, with clipping or without: skips a step that is not finite."""
        norm = super()._get_grad_norm(model, grad_norm)
        if not torch.isfinite(torch.as_tensor(norm)):
            self._skip_step(model, float(norm))
        return norm

    def _skip_step(self, model: nn.Module, norm: float) -> None:
        """Takes the gradients away: the optimizer changes neither weights nor moments, clock and rate go on.

        Raises FloatingPointError where `SKIPPED_IN_A_ROW` steps before it were skipped as well.
        """
        step, skipped = self.state.global_step + 1, self.progress.skipped_steps
        if skipped[-SKIPPED_IN_A_ROW:] == list(range(step - SKIPPED_IN_A_ROW, step)):
            raise FloatingPointError(
                f"the gradient norm is {norm} at step {step}, and it was not finite at the {SKIPPED_IN_A_ROW} steps "
                "before; lower the learning rate, or look for an infinite loss. Nothing of them was applied to the "
                "weights."
            )
        skipped.append(step)
        logger.warning("step %d is skipped: the gradient norm is %s", step, norm)
        model.zero_grad(set_to_none=True)

    # -- checkpoints: written aside, then renamed. They hold the training state (shadow weights, masks, observers).

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self.ranks.check_equal("the weights", model.state_dict().values())
        if not self.ranks.is_first:
            return
        with self.checkpoints.writing() as staging:
            self._staging = staging
            super()._save_checkpoint(model, trial)
            folder = staging / f"checkpoint-{self.state.global_step}"
            (folder / PROGRESS).write_text(json.dumps(asdict(self.progress)))
        self._staging = None
        logger.info("checkpoint after step %d", self.state.global_step)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._staging) if self._staging is not None else str(super()._get_output_dir(trial))

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        assert output_dir is not None
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        save_model(self.accelerator.unwrap_model(self.model), str(Path(output_dir) / WEIGHTS))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = Path(resume_from_checkpoint)
        load_model(self.model if model is None else model, folder / WEIGHTS, strict=True)  # type: ignore[arg-type]
        self.progress = Progress(**json.loads((folder / PROGRESS).read_text()))

    def finish_step(self, seconds: float) -> None:
        """Record the loss and the seconds of one optimizer step."""
        self.progress.losses.append(self._step_loss)
        self.progress.seconds += seconds
        self.progress.rank_spans[-1]["seconds"] += seconds
        self._step_loss = 0.0


def _separate(optimizer: torch.optim.Optimizer, groups: Sequence[ParameterGroup], *, weight_decay: float) -> None:
    """Take `groups` out of the optimizer's own. weight_decay: of a group that names none. Raises ValueError."""
    own = [id(parameter) for group in groups for parameter in group.parameters]
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if len({*own}) < len(own) or not {*own} <= trained:
        raise ValueError(
            f"parameter groups: {len({*own} - trained)} of {len(own)} parameters are not trained with this model, "
            f"{len(own) - len({*own})} are in two groups. Expected trainable parameters, each in one group."
        )
    for group in optimizer.param_groups:
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in own]
    optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]
    for each in groups:
        options = {"weight_decay": weight_decay if each.weight_decay is None else each.weight_decay}
        if each.learning_rate is not None:
            options["lr"] = each.learning_rate
        optimizer.add_param_group({"params": [*each.parameters], **options})


class _EpochCallback(TrainerCallback):
    """Sets the collator's epoch, so that dynamic masks differ from epoch to epoch."""

    def __init__(self, collator: Any) -> None:
        self.collator = collator

    def on_epoch_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if hasattr(self.collator, "epoch"):
            self.collator.epoch = int(state.epoch or 0)


class _RanksAgree(TrainerCallback):
    """Compares the masks of all ranks when they changed: magnitudes that differ in a bit may prune other weights."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.versions: list[int] = []

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.ranks.check_equal("the weights at the start", kwargs["model"].state_dict().values())

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        masks = [module.mask for module in kwargs["model"].modules() if isinstance(module, Mask)]
        versions = [mask._version for mask in masks]
        if versions != self.versions:
            self.ranks.check_equal(f"the masks after step {state.global_step}", masks)
            self.versions = versions


class _ProgressCallback(TrainerCallback):
    """Counts steps and seconds, logs a line now and then, requests checkpoints, and stops on request."""

    def __init__(
        self,
        trainer: CompressionTrainer,
        checkpoint_minutes: float,
        should_stop: Callable[[], bool],
        report: Callable[[StageProgress], None],
    ) -> None:
        self.trainer = trainer
        self.report = report
        self.checkpoint_seconds = checkpoint_minutes * 60
        self.should_stop = should_stop
        self.saved = self.logged = self.stepped = time.monotonic()

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.saved = self.logged = self.stepped = time.monotonic()
        self.trainer.progress.note_micro_batch_size(state.global_step + 1, self.trainer.micro_batch_size)
        self.trainer.progress.note_ranks(state.global_step + 1, self.trainer.ranks.size)

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        now = time.monotonic()
        self.trainer.finish_step(now - self.stepped)
        self.stepped = now
        progress = self.trainer.progress
        is_last = state.global_step >= state.max_steps
        shown = StageProgress(
            step=state.global_step,
            steps=state.max_steps,
            loss=progress.recent_loss,
            tokens=progress.tokens_seen,
            seconds_left=progress.seconds / state.global_step * (state.max_steps - state.global_step),
        )
        if self.trainer.ranks.is_first:
            self.report(shown)
        if now - self.logged >= LOG_EVERY_SECONDS or is_last:
            logger.info("%s", shown)
            self.logged = now
        stopping = self.should_stop() and not is_last
        saving = stopping or (now - self.saved >= self.checkpoint_seconds and not is_last)
        stopping, saving = self.trainer.ranks.from_first((stopping, saving))
        if saving:
            control.should_save = True
            self.saved = now
        if stopping:
            control.should_training_stop = True


def training_arguments(parameters: Any, *, output_dir: Path, num_steps: int) -> TrainingArguments:
    """The library's arguments for a stage's resolved parameters and its number of optimizer steps."""
    return TrainingArguments(
        output_dir=str(output_dir),
        per_device_train_batch_size=parameters["batch_size"],
        learning_rate=parameters["learning_rate"],
        weight_decay=parameters["weight_decay"],
        adam_beta1=parameters["adam_beta1"],
        adam_beta2=parameters["adam_beta2"],
        adam_epsilon=parameters["adam_epsilon"],
        max_grad_norm=parameters["max_grad_norm"],
        optim="adamw_torch_fused",
        max_steps=num_steps,
        seed=parameters["seed"],
        data_seed=parameters["seed"],
        train_sampling_strategy=GROUPED if parameters["padding"] == "longest" else "random",
        remove_unused_columns=False,
        save_strategy="no",
        logging_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
