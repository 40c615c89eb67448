"""Claims as the page words them, held against what `claims` judged of the committed study."""

from __future__ import annotations

import pytest
from grid_world import ROOT

from harness.store.store import Store
from paper_tables.claims.verdicts import ClaimVerdict, read_claims
from paper_tables.numbers.study_numbers import read_numbers
from paper_tables.report.findings import Finding, findings


@pytest.fixture(scope="module")
def judged() -> list[tuple[ClaimVerdict, Finding]]:
    verdicts = read_claims(read_numbers(Store(ROOT / "results" / "quick"), "quick"))
    return list(zip(verdicts, findings(verdicts), strict=True))


def test_each_claim_stands_once_with_its_verdict_and_what_it_rests_on(
    judged: list[tuple[ClaimVerdict, Finding]],
) -> None:
    assert len(judged) >= 4
    for verdict, finding in judged:
        assert (finding.claim, finding.verdict) == (verdict.claim.sentence, verdict.verdict)
        assert len(finding.grounds) == len(verdict.found.comparisons) + len(verdict.found.kept)
        assert finding.reasons


def test_a_lock_that_kept_all_is_exact_and_counted(judged: list[tuple[ClaimVerdict, Finding]]) -> None:
    (lock,) = [finding for verdict, finding in judged if verdict.found.is_exact]
    assert (lock.verdict, lock.effect, lock.interval) == ("held", "0 lost", "exact")
    assert {ground.verdict for ground in lock.grounds} == {"held"}
    assert sum(int(ground.n) for ground in lock.grounds) == int(lock.n) == 60  # 30 transferred, 30 quantized


def test_an_effect_has_its_sign_and_its_interval(judged: list[tuple[ClaimVerdict, Finding]]) -> None:
    measured = [(v, f) for v, f in judged if not v.found.is_exact and v.found.interval is not None]
    assert measured
    for verdict, finding in measured:
        assert verdict.found.effect is not None
        assert verdict.found.interval is not None
        assert float(finding.effect) == pytest.approx(verdict.found.effect, abs=0.005)
        low, _, high = finding.interval.partition(" to ")
        assert (float(low), float(high)) == pytest.approx(verdict.found.interval[:2], abs=0.005)
        assert finding.effect[0] in "+-"
