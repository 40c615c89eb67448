"""A seeded part of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import datasets


def seeded_subset(dataset: datasets.Dataset, num_examples: int | None, seed: int) -> datasets.Dataset:
    """`num_examples` rows drawn without replacement, in the order drawn; the same for the same length and seed.

    A smaller subset of the same seed is the beginning of a larger one. With None, or with at least as many examples
    as there are, the data set itself comes back in its own order. Raises ValueError on num_examples < 1.
    """
    if num_examples is not None and num_examples < 1:
        raise ValueError(f"num_examples={num_examples}: expected at least 1, or none given for the whole data set.")
    if num_examples is None or num_examples >= len(dataset):
        return dataset
    return dataset.select(np.random.default_rng(seed).permutation(len(dataset))[:num_examples])
