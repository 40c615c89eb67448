"""What a study says of each claim: held, not held, or cannot say, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from paper_tables.claims.claim import Claim, Found
from paper_tables.claims.file import paper_claims
from paper_tables.claims.in_paper import PaperEffect, paper_effects
from paper_tables.numbers.scale import Scale, scale_of
from paper_tables.numbers.study_numbers import StudyNumbers
from paper_tables.statistics.correction import holm_by_key


@dataclass(frozen=True, kw_only=True)
class ClaimVerdict:
    """verdict: "held", "not held" or "cannot say" (docs/statistics.md defines them); reasons: why, in sentences.

    found: effect, interval, n and p-value, with the comparisons or counts behind them. p_adjusted: Holm's, over the
    claims that were judged together. missing: planned stages that it would need and that have no record.
    scale: the pre-training behind it, None where it has no stage here. paper: the paper's own differences, where it
    prints both sides.
    """

    claim: Claim
    verdict: str
    reasons: tuple[str, ...]
    found: Found
    p_adjusted: float | None
    missing: int
    scale: Scale | None
    paper: tuple[PaperEffect, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            **self.claim.as_json(),
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "effect": self.found.effect,
            "is_exact": self.found.is_exact,
            "interval": self.found.interval,
            "n": self.found.n,
            "p_value": self.found.p_value,
            "p_adjusted": self.p_adjusted,
            "missing": self.missing,
            "scale": None if self.scale is None else str(self.scale),
            "paper": [effect._asdict() for effect in self.paper],
            **self.found.as_json(),
        }


def read_claims(numbers: StudyNumbers, claims: Sequence[Claim] | None = None) -> list[ClaimVerdict]:
    """A verdict on each claim, in their order; on the paper's where none are given."""
    claims = paper_claims() if claims is None else claims
    found = [claim.measurement.measure(numbers) for claim in claims]
    adjusted = holm_by_key({number: each.p_value for number, each in enumerate(found)})
    return [
        _verdict(numbers, claim, each, adjusted.get(number))
        for number, (claim, each) in enumerate(zip(claims, found, strict=True))
    ]


def _verdict(numbers: StudyNumbers, claim: Claim, found: Found, p_adjusted: float | None) -> ClaimVerdict:
    verdict, reasons = found.verdict(p_adjusted)
    return ClaimVerdict(
        claim=claim,
        verdict=verdict,
        reasons=tuple(reasons),
        found=found,
        p_adjusted=p_adjusted,
        missing=sum(stage_id not in numbers.records for stage_id in found.stage_ids),
        scale=scale_of(numbers.study, numbers.records, found.stage_ids) if found.stage_ids else None,
        paper=paper_effects(claim.measurement),
    )
