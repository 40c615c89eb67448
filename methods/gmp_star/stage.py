"""The computation of GMP*; a worker alone imports it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState

from harness.compression.learning_rate import cyclic_factor
from harness.compression.schedule import PruningSchedule
from harness.compression.sparsify import Scope, update_masks
from harness.stages.context import StageContext, StageResult
from harness.stages.fine_tuning import fine_tune
from harness.training.modifiers import Factor, GradualPruning, Matrices


@dataclass(kw_only=True)
class CyclicPruning(GradualPruning):
    """Gradual magnitude pruning; the learning rate has the schedule of a short run again and again.

    The encoder's matrices are ranked together or by matrix; the pooler, which the sparsity of a cell does not count, by
    itself.
    """

    num_cycles: int

    def factor(self, num_steps: int, warmup_steps: int) -> Factor:
        return lambda step: cyclic_factor(
            step, num_steps=num_steps, warmup_steps=warmup_steps, num_cycles=self.num_cycles
        )

    def callbacks(self, num_steps: int) -> list[TrainerCallback]:
        super().callbacks(num_steps)
        together = [
            self.matrices.encoder,
            *([self.matrices.pooler] if self.with_pooler and self.matrices.pooler else []),
        ]
        return [_MaskUpdates(self.schedule, self.ranking, together)]  # type: ignore[arg-type]


class _MaskUpdates(TrainerCallback):
    """Updates the masks of each group of matrices after the optimizer steps that the schedule names."""

    def __init__(self, schedule: PruningSchedule, scope: Scope, groups: Sequence[Sequence[str]]) -> None:
        self.schedule = schedule
        self.scope = scope
        self.groups = groups

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        step = state.global_step - 1
        if self.schedule.updates_masks_at(step):
            for names in self.groups:
                update_masks(kwargs["model"], self.schedule.sparsity_at(step), scope=self.scope, names=names)


def prune(context: StageContext) -> StageResult:
    """Prune the dense pre-trained model while fine-tuning it.

    The first mask update is at ramp_begin and prunes to initial_sparsity, or to the cell's where that is less; the last
    is at ramp_end.
    """
    parameters = context.parameters

    def modifier(model: Any, matrices: Matrices, num_steps: int) -> CyclicPruning:
        return CyclicPruning(
            matrices=matrices,
            schedule=PruningSchedule.from_fractions(
                initial_sparsity=min(parameters["initial_sparsity"], parameters["sparsity"]),
                final_sparsity=parameters["sparsity"],
                num_steps=num_steps,
                ramp_begin=parameters["ramp_begin"],
                first_event=parameters["ramp_begin"],
                ramp_end=parameters["ramp_end"],
                last_event=parameters["ramp_end"],
                frequency=parameters["frequency"],
            ),
            ranking=parameters["ranking"],
            rewind=False,
            with_pooler=parameters["prune_pooler"],
            num_cycles=parameters["num_cycles"],
        )

    return fine_tune(context, modifier=modifier)
