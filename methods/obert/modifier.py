"""SecondOrderPruning: when oBERT prunes, and from which gradients; the arithmetic is in harness.compression."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice, repeat
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState

from harness.compression.cycles import PruningCycles
from harness.compression.second_order import BlockFisherInverse, num_to_prune, prune_by_curvature
from harness.compression.sparsify import (
    attach_masks,
    kept_entries,
    masked_names,
    prune_further,
    remove_masks,
    shadow_weights,
)
from harness.progress import NEVER, StopFlag
from harness.training.hooks import Batches
from harness.training.micro_batch import micro_batches
from harness.training.modifiers import Factor, Matrices, Modifier, TrainingReport, sparsity_details
from harness.training.objectives import Inputs, Objective

GRADIENTS_AT_ONCE = 4  # added to the inverse in one pass over its bytes; 4 fp32 numbers for each weight


@dataclass(frozen=True, kw_only=True)
class FisherEstimate:
    """Of what the Fisher matrix is made: num_gradients gradients, each of at most gradient_batch examples."""

    num_gradients: int
    gradient_batch: int
    block_size: int
    dampening: float

    def inverse(self, weight: Tensor) -> BlockFisherInverse:
        """Of one weight, without a gradient yet."""
        return BlockFisherInverse(
            weight.numel(),
            block_size=self.block_size,
            dampening=self.dampening,
            num_gradients=self.num_gradients,
            device=weight.device,
        )


@dataclass(kw_only=True)
class SecondOrderPruning(Modifier):
    """Pruning by curvature at the events of `cycles`; in between, what is pruned stays so.

    Encoder matrices share one ranking, so that their sparsity is exact; the pooler, if it is pruned, has one of its
    own. The moments of the optimizer stay as they are at an event. stops: asked before every gradient.
    """

    cycles: PruningCycles
    fisher: FisherEstimate
    with_pooler: bool
    stops: StopFlag = NEVER
    objective: Objective | None = field(default=None, init=False)
    batches: Batches | None = field(default=None, init=False)

    @classmethod
    def of(
        cls, parameters: Mapping[str, Any], matrices: Matrices, num_steps: int, stops: StopFlag = NEVER
    ) -> SecondOrderPruning:
        """From a stage's parameters, their fractions resolved for a run of `num_steps` steps."""
        timing = ("first_sparsity", "first_event", "last_event", "num_events", "cycle_end")
        estimate = ("num_gradients", "gradient_batch", "block_size", "dampening")
        return cls(
            matrices=matrices,
            cycles=PruningCycles.from_fractions(
                num_steps=num_steps,
                final_sparsity=parameters["sparsity"],
                **{name: parameters[name] for name in timing},
            ),
            fisher=FisherEstimate(**{name: parameters[name] for name in estimate}),
            with_pooler=parameters["prune_pooler"],
            stops=stops,
        )

    @property
    def ranked_together(self) -> list[tuple[str, ...]]:
        return [self.matrices.encoder, *([self.matrices.pooler] if self.with_pooler and self.matrices.pooler else [])]

    def attach(self, model: nn.Module) -> None:
        attach_masks(model, self.matrices.masked(with_pooler=self.with_pooler))

    def start(self, objective: Objective, batches: Batches) -> None:
        self.objective, self.batches = objective, batches

    def factor(self, num_steps: int, warmup_steps: int) -> Factor:
        return lambda step: self.cycles.factor(step, warmup_steps=warmup_steps)

    def callbacks(self, num_steps: int) -> list[TrainerCallback]:
        return [_Events(self)]

    def prune(self, model: nn.Module, sparsity: float) -> None:
        """One event. Where the masks have that many zeros already, nothing is computed."""
        names = self.matrices.masked(with_pooler=self.with_pooler)
        masks = kept_entries(model, names)
        if not any(num_to_prune([masks[name] for name in group], sparsity) for group in self.ranked_together):
            return
        shadows = shadow_weights(model, names)
        inverses = self._inverses(model, shadows)
        weights = {name: shadows[name].detach() * masks[name] for name in names}
        for group in self.ranked_together:
            new_weights, new_masks = prune_by_curvature(
                [weights[name] for name in group],
                [masks[name] for name in group],
                [inverses.pop(name) for name in group],
                sparsity,
            )
            prune_further(model, dict(zip(group, new_weights, strict=True)), dict(zip(group, new_masks, strict=True)))

    def detach(self, model: nn.Module) -> TrainingReport:
        names = {*masked_names(model)}
        report = TrainingReport()
        for what, wanted in (("encoder", self.matrices.encoder), ("pooler", self.matrices.pooler)):
            if wanted:
                report.summary.append(f"masked {len(names & {*wanted})} of {len(wanted)} {what} matrices")
        estimate = self.fisher
        report.summary.append(
            f"{len(self.cycles.events)} events to sparsity {self.cycles.sparsities[-1]:g}, each by "
            f"{estimate.num_gradients} gradients of up to {estimate.gradient_batch} examples"
        )
        report.details["cycles"] = {
            "events": [*self.cycles.events],
            "sparsities": [*self.cycles.sparsities],
            "cycle_end": self.cycles.cycle_end,
        }
        remove_masks(model)
        report.details.update(sparsity_details(model, self.matrices))
        return report

    def _inverses(self, model: nn.Module, shadows: Mapping[str, nn.Parameter]) -> dict[str, BlockFisherInverse]:
        """The inverse Fisher matrix of every masked weight, from gradients that are zero where its mask is."""
        if self.objective is None or self.batches is None:
            raise ValueError("start(objective, batches) comes before the first event.")
        made = {name: self.fisher.inverse(shadow) for name, shadow in shadows.items()}
        gradients = loss_gradients(
            model, [*shadows.values()], self.objective, self.batches, batch_size=self.fisher.gradient_batch
        )
        with evaluating(model):
            wanted = islice(gradients, self.fisher.num_gradients)
            for some in _in_groups(self.stops.over(wanted, "gradients"), GRADIENTS_AT_ONCE):
                for inverse, of_weight in zip(made.values(), zip(*some, strict=True), strict=True):
                    inverse.add(torch.stack(of_weight).flatten(1))
        return made


class _Events(TrainerCallback):
    """Prunes after the optimizer steps that are events."""

    def __init__(self, pruning: SecondOrderPruning) -> None:
        self.pruning = pruning

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        sparsity = self.pruning.cycles.sparsity_after(state.global_step)
        if sparsity is not None:
            self.pruning.prune(kwargs["model"], sparsity)


def loss_gradients(
    model: nn.Module,
    weights: Sequence[nn.Parameter],
    objective: Objective,
    batches: Callable[[], Iterator[Inputs]],
    *,
    batch_size: int,
) -> Iterator[tuple[Tensor, ...]]:
    """Without end, the gradients of the mean loss of at most `batch_size` examples, for each of the weights.

    The examples are those of the current epoch in its order, its batches cut from the front; after the last they come
    again. No `.grad` is touched. Raises ValueError where there is no batch at all.
    """
    for one_pass in repeat(batches):
        parts = chain.from_iterable(micro_batches(inputs, batch_size) for inputs in one_pass())
        count = 0
        for count, part in enumerate(parts, 1):  # noqa: B007
            yield torch.autograd.grad(objective(model, part), weights)
        if not count:
            raise ValueError("there is no batch to take gradients from.")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, so that dropout draws nothing; after it each module is in the mode that it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _in_groups(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while group := [*islice(items, size)]:
        yield group
