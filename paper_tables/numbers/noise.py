"""Noise: how far a mean of ours and the paper's may lie apart by their seeds alone."""

from __future__ import annotations

from functools import cache

from paper_tables.numbers.pairs import independent_values
from paper_tables.numbers.published import PAPER_MODELS, PublishedNumber, published_value, verified_numbers
from paper_tables.numbers.rows import Row
from paper_tables.statistics.intervals import reference_half_width

_SPREADS_AT = 0.9  # standard deviations are published for BERT-Base at 90 %


def exceeds_noise(row: Row) -> bool | None:
    """Whether a comparable row's mean lies further from the paper's number than seeds explain at 95 %.

    The paper's number is itself a mean of few seeds (two where it says so, else taken as one), whose spread it does not
    print: the largest one published for that model, task and metric stands for it, or else the spread of our own seeds.
    None where nothing is comparable, or of fewer than three seeds.
    """
    number = _number(row)
    if number is None or row.difference is None:
        return None
    half = reference_half_width(
        independent_values(row.seeds),
        reference_n=number.n_seeds or 1,
        reference_spread=published_spread(number.model, number.task, number.metric),
    )
    return None if half is None else abs(row.difference) > half


@cache
def published_spread(model: str, task: str, metric: str) -> float | None:
    """The largest published standard deviation over seeds, in points; model: as the paper names it."""
    found = [
        number.std
        for number in verified_numbers()
        if (number.model, number.task, number.metric) == (model, task, metric)
        and number.sparsity == _SPREADS_AT
        and number.std is not None
    ]
    return max(found, default=None)


def _number(row: Row) -> PublishedNumber | None:
    if row.published is None or row.model not in PAPER_MODELS:
        return None
    return published_value(row.model, row.method, row.sparsity, row.bits, row.task, row.metric)
