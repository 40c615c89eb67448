"""Two models on the same examples: McNemar's exact test and the paired bootstrap over examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from paper_tables.statistics.bootstrap import RESAMPLES, SEED, check_resampling, percentile_interval
from paper_tables.statistics.intervals import LEVEL, Interval

MOST_DRAWN = 2**22  # counts held at once: 32 MiB, also where no two examples differ alike


@dataclass(frozen=True)
class McNemar:
    """Examples that one model alone has right, and the other alone. p_value: exact, two-sided, of equal accuracy."""

    only_one: int
    only_other: int
    p_value: float


def mcnemar(one: Sequence[bool], other: Sequence[bool]) -> McNemar:
    """one, other: whether each model has an example right, in the same order. Raises ValueError for unlike lengths.

    Of the examples on which they differ each is a fair coin where the models are equally accurate: a binomial test.
    """
    first, second = np.asarray(one, dtype=bool), np.asarray(other, dtype=bool)
    _check_alike(first, second)
    only_one, only_other = int((first & ~second).sum()), int((~first & second).sum())
    return McNemar(only_one, only_other, _binomial_tails(min(only_one, only_other), only_one + only_other))


def paired_bootstrap(
    one: Sequence[float], other: Sequence[float], *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = SEED
) -> Interval:
    """Percentile interval for the mean over examples of one minus other; examples are drawn again in pairs.

    one, other: a score of each example, in the same order. Same scores, same seed: same interval, bit for bit.
    Raises ValueError for none, for unlike lengths, and for a score that is not finite.
    """
    check_resampling(resamples, level)
    first, second = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    _check_alike(first, second)
    differences = first - second
    if not len(differences) or not np.isfinite(differences).all():
        raise ValueError("expected at least one example, and finite scores.")
    values, counts = np.unique(differences, return_counts=True)
    # How often each distinct difference is drawn is multinomial: the same as drawing examples, and much less work.
    generator, shares, block = np.random.default_rng(seed), counts / len(differences), max(1, MOST_DRAWN // len(values))
    means = [
        (generator.multinomial(len(differences), shares, size=min(block, resamples - begin)) * values).sum(axis=1)
        for begin in range(0, resamples, block)
    ]
    return percentile_interval(np.concatenate(means) / len(differences), level)


def _check_alike(one: np.ndarray, other: np.ndarray) -> None:
    if one.ndim != 1 or one.shape != other.shape:
        raise ValueError(f"{one.shape} examples against {other.shape}: expected the same examples, in one order.")


def _binomial_tails(fewer: int, n: int) -> float:
    """Twice the probability of at most `fewer` heads in n throws of a fair coin, at most 1."""
    from scipy.special import bdtr

    return min(1.0, float(2 * bdtr(fewer, n, 0.5))) if n else 1.0
