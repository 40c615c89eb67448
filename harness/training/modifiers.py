"""Modifiers: what happens to a model while it trains - nothing, pruning, a locked pattern, quantization.

A modifier attaches itself to the model before the first step, may act in and after each step (`TrainingHooks` and
callbacks), shapes the learning rate, and detaches at the end: it leaves plain weights and reports what it did ("masked
36 of 36 encoder matrices"). The arithmetic is in `harness.compression`; a modifier only decides when it runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState

from harness.compression.learning_rate import check_rewinding, linear_factor, rewound_factor
from harness.compression.quantization import (
    ScaleRule,
    Widest,
    activate_fake_quantization,
    dequantize_linears,
    freeze,
    int8_zero_counts,
    observed_as_one_batch,
    quantize_linears,
)
from harness.compression.schedule import PruningSchedule
from harness.compression.sparsify import (
    attach_masks,
    lock_pattern,
    masked_names,
    pattern_digest,
    remove_masks,
    total_zeros,
    update_masks,
    zero_counts,
)
from harness.errors import require
from harness.inputs.family import Family
from harness.training.hooks import TrainingHooks

Factor = Callable[[int], float]
COUNT_SLACK = 1e-9  # 0.29 of 100 steps is 28.999999999999996 as a float product, and 29 is meant


@dataclass(frozen=True, kw_only=True)
class Matrices:
    """Module names of the matrices that are pruned and counted. pooler: empty where the model has none."""

    encoder: tuple[str, ...]
    pooler: tuple[str, ...]

    @classmethod
    def of(cls, model: nn.Module, family: Family) -> Matrices:
        """The family's list for this model. Raises ValueError if a matrix of the list is not there."""
        num_layers: int = model.config.num_hidden_layers  # type: ignore[union-attr, assignment]
        encoder = family.encoder_matrices(num_layers)
        modules = dict(model.named_modules())
        absent = [name for name in encoder if name not in modules]
        if absent:
            raise ValueError(
                f"{len(absent)} of {len(encoder)} matrices of family {family.name} are absent: {absent[:3]}."
            )
        pooler = f"{family.backbone}.{family.pooler}"
        return cls(encoder=tuple(encoder), pooler=(pooler,) if family.pooler and pooler in modules else ())

    def masked(self, *, with_pooler: bool) -> list[str]:
        return [*self.encoder, *(self.pooler if with_pooler else ())]


@dataclass
class TrainingReport:
    """What a modifier did: a summary in sentences with counts, details for the record, tensors to store with the model.

    summary becomes the record's `did`; int8: codes, scales and ranges by name, as `quantization.freeze` returns them.
    """

    summary: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    int8: Mapping[str, Tensor] | None = None


@dataclass(kw_only=True)
class Modifier(TrainingHooks):
    """Plain training: nothing is attached, the learning rate warms up and decays linearly."""

    matrices: Matrices

    def attach(self, model: nn.Module) -> None:
        """Prepare the model, before the optimizer is made."""

    def factor(self, num_steps: int, warmup_steps: int) -> Factor:
        return lambda step: linear_factor(step, num_steps=num_steps, warmup_steps=warmup_steps)

    def callbacks(self, num_steps: int) -> list[TrainerCallback]:
        return []

    def detach(self, model: nn.Module) -> TrainingReport:
        """Restore plain weights after the last step, and report what was done."""
        return TrainingReport(details=sparsity_details(model, self.matrices))


ModifierFactory = Callable[[nn.Module, Matrices, int], Modifier]  # (model, its matrices, number of optimizer steps)


@dataclass(kw_only=True)
class GradualPruning(Modifier):
    """Gradual magnitude pruning with shadow weights; with `rewind`, the learning rate is rewound during the ramp."""

    schedule: PruningSchedule
    ranking: str
    rewind: bool
    with_pooler: bool
    regrowth: bool = True
    tie_rule: str = "exact"
    num_mask_updates: int = 0

    @classmethod
    def of(cls, parameters: Mapping[str, Any], matrices: Matrices, num_steps: int) -> GradualPruning:
        """From a stage's parameters, their fractions resolved for a run of `num_steps` steps."""
        fractions = ("initial_sparsity", "ramp_begin", "ramp_end", "first_event", "last_event", "frequency")
        return cls(
            matrices=matrices,
            schedule=PruningSchedule.from_fractions(
                final_sparsity=parameters["sparsity"],
                num_steps=num_steps,
                **{name: parameters[name] for name in fractions},
            ),
            ranking=parameters["ranking"],
            rewind=parameters["lr_rewind"],
            with_pooler=parameters["prune_pooler"],
            regrowth=parameters.get("regrowth", True),
            tie_rule=parameters.get("tie_rule", "exact"),
        )

    def attach(self, model: nn.Module) -> None:
        attach_masks(model, self.matrices.masked(with_pooler=self.with_pooler))

    def factor(self, num_steps: int, warmup_steps: int) -> Factor:
        if not self.rewind:
            return super().factor(num_steps, warmup_steps)
        s = self.schedule
        check_rewinding(num_steps, warmup_steps, s.ramp_begin, s.ramp_end, s.frequency)
        return lambda step: rewound_factor(
            step,
            num_steps=num_steps,
            warmup_steps=warmup_steps,
            ramp_begin=s.ramp_begin,
            ramp_end=s.ramp_end,
            frequency=s.frequency,
        )

    def callbacks(self, num_steps: int) -> list[TrainerCallback]:
        self.schedule.check_reaches_final(num_steps)
        self.num_mask_updates = len(self.schedule.mask_update_steps(num_steps))
        return [_MaskUpdates(self)]

    def detach(self, model: nn.Module) -> TrainingReport:
        report = _masked_report("masked", model, self.matrices)
        report.summary.append(f"{self.num_mask_updates} mask events to sparsity {self.schedule.final_sparsity:g}")
        s = self.schedule
        report.details["schedule"] = {
            "ramp_begin": s.ramp_begin,
            "ramp_end": s.ramp_end,
            "first_event": s.first_event,
            "last_event": s.last_event,
            "frequency": s.frequency,
        }
        remove_masks(model)
        report.details.update(sparsity_details(model, self.matrices))
        return report


