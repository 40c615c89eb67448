"""Random choices that are the same for every version of Python.

Only `random.Random.random` is promised to repeat under a seed; how the library makes choices and shuffles of it may
change, so they are made here.
"""

from __future__ import annotations

import random
from collections.abc import MutableSequence, Sequence
from typing import Any, TypeVar

from harness.identity import sha256_of

T = TypeVar("T")


class Draw:
    """A source of random choices, named by any JSON values: other names, independent draws."""

    def __init__(self, *name: Any) -> None:
        self._next = random.Random(int(sha256_of(list(name)), 16)).random

    def below(self, count: int) -> int:
        """A whole number in [0, count)."""
        return int(self._next() * count)

    def chance(self, probability: float) -> bool:
        return self._next() < probability

    def one(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def other(self, options: Sequence[T], *than: T) -> T:
        """One of the options that is none of these."""
        return self.one([option for option in options if option not in than])

    def some(self, options: Sequence[T], count: int) -> list[T]:
        """Different options in random order. Raises ValueError when there are fewer than `count`."""
        if count > len(options):
            raise ValueError(f"{count} different ones of {len(options)}.")
        rest = list(options)
        return [rest.pop(self.below(len(rest))) for _ in range(count)]

    def shuffle(self, items: MutableSequence[T]) -> None:
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]
