"""Correction of several comparisons (Holm 1979): of true nulls one is rejected with probability alpha at most."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the order given: reject those at most alpha.

    The k-th smallest of m is multiplied by m - k + 1, made no smaller than those before it, and at most 1.
    Raises ValueError for one outside [0, 1].
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values {list(p_values)}: expected numbers in [0, 1].")
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def holm_by_key(p_values: Mapping[Key, float | None]) -> dict[Key, float]:
    """The adjusted p-values of the comparisons that were tested; those without a p-value take no part."""
    tested = {key: p for key, p in p_values.items() if p is not None}
    return dict(zip(tested, holm(list(tested.values())), strict=True))
