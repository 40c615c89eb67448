"""Two models on the same examples: McNemar's exact test and the paired bootstrap over examples, of means and of F1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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


def paired_f1_bootstrap(
    labels: Sequence[int],
    one: Sequence[int],
    other: Sequence[int],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> Interval:
    """Percentile interval for the binary F1 of one minus that of the other, in [-1, 1]; examples are drawn in pairs.

    labels, one, other: 0 or 1 of each example, in one order; F1 is of class 1. It is no mean over examples: each draw
    counts right and wrong anew. Raises ValueError for no example, unlike lengths and other classes.
    """
    check_resampling(resamples, level)
    columns = [np.asarray(values, dtype=np.int64) for values in (labels, one, other)]
    if not len(columns[0]) or len({len(column) for column in columns}) > 1:
        raise ValueError(f"{', '.join(str(len(column)) for column in columns)} values: expected as many of each.")
    if not all(np.isin(column, (0, 1)).all() for column in columns):
        raise ValueError("expected classes 0 and 1 only.")
    label, first, second = columns
    counts = np.bincount(4 * label + 2 * first + second, minlength=8)
    # Of the eight kinds of example (label, one, other) the numbers drawn are multinomial, as in `paired_bootstrap`.
    drawn = np.random.default_rng(seed).multinomial(len(label), counts / len(label), size=resamples)
    kinds = np.arange(8)
    is_positive = kinds & 4 > 0
    values = _f1(drawn, is_positive, kinds & 2 > 0) - _f1(drawn, is_positive, kinds & 1 > 0)
    return percentile_interval(values, level)


def _f1(
    counts: np.ndarray[Any, Any], positive: np.ndarray[Any, Any], predicted: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """F1 of each row of counts [draws, kinds], in [0, 1]; 0 where class 1 never occurs."""
    right = counts[:, positive & predicted].sum(axis=1)
    wrong = counts[:, positive ^ predicted].sum(axis=1)
    below = 2 * right + wrong
    return np.divide(2 * right, below, out=np.zeros(len(counts)), where=below > 0)


def _binomial_tails(fewer: int, n: int) -> float:
    """Twice the probability of at most `fewer` heads in n throws of a fair coin, at most 1."""
    from scipy.special import bdtr

    return min(1.0, float(2 * bdtr(fewer, n, 0.5))) if n else 1.0