@dataclass(kw_only=True)
class PatternLock(Modifier):
    """Training with the zero pattern of the loaded weights kept (Prune OFA, pattern-lock).

    The pattern is that of every locked matrix, the pooler's too. `detach` raises IntegrityError for another one.
    """

    with_pooler: bool
    pattern_before: str = ""

    @property
    def locked(self) -> list[str]:
        return self.matrices.masked(with_pooler=self.with_pooler)

    def attach(self, model: nn.Module) -> None:
        self.pattern_before = pattern_digest(model, self.locked)
        lock_pattern(model, self.locked)

    def detach(self, model: nn.Module) -> TrainingReport:
        report = _masked_report("locked", model, self.matrices)
        remove_masks(model)
        pattern = pattern_digest(model, self.locked)
        require(pattern == self.pattern_before, "the locked zero pattern changed during training")
        report.details.update(sparsity_details(model, self.matrices))
        report.details["sparsity"]["locked_pattern_sha256"] = pattern
        return report


@dataclass(kw_only=True)
class LockedQuantization(PatternLock):
    """Quantization-aware training of every Linear, with the zero pattern kept (Q8BERT, as Prune OFA applies it).

    fp32_outputs: modules whose output is not requantised: heads, and those that feed residual sums or the context.
    begin: the share of the run, below 1, after which values are rounded and ranges observed; before, it is a locked
    fine-tuning in floating point.
    """

    observes_batches: ClassVar[bool] = True

    linears: Sequence[str]
    fp32_outputs: Sequence[str]
    weight_scale: ScaleRule
    activation_momentum: float
    begin: float = 0.0

    def attach(self, model: nn.Module) -> None:
        quantize_linears(
            model,
            self.linears,
            fp32_output_names=self.fp32_outputs,
            scale_rule=self.weight_scale,
            range_momentum=self.activation_momentum,
        )
        super().attach(model)

    def callbacks(self, num_steps: int) -> list[TrainerCallback]:
        begin = math.floor(self.begin * num_steps + COUNT_SLACK)
        return [_QuantizationStart(begin)] if begin else []

    def as_one_batch(self, model: nn.Module, over_ranks: Widest | None = None) -> AbstractContextManager[None]:
        return observed_as_one_batch(model, over_ranks)

    def detach(self, model: nn.Module) -> TrainingReport:
        report = super().detach(model)
        tensors = freeze(model)
        zeros = int8_zero_counts(tensors)
        int8_zeros, numel = total_zeros({name: zeros[name] for name in self.matrices.encoder})
        fp32_zeros = report.details["sparsity"]["encoder_zeros"]
        report.summary.append(f"quantised {len(zeros)} of {len(self.linears)} Linear modules to 8 bits")
        report.details["int8"] = {
            "encoder_zeros": int8_zeros,
            "extra_zeros": int8_zeros - fp32_zeros,
            "encoder_numel": numel,
            "zeros_by_matrix": {name: zeros[name][0] for name in self.matrices.encoder},
        }
        dequantize_linears(model, tensors)
        report.int8 = tensors
        return report


class _MaskUpdates(TrainerCallback):
    """Updates the masks after the optimizer steps that the schedule names: pruning step = optimizer step - 1."""

    def __init__(self, pruning: GradualPruning) -> None:
        self.pruning = pruning

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        step = state.global_step - 1
        pruning = self.pruning
        if pruning.schedule.updates_masks_at(step):
            update_masks(
                kwargs["model"],
                pruning.schedule.sparsity_at(step),
                scope=pruning.ranking,  # type: ignore[arg-type]
                tie_rule=pruning.tie_rule,  # type: ignore[arg-type]
                regrowth=pruning.regrowth,
            )


class _QuantizationStart(TrainerCallback):
    """Rounding is off for the first `begin` optimizer steps, however often the run is resumed."""

    def __init__(self, begin: int) -> None:
        self.begin = begin

    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        activate_fake_quantization(kwargs["model"], state.global_step >= self.begin)


def sparsity_details(model: nn.Module, matrices: Matrices) -> dict[str, Any]:
    """Exact zero counts of the encoder matrices (and the pooler, apart), and the digest of the zero pattern.

    Raises ValueError where there is no encoder matrix.
    """
    if not matrices.encoder:
        raise ValueError("the model has no encoder matrix: nothing was pruned, and there is no sparsity to tell.")
    counts = zero_counts(model, matrices.encoder)
    zeros, numel = total_zeros(counts)
    return {
        "sparsity": {
            "encoder": zeros / numel,
            "encoder_zeros": zeros,
            "encoder_numel": numel,
            "encoder_matrices": len(counts),
            "zeros_by_matrix": {name: z for name, (z, _) in counts.items()},
            "pooler": {name: list(count) for name, count in zero_counts(model, matrices.pooler).items()},
            "pattern_sha256": pattern_digest(model, matrices.encoder),
        }
    }


def _masked_report(verb: str, model: nn.Module, matrices: Matrices) -> TrainingReport:
    names = set(masked_names(model))
    report = TrainingReport()
    for what, wanted in (("encoder matrices", matrices.encoder), ("pooler matrices", matrices.pooler)):
        if wanted:
            report.summary.append(f"{verb} {len(names & set(wanted))} of {len(wanted)} {what}")
    return report
