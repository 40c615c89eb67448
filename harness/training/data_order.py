"""The order in which training reads its examples: of seed and epoch alone, so that a resumed run meets the same.

Both samplers hold arrays of whole numbers, some twenty bytes an example, where lists of Python's integers would take a
hundred: what training keeps in memory of tens of millions of pairs, whose tokens stay on disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler

MOST_BATCHES_SORTED_TOGETHER = 50
FEWEST_GROUPS = 4


class SeededShuffledSampler(Sampler[int]):
    """Examples 0 to num_examples - 1 in an order of its own at every epoch: batches of examples of any length."""

    def __init__(self, num_examples: int, seed: int) -> None:
        self.num_examples = num_examples
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_examples

    def __iter__(self) -> Iterator[int]:
        for part in self.parts(self._permutation()):
            yield from part.tolist()

    def parts(self, permutation: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """The order of an epoch, piece by piece, from its random permutation."""
        yield from (permutation[at : at + 4096] for at in range(0, len(permutation), 4096))

    def _permutation(self) -> NDArray[np.int64]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        return torch.randperm(self.num_examples, generator=generator).numpy()


class SeededLengthGroupedSampler(SeededShuffledSampler):
    """Batches of similar length: the order of the library's LengthGroupedSampler, number for number.

    Fifty batches at a time, fewer where an epoch would have less than four such groups, are sorted by length, longest
    first; the longest example of all comes first of all. lengths: tokens of each example.
    """

    def __init__(self, batch_size: int, lengths: Sequence[int] | NDArray[np.integer], seed: int) -> None:
        super().__init__(len(lengths), seed)
        self.lengths = np.asarray(lengths)
        batches = min(len(lengths) // (batch_size * FEWEST_GROUPS), MOST_BATCHES_SORTED_TOGETHER)
        self.group_size = max(1, batches) * batch_size

    def parts(self, permutation: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        starts = range(0, len(permutation), self.group_size)
        groups = [self._sorted(permutation[at : at + self.group_size]) for at in starts]
        longest = max(groups, key=lambda group: int(self.lengths[group[0]]), default=permutation)
        if groups:
            groups[0][0], longest[0] = longest[0], groups[0][0]
        yield from groups

    def _sorted(self, group: NDArray[np.int64]) -> NDArray[np.int64]:
        return group[np.argsort(-self.lengths[group].astype(np.int64), kind="stable")]
