"""The computation of random pruning; a worker alone imports it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.compression.mask import num_zeros
from harness.stages.context import StageContext, StageResult
from harness.stages.fine_tuning import fine_tune
from harness.training.modifiers import PatternLock


@torch.no_grad()
def zero_at_random(weight: Tensor, sparsity: float, draw: torch.Generator) -> None:
    """Set num_zeros(sparsity, numel) entries of a weight to zero, at places that `draw` gives."""
    places = torch.randperm(weight.numel(), generator=draw)[: num_zeros(sparsity, weight.numel())]
    weight.view(-1)[places.to(weight.device)] = 0.0


@dataclass(kw_only=True)
class RandomPruning(PatternLock):
    """Zeros are drawn before the first step; the pattern lock keeps them."""

    sparsity: float
    mask_seed: int

    def attach(self, model: nn.Module) -> None:
        draw = torch.Generator().manual_seed(self.mask_seed)
        for name in self.matrices.encoder:
            zero_at_random(model.get_submodule(name).weight, self.sparsity, draw)
        super().attach(model)


def prune(context: StageContext) -> StageResult:
    values = {name: context.parameters[name] for name in ("sparsity", "mask_seed")}
    return fine_tune(
        context,
        modifier=lambda model, matrices, num_steps: RandomPruning(matrices=matrices, with_pooler=False, **values),
    )
