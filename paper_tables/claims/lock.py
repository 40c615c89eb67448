"""The claim that training with the lock keeps every zero: counted in the records, matrix by matrix; no statistics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from harness.specs import StageSpec
from harness.studies.results import counts_of
from paper_tables.claims.comparison import CANNOT_SAY, HELD, NOT_HELD
from paper_tables.numbers.study_numbers import StudyNumbers
from paper_tables.statistics.intervals import Interval

LOCK = "lock_pooler"  # the parameter that every kind of stage with a pattern lock has


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The locked stages of one model, sparsity and kind. zeros: of one of their patterns; lost: of all stages together.

    patterns: how many distinct patterns (`pattern_sha256`) they started from, each one pruned model. kept: stages
    that end with the very pattern and with every count; unclear: with another pattern, in which no zero is known lost.
    """

    model: str
    sparsity: float
    kind: str
    stages: int
    missing: int
    kept: int
    unclear: int
    zeros: int
    lost: int
    patterns: int


@dataclass(frozen=True, kw_only=True)
class KeepsZeros:
    """Every stage that trains with the lock hands on the zeros it was given: in place, and in its int8 codes."""

    def measure(self, numbers: StudyNumbers) -> KeptZeros:
        groups: dict[tuple[str, float, str], dict[str, None]] = {}
        plan = numbers.study.plan
        for cell, path in plan.paths.items():
            for stage_id in path:
                spec = plan.stages[stage_id]
                if LOCK in spec.parameters and "model" in spec.parents and cell.sparsity > 0:
                    groups.setdefault((cell.model, cell.sparsity, spec.kind), {})[stage_id] = None
        return KeptZeros(
            tuple(_kept(numbers, *key, list(stages)) for key, stages in groups.items()),
            tuple(stage_id for stages in groups.values() for stage_id in stages),
        )


@dataclass(frozen=True)
class KeptZeros:
    """What was found of it. Exact: effect is the number of lost zeros, and it has no interval."""

    kept: tuple[Kept, ...]
    stage_ids: tuple[str, ...]
    comparisons: tuple[()] = ()
    is_exact = True
    p_value: float | None = None
    interval: Interval | None = None
    condition: str | None = None

    @property
    def n(self) -> int:
        """Finished stages."""
        return sum(each.stages - each.missing for each in self.kept)

    @property
    def effect(self) -> float | None:
        return float(sum(each.lost for each in self.kept)) if self.n else None

    def verdict(self, p_adjusted: float | None) -> tuple[str, list[str]]:
        if not self.n:
            return CANNOT_SAY, ["No stage of the study that trains a sparse model with the lock has a record."]
        unclear, kept = sum(each.unclear for each in self.kept), sum(each.kept for each in self.kept)
        if failed := self.n - kept - unclear:
            return NOT_HELD, [f"{failed} of {self.n} locked stages lost zeros, at least {self.effect:,.0f} in all."]
        if unclear:
            return CANNOT_SAY, [f"{unclear} of {self.n} locked stages have another pattern and no fewer zeros."]
        return HELD, [f"Each of {self.n} locked stages ends with the pattern it was given, digest for digest."]

    def as_json(self) -> dict[str, Any]:
        return {"kept": [asdict(each) for each in self.kept]}


@dataclass(frozen=True)
class _Stage:
    """Two records compared. lost: zeros known lost; same: whether the pattern's digest and all counts are the same."""

    zeros: int
    pattern: str
    lost: int
    same: bool

    @classmethod
    def of(cls, given: Mapping[str, Any], now: Mapping[str, Any], codes: Mapping[str, Any], *, pooler: bool) -> _Stage:
        """given, now: counts of the model that was given, and of the stage's own; codes: of its int8 codes, if any."""
        lost = _lost(given["zeros_by_matrix"], now["zeros_by_matrix"])
        if pooler:
            had, has = _zeros(given["pooler"]), _zeros(now["pooler"])
            lost += _lost({name: zeros for name, zeros in had.items() if name in has}, has)  # some heads need no pooler
        if codes:
            lost += _lost(given["zeros_by_matrix"], codes["zeros_by_matrix"])
        moved = given["pattern_sha256"] != now["pattern_sha256"]
        if moved and not lost and given["encoder_zeros"] == now["encoder_zeros"]:
            lost = 1  # as many zeros in other places: at least one was lost
        return cls(given["encoder_zeros"], given["pattern_sha256"], lost, not moved and not lost)


def _kept(numbers: StudyNumbers, model: str, sparsity: float, kind: str, stage_ids: list[str]) -> Kept:
    found = [each for stage_id in stage_ids if (each := _stage(numbers, numbers.study.plan.stages[stage_id], stage_id))]
    return Kept(
        model=model,
        sparsity=sparsity,
        kind=kind,
        stages=len(stage_ids),
        missing=len(stage_ids) - len(found),
        kept=sum(each.same for each in found),
        unclear=sum(not each.same and not each.lost for each in found),
        zeros=max((each.zeros for each in found), default=0),
        lost=sum(each.lost for each in found),
        patterns=len({each.pattern for each in found}),
    )


def _stage(numbers: StudyNumbers, spec: StageSpec, stage_id: str) -> _Stage | None:
    """None where one of the two has no record yet, or counts no zeros."""
    before, after = numbers.records.get(spec.parents["model"]), numbers.records.get(stage_id)
    if before is None or after is None:
        return None
    pooler = bool(spec.parameters[LOCK])
    needed = {"encoder_zeros", "pattern_sha256", "zeros_by_matrix", *(["pooler"] if pooler else [])}
    given, now, codes = counts_of(before["result"]), counts_of(after["result"]), counts_of(after["result"], "int8")
    if not needed <= given.keys() & now.keys() or ("int8" in after["result"] and "zeros_by_matrix" not in codes):
        return None
    return _Stage.of(given, now, codes, pooler=pooler)


def _lost(before: Mapping[str, int], after: Mapping[str, int]) -> int:
    """Zeros that are fewer, matrix by matrix; what one matrix gained makes up for no other."""
    return sum(max(0, zeros - after.get(name, 0)) for name, zeros in before.items())


def _zeros(pooler: Mapping[str, Iterable[int]]) -> dict[str, int]:
    """Of each pooler matrix, whose record is [zeros, numel]."""
    return {name: next(iter(counts)) for name, counts in pooler.items()}
