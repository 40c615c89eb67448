"""StudyReport: all that a page tells of a study, read from its records and attempts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.store.store import Store
from harness.studies.hours import Try, read_tries
from harness.studies.study import Study
from paper_tables.claims.verdicts import read_claims
from paper_tables.figures.baselines import study_baselines
from paper_tables.numbers.study_numbers import StudyNumbers, read_numbers
from paper_tables.report.content import content
from paper_tables.report.coverage import Attempts, Coverage, read_coverage
from paper_tables.report.deviations import Deviation, Evidence, corrections, data_deviations, settings
from paper_tables.report.environment import Fact, environment
from paper_tables.report.failures import Failure, failures
from paper_tables.report.findings import Finding, findings
from paper_tables.report.relative import averages
from paper_tables.report.spent import Spending, spending
from paper_tables.tables.best import HOW, best_of_blocks
from paper_tables.tables.study_page import notes_of


@dataclass(frozen=True, kw_only=True)
class StudyReport:
    """content: the numbers as the page's script reads them. records: of stages. began, ended: seconds since the epoch
    of the first and the last record, None where they tell no times. told: as in `StudyNumbers`, no part of the page."""

    study: Study
    coverage: Coverage
    findings: Sequence[Finding]
    content: dict[str, Any]
    notes: Sequence[str]
    failures: Sequence[Failure]
    deviations: Sequence[Deviation]
    corrections: Sequence[Deviation]
    settings: Sequence[Evidence]
    environment: Sequence[Fact]
    spending: Spending
    records: int
    began: float | None
    ended: float | None
    told: Sequence[str] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every cell has its numbers."""
        return not self.coverage.missing


def read_report(store: Store, name: str) -> StudyReport:
    """Raises UsageError when there is no such study, StoreError when a record cannot be trusted."""
    numbers = read_numbers(store, name)
    plan, tried = numbers.study.plan, store.attempted()
    attempts = {stage_id: store.stage(stage_id).attempts() for stage_id in plan.stages if stage_id in tried}
    return report_of(numbers, attempts, read_tries(plan, store))


def report_of(numbers: StudyNumbers, attempts: Attempts, tries: Sequence[Try]) -> StudyReport:
    """Pure. attempts: of the stages that were tried. tries: what those took."""
    study, records = numbers.study, numbers.records
    coverage, baselines = read_coverage(study.plan, records, attempts), study_baselines(study)
    best = best_of_blocks(study, numbers.rows)
    times = [record["times"] for record in records.values() if {"started", "ended"} <= record.get("times", {}).keys()]
    return StudyReport(
        study=study,
        coverage=coverage,
        findings=findings(read_claims(numbers)),
        content=content(numbers, averages(numbers.rows, baselines), baselines),
        notes=[*notes_of(numbers), *best, *([HOW] if best else [])],
        failures=failures(study.plan, coverage, attempts),
        deviations=data_deviations(numbers),
        corrections=corrections(numbers),
        settings=settings(numbers),
        environment=environment(records),
        spending=spending(study.plan, records, tries),
        records=len(records),
        began=min((time["started"] for time in times), default=None),
        ended=max((time["ended"] for time in times), default=None),
        told=numbers.told,
    )
