"""A mask that is drawn instead of chosen: the floor of every criterion for which weights to remove."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.compression.mask import num_zeros


def random_mask(shape: torch.Size, sparsity: float, draw: torch.Generator) -> Tensor:
    """Bool mask of that shape, True = kept, with exactly num_zeros(sparsity, numel) zeros at places drawn evenly.

    sparsity: fraction removed, in [0, 1). draw: on the CPU; equal states give equal masks, and from equal states the
    zeros of a lower sparsity are among those of a higher one. Raises ValueError on a sparsity outside [0, 1).
    """
    removed = torch.randperm(shape.numel(), generator=draw)[: num_zeros(sparsity, shape.numel())]
    kept = torch.ones(shape.numel(), dtype=torch.bool)
    kept[removed] = False
    return kept.reshape(shape)
