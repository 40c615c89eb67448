"""What the paper's own numbers say of a claim, as far as it prints both sides."""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

from paper_tables.claims.side import Side
from paper_tables.numbers.metrics import is_primary
from paper_tables.numbers.published import PAPER_COLUMNS, PAPER_MODELS, published_value

PRINTED_SPARSITIES = (0.0, 0.85, 0.9)


class PaperEffect(NamedTuple):
    """One printed number minus another, in points."""

    model: str
    sparsity: float
    task: str
    points: float


def paper_effects(measurement: Any) -> tuple[PaperEffect, ...]:
    """By model, sparsity and task, in its primary metric; empty for a measurement that compares no two rows."""
    one, other = getattr(measurement, "one", None), getattr(measurement, "other", None)
    if not isinstance(one, Side) or not isinstance(other, Side):
        return ()
    columns = [column for column in PAPER_COLUMNS if is_primary(*column)]
    models = PAPER_MODELS if one.model is None else (one.model,)
    sparsities = PRINTED_SPARSITIES if one.sparsity is None else (one.sparsity,)
    found = []
    for model, sparsity, column in product(models, sparsities, columns):
        ours, theirs = _printed(one, model, sparsity, column), _printed(other, model, sparsity, column)
        if ours is not None and theirs is not None:
            found.append(PaperEffect(model, sparsity, column[0], round(ours - theirs, 2)))
    return tuple(found)


def _printed(side: Side, model: str, sparsity: float, column: tuple[str, str]) -> float | None:
    if side.method is None or side.bits is None:
        return None
    share = sparsity if side.sparsity is None else side.sparsity
    number = published_value(side.model or model, side.method, share, side.bits, *column)
    return None if number is None else number.value
