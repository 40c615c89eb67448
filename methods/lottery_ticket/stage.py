"""The computation of one round of iterative magnitude pruning; a worker alone imports it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from harness.inputs.family import Family
from harness.stages.context import StageContext, StageResult
from harness.stages.fine_tuning import fine_tune
from harness.stages.loading import family_of
from harness.training.pruned_start import PrunedStart


@dataclass(kw_only=True)
class Round(PrunedStart):
    """Pruned by the magnitudes of the model trained before, weights as the start model has them, masks locked.

    head: the trained head of the round before, by parameter name; empty: the head of the start model.
    """

    head: Mapping[str, Tensor]

    @torch.no_grad()
    def attach(self, model: nn.Module) -> None:
        for name, trained in self.head.items():
            model.get_parameter(name).copy_(trained)
        super().attach(model)


def run_round(context: StageContext) -> StageResult:
    """One round: the weights that go are chosen, the rest is trained with a whole learning-rate schedule.

    With a parent "mask" the start model is the pre-trained one and that parent, trained before, says what goes (weight
    rewinding; Chen et al. 2020). Without one the start model is the trained one itself, and goes on (learning-rate
    rewinding; Renda et al. 2020). The optimizer is new in either case, so its moments are empty.
    """
    parameters = context.parameters
    trained_folder = context.parent_artifacts.get("mask")
    trained = None if trained_folder is None else load_file(trained_folder / "model.safetensors")
    head: Mapping[str, Tensor] = {}
    if trained is not None and not parameters["rewind_head"]:
        assert trained_folder is not None
        head = _head(trained, family_of(trained_folder))
    return fine_tune(
        context,
        modifier=lambda model, matrices, num_steps: Round(
            matrices=matrices,
            with_pooler=parameters["prune_pooler"],
            sparsity=parameters["sparsity"],
            ranking=parameters["ranking"],
            rounding=parameters["rounding"],
            ranked_by=trained,
            head=head,
        ),
        new_head=trained is not None,
    )


def _head(tensors: Mapping[str, Tensor], family: Family) -> dict[str, Tensor]:
    """The parameters outside the backbone: the task's head, and where a family has one, what leads to it."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(f"{family.backbone}.")}
