"""Masks of several matrices at once, for pruning that happens before a training: by matrix or together, exact counts.

Pure functions of weight tensors, on `mask`. A mask is a bool tensor of the weight's shape, True = kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor

from harness.compression.mask import global_magnitude_masks, magnitude_mask, num_zeros

Ranking = Literal["local", "global"]
Rounding = Literal["down", "nearest"]


def ranked_masks(
    weights: Sequence[Tensor], sparsity: float, *, ranking: Ranking, rounding: Rounding = "down"
) -> list[Tensor]:
    """Masks that keep the largest weights by absolute value, with `count_zeros` zeros exactly.

    weights: of any shapes, zeros among them; zeros go first, so what an earlier mask removed stays removed where there
    is more to remove. ranking "local": every matrix has its own count; "global": one ranking over all of them, of
    their sum. Ties: from the first matrix and the lowest flat index on.
    Raises ValueError on no weights, a sparsity outside [0, 1), or a word that is not known.
    """
    if not weights:
        raise ValueError("weights is empty: no matrix would be pruned. Name the matrices.")
    if ranking not in get_args(Ranking):
        raise ValueError(f"ranking={ranking!r}: expected one of {', '.join(get_args(Ranking))}.")
    if ranking == "global":
        total = sum(weight.numel() for weight in weights)
        return global_magnitude_masks(weights, _share(count_zeros(sparsity, total, rounding), total))
    return [
        magnitude_mask(weight, _share(count_zeros(sparsity, weight.numel(), rounding), weight.numel()))
        for weight in weights
    ]


def count_zeros(sparsity: float, numel: int, rounding: Rounding = "down") -> int:
    """How many of `numel` weights go: sparsity * numel, rounded down as everywhere (`num_zeros`), or to the nearest.

    Down is what a cell of the grid has. To the nearest, halves upwards, is what the rounds of iterative pruning by a
    share of the remainder have: of 1,000 weights at a fifth a round 738 after the sixth, where 737.856 was meant.
    Raises ValueError on a sparsity outside [0, 1) or another word.
    """
    if rounding not in get_args(Rounding):
        raise ValueError(f"rounding={rounding!r}: expected one of {', '.join(get_args(Rounding))}.")
    down = num_zeros(sparsity, numel)
    return down if rounding == "down" else max(down, math.floor(sparsity * numel + 0.5))


def _share(count: int, numel: int) -> float:
    """A sparsity of which `num_zeros` makes this count, whatever its float product with numel is."""
    return (count + 0.5) / numel
