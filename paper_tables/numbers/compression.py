"""Nominal compression: how much smaller an encoder is in theory."""

from __future__ import annotations


def nominal_compression(bits: int, sparsity: float) -> float:
    """32 / (bits (1 - sparsity)): 1 for the dense fp32 encoder, 40 for 90 % zeros in 8 bits (the paper's count).

    It is that of the prunable encoder matrices, and ignores embeddings, scales and what storing indices costs.
    """
    return round(32 / (bits * (1 - sparsity)), 6)  # 1 - 0.9 is not quite a tenth
