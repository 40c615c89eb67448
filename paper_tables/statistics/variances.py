"""Variances of many groups of few values each, estimated together (empirical Bayes, Smyth 2004).

Of five seeds a standard deviation is known to within a factor of two. The groups of a family (the cells of one task)
vary about a common size, so each borrows from the others: as much as they are alike, and no more.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

_SMALLEST = 1e-4  # of the median variance: a group whose few values happen to be equal has not no variance


class Variance(NamedTuple):
    """An estimate and its degrees of freedom: those of the group, and of what was borrowed; math.inf where all was."""

    value: float
    freedom: float


class Prior(NamedTuple):
    """Of a family: variances are `scale` times freedom / chi-squared(freedom). freedom: math.inf: all are equal."""

    scale: float
    freedom: float


def moderated_variances(groups: Sequence[Sequence[float]]) -> list[Variance | None]:
    """The variance of each group of values, the groups being one family.

    (d0 s0^2 + d s^2) / (d0 + d), of d0 + d degrees of freedom, with the prior of `fitted_prior`: a mean over such a
    standard deviation follows Student's t with that many. None for all where no group has two values that differ: then
    nothing is known of their noise. A group of one value has the prior. Infinite freedom is brought down to what the
    groups have together, for the prior itself is estimated.
    """
    known = [(statistics.variance(group), len(group) - 1) for group in groups if len(group) > 1]
    if not any(value > 0 for value, _ in known):
        return [None] * len(groups)
    prior = fitted_prior([value for value, _ in known], [freedom for _, freedom in known])
    most = float(sum(freedom for _, freedom in known))
    return [_posterior(group, prior, most) for group in groups]


def fitted_prior(variances: Sequence[float], freedoms: Sequence[float]) -> Prior:
    """The prior from which sample variances were drawn, by the moments of their logarithms (Smyth 2004, 6.2).

    variances: at least one above 0; those of 0 count as `_SMALLEST` of the median. freedoms: of each, at least 1.
    """
    from scipy.special import digamma, polygamma  # on first use: reading a table needs none

    median = statistics.median([value for value in variances if value > 0])
    logs = [
        math.log(max(value, _SMALLEST * median)) - float(digamma(d / 2)) + math.log(d / 2)
        for value, d in zip(variances, freedoms, strict=True)
    ]
    mean = statistics.fmean(logs)
    expected = statistics.fmean(float(polygamma(1, d / 2)) for d in freedoms)
    excess = statistics.variance(logs) - expected if len(logs) > 1 else 0.0
    if excess <= 0:  # they vary no more than equal ones would: the pooled variance
        pooled = sum(v * d for v, d in zip(variances, freedoms, strict=True)) / sum(freedoms)
        return Prior(pooled, math.inf)
    half = _inverse_trigamma(excess)
    return Prior(math.exp(mean + float(digamma(half)) - math.log(half)), 2 * half)


def _posterior(group: Sequence[float], prior: Prior, most: float) -> Variance:
    own = len(group) - 1
    if math.isinf(prior.freedom):
        return Variance(prior.scale, most)
    total = prior.freedom + own
    value = prior.freedom * prior.scale + (own * statistics.variance(group) if own else 0.0)
    return Variance(value / total, min(total, most))


def _inverse_trigamma(value: float) -> float:
    """x > 0 with trigamma(x) = value > 0, by Newton's method (Smyth 2004, appendix)."""
    from scipy.special import polygamma

    if value > 1e7:
        return 1 / math.sqrt(value)
    if value < 1e-6:
        return 1 / value
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-10 * x:
            break
    return x
