"""Which weights to remove by the curvature of the loss, and what the others become (oBERT, Kurtic et al. 2022).

The Optimal Brain Surgeon removes the weight that costs least by a quadratic model of the loss, and moves the others so
that they make up for it. oBERT takes for the Hessian the empirical Fisher matrix of m gradients, in blocks along the
diagonal of each matrix:

    F = lambda I + 1/m sum g g^T,    score_i = w_i^2 / (2 [F^-1]_ii),    w <- w - F^-1 (q w / diag F^-1)

with q = 1 for the weights that are pruned now, else 0. The update is the **sum of the updates for each weight by
itself**, as in the authors' release: not the exact solution for all of them jointly, whose cost grows with the cube of
how many of a block go at once. For one weight of a block the two are the same.

Pure functions of tensors, in fp32 or whatever type the weights have. Entries that were pruned before stay out: they
are not ranked, and gradients that are zero there leave F^-1 diagonal there: nothing reaches them or comes from them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from harness.compression.mask import num_zeros


class BlockFisherInverse:
    """The inverse of the dampened empirical Fisher matrix of one weight, in diagonal blocks of `block_size` entries.

    numel: entries of the weight. dampening: lambda, > 0. num_gradients: m, how many will be added in all.
    blocks: [ceil(numel / block_size), block_size, block_size], 4 * numel * block_size bytes in fp32. The last block is
    filled up with entries that have no gradient: none of its own notices.
    Raises ValueError for sizes or a dampening that are not above 0.
    """

    def __init__(
        self,
        numel: int,
        *,
        block_size: int,
        dampening: float,
        num_gradients: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> None:
        if min(numel, block_size, num_gradients) < 1 or not dampening > 0:
            raise ValueError(
                f"numel={numel}, block_size={block_size}, num_gradients={num_gradients}, dampening={dampening}: "
                "expected sizes of 1 or more, and a dampening above 0."
            )
        self.numel = numel
        self.num_gradients = num_gradients
        self.num_added = 0
        size = min(block_size, numel)
        identity = torch.eye(size, dtype=dtype, device=device) / dampening
        self.blocks = identity.repeat(math.ceil(numel / size), 1, 1)

    @torch.no_grad()
    def add(self, gradients: Tensor) -> None:
        """Add gradients [k, numel], each by one rank-one update (Sherman and Morrison) of every block:

            F^-1 <- F^-1 - v v^T,    v = F^-1 g / sqrt(m + g^T F^-1 g)

        The k vectors v follow from F^-1 as it was before, each from the ones before it; the blocks, most of the bytes,
        are read and written once for all k. Raises ValueError for more than num_gradients in all.
        """
        self.num_added += len(gradients)
        if self.num_added > self.num_gradients:
            raise ValueError(f"gradient {self.num_added} of {self.num_gradients}: m is a divisor of every update.")
        g = torch.stack([self._in_blocks(gradient) for gradient in gradients])  # [k, blocks, size]
        v = torch.bmm(self.blocks, g.permute(1, 2, 0)).permute(2, 0, 1).contiguous()  # F^-1 g, of F^-1 before
        for j in range(len(g)):
            v[j] *= (self.num_gradients + (g[j] * v[j]).sum(1, keepdim=True)).rsqrt()
            later = (g[j + 1 :] * v[j]).sum(2, keepdim=True)
            v[j + 1 :].addcmul_(later, v[j].unsqueeze(0), value=-1)  # of the F^-1 that has j
        v = v.transpose(0, 1)
        self.blocks.baddbmm_(v.transpose(1, 2), v, alpha=-1)

    def diagonal(self) -> Tensor:
        """diag F^-1 [numel]. Raises ValueError where gradients are missing, or rounding left an entry not above 0."""
        if self.num_added != self.num_gradients:
            raise ValueError(f"{self.num_added} gradients of {self.num_gradients} were added.")
        diagonal = self.blocks.diagonal(dim1=1, dim2=2).flatten()[: self.numel]
        if not bool((diagonal > 0).all()):
            raise ValueError(
                "the inverse Fisher matrix is not positive: the gradients are not finite, or their squares are so far "
                "above the dampening that nothing is left of it in this precision. Raise the dampening by some decades."
            )
        return diagonal

    def times(self, vector: Tensor) -> Tensor:
        """F^-1 vector, [numel]."""
        return torch.bmm(self.blocks, self._in_blocks(vector).unsqueeze(2)).flatten()[: self.numel]

    def _in_blocks(self, vector: Tensor) -> Tensor:
        """[numel] -> [blocks, size], filled up with zeros."""
        num_blocks, size, _ = self.blocks.shape
        flat = vector.detach().flatten().to(self.blocks.dtype)
        return torch.nn.functional.pad(flat, (0, num_blocks * size - self.numel)).view(num_blocks, size)


@torch.no_grad()
def saliency(weight: Tensor, inverse: BlockFisherInverse) -> Tensor:
    """What the loss rises by when one weight is removed and the others make up for it: w^2 / (2 diag F^-1).

    weight: numel of the inverse; returned in its shape. As the dampening grows it ranks as magnitude does.
    """
    return (weight.flatten() ** 2 / (2 * inverse.diagonal())).reshape(weight.shape)


@torch.no_grad()
def lowest(scores: Sequence[Tensor], masks: Sequence[Tensor], count: int) -> list[Tensor]:
    """The `count` kept entries of lowest score in all matrices together, as bool tensors, True = one of them.

    masks: True = kept; the others are not ranked. Ties go by the order of matrices, then the lowest flat index.
    Raises ValueError where fewer are kept, or a score is not finite.
    """
    kept = torch.cat([mask.flatten() for mask in masks]).nonzero().flatten()
    ranked = torch.cat([score.flatten() for score in scores])[kept]
    if not 0 <= count <= len(kept):
        raise ValueError(f"count={count}: expected 0 to the {len(kept)} entries that are kept.")
    if not bool(torch.isfinite(ranked).all()):
        raise ValueError("scores are not finite and cannot be ranked: look for a diverged step.")
    chosen = torch.zeros(sum(mask.numel() for mask in masks), dtype=torch.bool, device=kept.device)
    chosen[kept[ranked.sort(stable=True).indices[:count]]] = True
    parts = chosen.split([mask.numel() for mask in masks])
    return [part.reshape(mask.shape) for part, mask in zip(parts, masks, strict=True)]


@torch.no_grad()
def compensated(weight: Tensor, pruned_now: Tensor, inverse: BlockFisherInverse) -> Tensor:
    """The weight after `pruned_now` (bool, its shape) went: those entries are exactly 0, the others moved.

    The sum of the independent updates, see the module's head.
    """
    moved = inverse.times(torch.where(pruned_now, weight, 0.0).flatten() / inverse.diagonal())
    return torch.where(pruned_now, 0.0, weight - moved.reshape(weight.shape).to(weight.dtype))


def num_to_prune(masks: Sequence[Tensor], sparsity: float) -> int:
    """How many entries of all matrices together have still to go for num_zeros(sparsity, all) zeros; 0: none."""
    pruned = sum(mask.numel() - int(mask.sum()) for mask in masks)
    return max(num_zeros(sparsity, sum(mask.numel() for mask in masks)) - pruned, 0)


@torch.no_grad()
def prune_by_curvature(
    weights: Sequence[Tensor], masks: Sequence[Tensor], inverses: Sequence[BlockFisherInverse], sparsity: float
) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and masks of one pruning step: one ranking over all matrices, exactly num_zeros(sparsity, all) zeros.

    weights: as the model computes with them, 0 where a mask is. masks: True = kept; no entry returns. Where masks have
    that many zeros already, nothing changes.
    """
    scores = [saliency(weight, inverse) for weight, inverse in zip(weights, inverses, strict=True)]
    gone = lowest(scores, masks, num_to_prune(masks, sparsity))
    left = [mask & ~now for mask, now in zip(masks, gone, strict=True)]
    moved = [compensated(w, now, inverse) for w, now, inverse in zip(weights, gone, inverses, strict=True)]
    return [torch.where(mask, weight, 0.0) for mask, weight in zip(left, moved, strict=True)], left
