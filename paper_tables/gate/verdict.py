"""Verdict, Finding and Report: what the gate found, with its figures, and the exit code that follows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from paper_tables.gate.expected import HIGHER

EXIT_OK, EXIT_REGRESSED, EXIT_CANNOT_CHECK, EXIT_MISSING = 0, 1, 3, 4


class Verdict(StrEnum):
    """Of one entry of the expected file. The worst first."""

    REGRESSED = "regressed"
    NOT_COMPARABLE = "not comparable"
    MISSING = "missing"
    IMPROVED = "improved"
    NO_TOLERANCE = "no tolerance"
    OK = "ok"


ORDER = tuple(Verdict)
CHECKED = (Verdict.REGRESSED, Verdict.IMPROVED, Verdict.OK)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One entry. kind: "zeros", "loss" (of pre-training), "mean" or "number". name: its cells in words.

    direction: "higher", or "equal" where it must not move either way. expected, measured: a count of zeros, percent or
    nats; None where there is none. difference: measured minus expected. tolerance: what it may fall or move by.
    detectable: the smallest true change that nine of ten runs find, None where no possible one is; 1 for a count.
    n_expected, n_measured: seeds. p_value: of so large a fall, or change, between equal runs. reason: what there is to
    say beside the figures.
    """

    kind: str
    name: str
    verdict: Verdict
    direction: str
    expected: float | None = None
    measured: float | None = None
    tolerance: float | None = None
    detectable: float | None = None
    n_expected: int = 0
    n_measured: int = 0
    p_value: float | None = None
    reason: str = ""

    @property
    def difference(self) -> float | None:
        if self.measured is None or self.expected is None:
            return None
        return self.measured - self.expected

    @property
    def is_blind(self) -> bool:
        """Whether it was checked, and no fall that is possible would be found in nine of ten runs."""
        told = self.kind in ("mean", "number") and self.verdict in CHECKED
        return told and self.p_value is not None and self.detectable is None

    @property
    def severity(self) -> float:
        """How many tolerances it fell by, or moved by; the greater, the worse."""
        if self.difference is None or self.tolerance is None:
            return 0.0
        worse = -self.difference if self.direction == HIGHER else abs(self.difference)
        return worse / self.tolerance if self.tolerance else math.inf if worse else 0.0

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": str(self.verdict), "difference": self.difference}


@dataclass(frozen=True)
class Report:
    """findings: the worst first. unlisted: numbers of the study that the file does not have."""

    study: str
    expected_study: str
    findings: Sequence[Finding]
    false_alarms: float
    unlisted: int = 0

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many entries have each verdict, the worst first; of those that occur."""
        found = Counter(finding.verdict for finding in self.findings)
        return {verdict: found[verdict] for verdict in ORDER if found[verdict]}

    @property
    def num_measured(self) -> int:
        """Entries that were held against something."""
        return sum(self.counts.get(verdict, 0) for verdict in CHECKED)

    @property
    def exit_code(self) -> int:
        """Regressed counts more than what could not be checked, and that more than what is missing.

        Where something is known to be worse, that is the message. An entry without a tolerance was not asked for.
        """
        counts = self.counts
        if counts.get(Verdict.REGRESSED):
            return EXIT_REGRESSED
        if not self.num_measured or counts.get(Verdict.NOT_COMPARABLE):
            return EXIT_CANNOT_CHECK
        return EXIT_MISSING if counts.get(Verdict.MISSING) else EXIT_OK

    def as_json(self) -> dict[str, Any]:
        return {
            "study": self.study,
            "expected_study": self.expected_study,
            "false_alarms": self.false_alarms,
            "measured": self.num_measured,
            "counts": {str(verdict): count for verdict, count in self.counts.items()},
            "unlisted": self.unlisted,
            "exit_code": self.exit_code,
            "findings": [finding.as_json() for finding in self.findings],
        }


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """By verdict, then by how far they fell; otherwise in the order of the file."""
    return sorted(findings, key=lambda finding: (ORDER.index(finding.verdict), -finding.severity))
