"""Movement pruning: masks ranked by scores that are learned with the weights, and the schedules of both its variants.

Every masked weight W has a score S. The model computes with W' = W * M, and the mask M follows from S: the top scores
of the matrix (movement pruning), or those whose sigmoid is above a threshold (soft movement pruning). The gradient of W
is M * dL/dW'; that of S is W * dL/dW', straight through the choice of M. So a score rises while its weight moves away
from zero, and a weight that was taken out may come back (Sanh et al. 2020, arXiv 2005.07683, sections 3 and 4).

Functions of tensors and step numbers, and the mask that has scores. A step counts the optimizer steps made before the
forward pass it is of, from 0: the authors' clock, which is the harness's pruning step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from harness.compression.mask import num_zeros
from harness.compression.sparsify import Mask, attach_masks

_COUNT_SLACK = 1e-9  # as in `mask.num_zeros`


def cubic_step(step: int, *, initial: float, final: float, begin: int, end: int) -> float:
    """final + (initial - final) * (1 - (step - begin) / (end - begin))^3: fast first, slow last.

    `initial` up to step `begin`, `final` from step `end` on; begin < end. The kept share falls so from 1 to 1 -
    sparsity, the threshold rises so from 0. In the authors' release begin is the learning rate's warm-up and end is
    two warm-ups before the end of the run.
    """
    if step <= begin:
        return initial
    if step >= end:
        return final
    return final + (initial - final) * (1 - (step - begin) / (end - begin)) ** 3


def num_kept(share: float, numel: int) -> int:
    """floor(share * numel): how many of `numel` weights stay at a kept share in [0, 1]. Raises ValueError outside."""
    if not 0 <= share <= 1:
        raise ValueError(f"share={share}: expected a fraction in [0, 1].")
    return math.floor(share * numel + _COUNT_SLACK)


def num_kept_on_the_way(share: float, numel: int, *, sparsity: float) -> int:
    """`num_kept`, and never fewer than the end keeps: numel - num_zeros(sparsity, numel).

    The two differ by one where sparsity * numel is not whole. So the last mask has exactly the zeros that every other
    method here has at that sparsity, and no entry is taken out only to be let in again by rounding.
    """
    return max(num_kept(share, numel), numel - num_zeros(sparsity, numel))


def top_mask(scores: Tensor, kept: int) -> Tensor:
    """Bool mask of the `kept` largest scores, of the same shape; equal scores are taken out from the lowest index on.

    Raises ValueError for a count outside [0, numel], and for scores that are not finite.
    """
    flat = scores.detach().flatten()
    if not 0 <= kept <= flat.numel():
        raise ValueError(f"kept={kept}: expected a count between 0 and {flat.numel()}.")
    _check_finite(flat)
    removed = flat.numel() - kept
    if removed == 0:
        return torch.ones_like(scores, dtype=torch.bool)
    threshold = _kth_smallest(flat, removed)
    mask = flat > threshold
    ties = (flat == threshold).nonzero().flatten()
    mask[ties[len(ties) - (kept - int(mask.sum())) :]] = True
    return mask.reshape(scores.shape)


def threshold_mask(scores: Tensor, threshold: float, *, least_kept: float) -> Tensor:
    """Bool mask of the scores whose sigmoid is above `threshold` (in [0, 1)), of the same shape.

    least_kept: a share of the matrix. Where fewer than floor(least_kept * numel) + 1 are above, as many of the largest
    stay: the authors' release keeps half a percent of every matrix. 0: no such floor.
    Raises ValueError for scores that are not finite.
    """
    _check_finite(scores.detach())
    mask = torch.sigmoid(scores.detach()) > threshold
    least = num_kept(least_kept, scores.numel()) + 1 if least_kept else 0
    return mask if int(mask.sum()) >= least else top_mask(scores, min(least, scores.numel()))


def penalty(scores: Sequence[Tensor]) -> Tensor:
    """The mean over matrices of the mean of sigmoid(S): 0.5 where all scores are 0. Raises ValueError without any."""
    if not scores:
        raise ValueError("scores is empty: there is nothing to penalise.")
    return torch.stack([torch.sigmoid(each).mean() for each in scores]).mean()


def penalty_weight(threshold: float, *, final_threshold: float, final_weight: float) -> float:
    """final_weight * threshold / final_threshold: the penalty grows with the threshold, from 0 to its final weight."""
    return final_weight * threshold / final_threshold


class ScoredMask(Mask):
    """A mask that follows from scores, which are trained with the weight: forward(W) = W * M, straight through M.

    scores: the only new Parameter, of the weight's shape, all 0 at the start. Whoever trains chooses `mask` by them.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__(torch.ones_like(weight, dtype=torch.bool))
        self.scores = nn.Parameter(torch.zeros_like(weight))

    def forward(self, shadow: Tensor) -> Tensor:
        return shadow * straight_through(self.scores, self.mask)


def attach_scores(model: nn.Module, names: Sequence[str]) -> dict[str, ScoredMask]:
    """Puts an all-ones ScoredMask on the weight of every named Linear; nothing changes in what the model computes.

    Returns them by name. `sparsify.remove_masks` makes W * M permanent and drops the scores. Raises ValueError as
    `sparsify.attach_masks`, for an empty list too.
    """
    attach_masks(model, names)
    found = {}
    for name in names:
        by_tensor: Any = model.get_submodule(name).parametrizations
        weight: parametrize.ParametrizationList = by_tensor["weight"]
        found[name] = weight[0] = ScoredMask(weight.original.detach())
    return found


def straight_through(scores: Tensor, mask: Tensor) -> Tensor:
    """The mask as numbers of the scores' type; its gradient is handed to the scores as it is."""
    numbers: Tensor = _StraightThrough.apply(scores, mask)
    return numbers


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, mask: Tensor) -> Tensor:
        return mask.to(scores.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _kth_smallest(values: Tensor, k: int) -> Tensor:
    """k counts from 1. On a CPU numpy's partition, faster than kthvalue; the value is the same by any road."""
    if values.device.type != "cpu":
        return values.sort().values[k - 1]
    return torch.as_tensor(np.partition(values.numpy(), k - 1)[k - 1])


def _check_finite(scores: Tensor) -> None:
    if not bool(torch.isfinite(scores).all()):
        raise ValueError("a score is not finite and cannot be ranked: look for a diverged step.")
