"""Claim: a sentence that a study can be asked about, where it stands, and the kind of measurement that answers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from paper_tables.numbers.study_numbers import StudyNumbers
from paper_tables.statistics.intervals import Interval


class Found(Protocol):
    """What a measurement found. effect: in points, or where it is exact a count; n: seeds, or where exact stages."""

    is_exact: bool

    @property
    def effect(self) -> float | None: ...
    @property
    def interval(self) -> Interval | None: ...
    @property
    def n(self) -> int: ...
    @property
    def p_value(self) -> float | None: ...
    @property
    def condition(self) -> str | None: ...
    @property
    def stage_ids(self) -> tuple[str, ...]: ...
    @property
    def comparisons(self) -> tuple[Any, ...]: ...
    @property
    def kept(self) -> tuple[Any, ...]: ...

    def verdict(self, p_adjusted: float | None) -> tuple[str, list[str]]: ...
    def as_json(self) -> dict[str, Any]: ...


class Measurement(Protocol):
    def measure(self, numbers: StudyNumbers) -> Found: ...


@dataclass(frozen=True, kw_only=True)
class Claim:
    """id: a short name. sentence: what is claimed, in our words. source: where it stands. kind: as in a claims file."""

    id: str
    sentence: str
    source: str
    kind: str
    measurement: Measurement

    def as_json(self) -> Mapping[str, str]:
        return {"id": self.id, "sentence": self.sentence, "source": self.source, "kind": self.kind}
