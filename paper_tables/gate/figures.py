"""Figures of a finding as text, the same on every page: two decimals for points, whole numbers for counts."""

from __future__ import annotations

from paper_tables.gate.expected import HIGHER
from paper_tables.gate.verdict import Finding, Report, Verdict

NONE = "-"
COLUMNS = ("expected", "measured", "diff", "tolerance", "detects", "seeds", "p")
SHORT = ("expect", "now", "diff", "tol", "detect", "seeds", "p")  # the same, where there is little room
NO_NOISE = "of one seed, or of seeds that are all alike, the noise is not known"
LEGEND = (
    "Expected and now: exact zeros, losses in nats (opening: over the first tenth of a training), scores in percent. "
    "Tolerance: a score may fall by so much, a loss move by it either way, zeros not at all. Detect: the smallest true "
    "change found in 9 of 10 runs. Seeds: expected/measured. p: of such a fall, or move of a loss, between equal runs."
)


def figures(finding: Finding) -> tuple[str, ...]:
    """A text for each of COLUMNS."""
    decimals = 0 if finding.kind == "zeros" else 2 if finding.direction == HIGHER else 4
    return (
        _number(finding.expected, decimals),
        _number(finding.measured, decimals),
        NONE if finding.difference is None else f"{round(finding.difference, decimals) + 0.0:+.{decimals}f}",
        _number(finding.tolerance, decimals),
        _number(finding.detectable, decimals),
        f"{finding.n_expected}/{finding.n_measured}" if finding.n_expected and finding.kind != "zeros" else NONE,
        p_text(finding.p_value),
    )


def p_text(p_value: float | None) -> str:
    """ "0.034", "2e-05"; one above a half as "> 0.5", for nothing fell."""
    if p_value is None:
        return NONE
    if p_value >= 0.5:
        return ">0.5"
    return f"{p_value:.3f}" if p_value >= 0.001 else f"{p_value:.0e}"


def counts(report: Report) -> str:
    """ "1 regressed, 2 missing, 84 ok; 85 measured"; a report that measured nothing says so first."""
    listed = ", ".join(f"{count} {verdict}" for verdict, count in report.counts.items())
    measured = f"{report.num_measured} measured"
    return f"{measured}; {listed}" if listed else measured


def headline(report: Report) -> str:
    """What the gate says, in a sentence."""
    found = report.counts
    if found.get(Verdict.REGRESSED):
        return "Regressed: a score fell or a loss moved by more than its tolerance, or a count of zeros changed."
    if not report.num_measured:
        return "0 measured: nothing was checked."
    if found.get(Verdict.NOT_COMPARABLE):
        return "Could not check all: recipe, data or model are not those of the expected file."
    if found.get(Verdict.MISSING):
        return "Missing: not every expected number has a result. What there is is within its tolerance."
    return "Ok: every number that was checked is within its tolerance."


def remarks(report: Report) -> list[str]:
    """What there is to say beside the entries, a sentence each."""
    found, said = report.counts, []
    if found.get(Verdict.IMPROVED):
        said.append("Improved is no failure; harness check --write takes the new numbers into the file.")
    if several := found.get(Verdict.NO_TOLERANCE):
        said.append(
            f"{several} without tolerance: {NO_NOISE}. Only what has one was checked; "
            "write `tolerance = POINTS` into an entry to have it checked."
        )
    if blind := sum(finding.is_blind for finding in report.findings):
        said.append(
            f"{blind} of them are so noisy, for so few seeds, that no fall is found in 9 of 10 runs (detect -): they "
            "count in their means."
        )
    if report.unlisted:
        said.append(f"{report.unlisted} of the study's numbers are not in the file; harness check --write adds them.")
    if report.study != report.expected_study:
        said.append(f"The file was written from study {report.expected_study}.")
    said.append(
        f"A table whose numbers did not change turns red in at most {100 * report.false_alarms:.3g} of 100 runs."
    )
    return said


def _number(value: float | None, decimals: int) -> str:
    return NONE if value is None else f"{value:.{decimals}f}"
