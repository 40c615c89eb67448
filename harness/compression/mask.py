"""Which weights to remove: magnitude masks with an exact count of zeros.

Pure functions of weight tensors. `schedule` decides when a mask is updated, `sparsify` puts it into a model. A mask is
a bool tensor of the weight's shape, True = kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

TieRule = Literal["exact", "threshold"]

# 0.29 * 100 is 28.999999999999996 as a float product; the slack restores the count that was meant.
_COUNT_SLACK = 1e-9
_INTEGERS = {torch.float32: torch.int32, torch.float64: torch.int64}
_FLOATS = {4: np.float32, 8: np.float64}


def num_zeros(sparsity: float, numel: int) -> int:
    """How many of `numel` weights a sparsity removes: floor(sparsity * numel + 1e-9).

    sparsity: fraction removed, in [0, 1). numel: number of weights, >= 0.
    0.9 of 589,824 is 530,841; 0.29 of 100 is 29 (the plain float product floors to 28).
    Raises ValueError on a sparsity outside [0, 1).
    """
    _check_sparsity(sparsity)
    return math.floor(sparsity * numel + _COUNT_SLACK)


def magnitude_mask(
    weight: Tensor, sparsity: float, *, tie_rule: TieRule = "exact", pruned: Tensor | None = None
) -> Tensor:
    """Bool mask that keeps the largest weights of one matrix by absolute value (Prune OFA).

    weight: any shape and float type; ranked on |weight| in fp32 (float64 stays float64). sparsity: in [0, 1).
    tie_rule "exact": exactly num_zeros(sparsity, numel) zeros, equal magnitudes pruned from the lowest flat index on.
    tie_rule "threshold": the authors' release. With k = floor of the float product, keep |weight| > k-th smallest;
    every tie at that value goes, so there are at least k zeros.
    pruned: bool, of the weight's shape: entries that are among the zeros whatever their magnitude.
    Raises ValueError on a sparsity outside [0, 1), an unknown rule, a weight that is not finite or, under "exact", more
    pruned entries than zeros.
    """
    _check_sparsity(sparsity)
    if tie_rule not in get_args(TieRule):
        raise ValueError(f"tie_rule={tie_rule!r}: expected one of {', '.join(get_args(TieRule))}.")
    magnitude = _magnitude(weight)
    gone = None if pruned is None else pruned.flatten()
    if tie_rule == "exact":
        k = num_zeros(sparsity, magnitude.numel())
        return _beside_pruned(magnitude, k, gone, _prune_smallest).reshape(weight.shape)
    k = math.floor(sparsity * magnitude.numel())
    if gone is not None:
        k = max(k, int(gone.sum()))  # ties of an earlier time
    return _beside_pruned(magnitude, k, gone, _above_kth_smallest).reshape(weight.shape)


def global_magnitude_masks(
    weights: Sequence[Tensor], sparsity: float, *, pruned: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """Bool masks from one ranking over all matrices together; each matrix gets whatever share falls to it.

    weights: tensors of any shapes on one device, in the order that breaks ties (matrix order, then flat index).
    Exactly num_zeros(sparsity, total numel) zeros in the sum; ranked as in `magnitude_mask`, rule "exact".
    pruned: for each matrix, as there.
    Raises ValueError on an empty sequence, a sparsity outside [0, 1), a weight that is not finite, or more pruned
    entries than zeros.
    """
    if not weights:
        raise ValueError("weights is empty: a global ranking needs at least one matrix.")
    magnitude = torch.cat([_magnitude(weight) for weight in weights])
    gone = None if pruned is None else torch.cat([each.flatten() for each in pruned])
    kept = _beside_pruned(magnitude, num_zeros(sparsity, magnitude.numel()), gone, _prune_smallest)
    parts = kept.split([weight.numel() for weight in weights])
    return [part.reshape(weight.shape) for part, weight in zip(parts, weights, strict=True)]


def num_kept(mask: Tensor) -> int:
    """Entries of a bool mask that are True."""
    return int(np.count_nonzero(mask.numpy(force=True)) if mask.device.type == "cpu" else torch.count_nonzero(mask))


def _check_sparsity(sparsity: float) -> None:
    if not 0 <= sparsity < 1:
        hint = f" For {sparsity:g} percent write {sparsity / 100:g}." if 1 < sparsity < 100 else ""
        raise ValueError(f"sparsity={sparsity}: expected a fraction in [0, 1).{hint}")


def _magnitude(weight: Tensor) -> Tensor:
    """Flat |weight|, at least fp32: ranking in 16 bit would tie weights that differ."""
    magnitude = weight.detach().flatten().abs()
    if magnitude.dtype != torch.float64:
        magnitude = magnitude.float()
    return magnitude


def _require_finite(largest: Any) -> None:
    """largest: of all magnitudes; it is NaN where one of them is."""
    if not math.isfinite(largest):
        raise ValueError("the weight has entries that are not finite and cannot be ranked: look for a diverged step.")


def _beside_pruned(magnitude: Tensor, k: int, gone: Tensor | None, prune: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Flat bool mask without the entries that are gone, and without what `prune` takes of the others to make it k."""
    if gone is None:
        return prune(magnitude, k)
    _require_finite(magnitude.max())
    num_gone = int(gone.sum())
    if num_gone > k:
        raise ValueError(f"{num_gone} entries are pruned already, and {k} are to be: a weight would have to return.")
    kept = ~gone
    kept[~gone] = prune(magnitude[~gone], k - num_gone)
    return kept


def _above_kth_smallest(magnitude: Tensor, k: int) -> Tensor:
    """Flat bool mask of what is above the k-th smallest; all of it for k = 0."""
    if k == 0:
        return _all_of(magnitude)
    if magnitude.device.type != "cpu":
        _require_finite(magnitude.max())
        return magnitude > magnitude.sort().values[k - 1]
    order, threshold = _as_integers(magnitude), _kth_smallest(magnitude, k)
    return torch.from_numpy(order > threshold)


def _prune_smallest(magnitude: Tensor, k: int) -> Tensor:
    """Flat bool mask without exactly k entries: all below the k-th smallest, then ties at it by lowest index."""
    if k == 0:
        return _all_of(magnitude)
    if magnitude.device.type != "cpu":  # kthvalue has no deterministic implementation on a GPU
        kept_there = _all_of(magnitude)
        kept_there[magnitude.sort(stable=True).indices[:k]] = False
        return kept_there
    order, threshold = _as_integers(magnitude), _kth_smallest(magnitude, k)
    kept = order > threshold
    num_ties_kept = kept.size - int(np.count_nonzero(kept)) - k
    if num_ties_kept:
        kept[np.flatnonzero(order == threshold)[-num_ties_kept:]] = True
    return torch.from_numpy(kept)


def _all_of(magnitude: Tensor) -> Tensor:
    if magnitude.numel():
        _require_finite(magnitude.max())
    return torch.ones_like(magnitude, dtype=torch.bool)


def _as_integers(magnitude: Tensor) -> Any:
    """The bits of non-negative floats as a numpy array of integers, which have the same order."""
    return magnitude.view(_INTEGERS[magnitude.dtype]).numpy()


def _kth_smallest(magnitude: Tensor, k: int) -> Any:
    """Exact, as an integer of `_as_integers`; k counts from 1. numpy partitions these on the vector units.

    The largest is at or above the k-th smallest, so that few entries tell whether all are finite.
    """
    partitioned = np.partition(_as_integers(magnitude), k - 1)
    _require_finite(partitioned[k - 1 :].max(keepdims=True).view(_FLOATS[partitioned.dtype.itemsize])[0])
    return partitioned[k - 1]
