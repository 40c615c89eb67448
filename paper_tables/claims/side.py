"""Side: which rows stand on one side of a comparison, and how rows of two sides are paired."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from harness.specs import as_sparsity
from paper_tables.numbers.rows import Row, method_title

AXES = ("model", "method", "sparsity", "bits")
_PRECISION = {32: "fp32", 8: "int8"}


@dataclass(frozen=True, kw_only=True)
class Side:
    """What a side fixes of its rows; what neither side fixes is equal in both. sparsity: a fraction; bits: 32 or 8."""

    model: str | None = None
    method: str | None = None
    sparsity: float | None = None
    bits: int | None = None

    @property
    def fixed(self) -> frozenset[str]:
        return frozenset(field.name for field in fields(self) if getattr(self, field.name) is not None)

    def has(self, row: Row) -> bool:
        found = {**{name: getattr(row, name) for name in self.fixed}, "sparsity": as_sparsity(row.sparsity)}
        return all(found[name] == getattr(self, name) for name in self.fixed)

    def __str__(self) -> str:
        words = [self.model, self.method and method_title(self.method)]
        words += [f"at {self.sparsity:g}" if self.sparsity else None, _PRECISION.get(self.bits or 0)]
        return " ".join(word for word in words if word)


def paired_rows(rows: Iterable[Row], one: Side, other: Side) -> list[tuple[Row, Row]]:
    """Rows of both sides that are equal in task, metric, and every axis that neither side fixes; in the rows' order.

    one, other: fix the same axes, so that each row has one partner at most.
    """
    rows = list(rows)
    free = [name for name in AXES if name not in one.fixed | other.fixed]

    def key(row: Row) -> tuple[object, ...]:
        return row.task, row.metric, *(getattr(row, name) for name in free)

    partners = {key(row): row for row in rows if other.has(row)}
    return [(row, partners[key(row)]) for row in rows if one.has(row) and key(row) in partners]
