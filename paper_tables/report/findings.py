"""Finding: a claim of the paper's and what the seeds say of it, in words for the page. Who judges is `claims`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paper_tables.claims.comparison import CANNOT_SAY, HELD, NOT_HELD, Comparison
from paper_tables.claims.lock import Kept
from paper_tables.claims.verdicts import ClaimVerdict
from paper_tables.statistics.intervals import Interval
from paper_tables.tables.words import interval_text, signed


@dataclass(frozen=True)
class Ground:
    """One comparison or count that a verdict rests on. Texts are "" where there is nothing to say."""

    where: str
    verdict: str
    effect: str = ""
    interval: str = ""
    n: str = ""
    p: str = ""


@dataclass(frozen=True)
class Finding:
    """claim: in a sentence. verdict: "held", "not held" or "cannot say". effect, interval: in points, or a count.

    n: seeds behind it, or stages that were counted. p: corrected for the claims that were judged together. reasons:
    why, in sentences.
    """

    claim: str
    source: str
    verdict: str
    effect: str
    interval: str
    n: str
    p: str
    reasons: tuple[str, ...]
    grounds: tuple[Ground, ...]


def findings(verdicts: Sequence[ClaimVerdict]) -> list[Finding]:
    return [_finding(each) for each in verdicts]


def _finding(judged: ClaimVerdict) -> Finding:
    found = judged.found
    exact = found.is_exact and found.n
    effect = "" if found.effect is None else f"{found.effect:,.0f} lost" if exact else signed(found.effect)
    reasons = [*judged.reasons]
    reasons += [f"Intervals are conditional on {found.condition}."] if found.condition else []
    return Finding(
        claim=judged.claim.sentence,
        source=judged.claim.source,
        verdict=judged.verdict,
        effect=effect,
        interval="exact" if exact else _interval(found.interval),
        n=str(found.n or ""),
        p=_p(judged.p_adjusted),
        reasons=tuple(reasons),
        grounds=(*map(_compared, found.comparisons), *map(_kept, found.kept)),
    )


def _compared(found: Comparison) -> Ground:
    return Ground(
        where=f"{found.one} minus {found.other}, at {found.sparsity:g}, {found.task} {found.metric}"
        + (f": {found.reason}" if found.reason else ""),
        verdict=found.verdict,
        effect="" if found.effect is None else signed(found.effect),
        interval=_interval(found.interval),
        n=str(found.n or ""),
        p=_p(found.p_adjusted),
    )


def _kept(found: Kept) -> Ground:
    done = found.stages - found.missing
    told = f"{found.kept} of {done} models kept {found.zeros:,} zeros"
    failed = done - found.kept - found.unclear
    return Ground(
        where=f"{found.model} at {found.sparsity:g}, {found.kind}: {told}",
        verdict=NOT_HELD if failed else CANNOT_SAY if found.unclear or not done else HELD,
        effect=f"{found.lost:,} lost",
        n=str(done),
    )


def _interval(found: Interval | None) -> str:
    return "" if found is None else interval_text(found)


def _p(value: float | None) -> str:
    return "" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"
