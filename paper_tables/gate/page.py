"""A report in Markdown for the page of a job: what is wrong in a table, the rest folded away."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from paper_tables.gate.figures import COLUMNS, LEGEND, counts, figures, headline, remarks
from paper_tables.gate.verdict import Finding, Report, Verdict

# Marks of Markdown and of formulas, and what makes a link of a bare address.
_MARKS = re.compile(r"([\\`*_{}\[\]#|!~@$:]|(?<=www)\.)", re.IGNORECASE)


def to_page(report: Report) -> str:
    """Markdown as GitHub shows it. Names are shown as they are, whatever signs they hold."""
    told = [finding for finding in report.findings if finding.verdict is not Verdict.OK]
    well = [finding for finding in report.findings if finding.verdict is Verdict.OK]
    parts = [f"## harness check: {_escaped(report.study)}", f"**{headline(report)}** {counts(report)}."]
    parts += [_table(told)] if told else []
    parts += [f"<details><summary>{len(well)} ok</summary>\n\n{_table(well)}\n\n</details>"] if well else []
    parts.append("\n".join(f"- {_escaped(each)}" for each in [LEGEND, *remarks(report)]))
    return "\n\n".join(parts) + "\n"


def _table(findings: Sequence[Finding]) -> str:
    header = ("verdict", "what", *COLUMNS, "remark")
    lines = [(str(f.verdict), f.name, *figures(f), f.reason) for f in findings]
    rule = ["---", "---", *["---:"] * len(COLUMNS), "---"]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *(map(_escaped, line) for line in lines)])


def _escaped(text: str) -> str:
    """As text alone: no mark-up of Markdown, no HTML, no mention, one line."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return html.escape(_MARKS.sub(r"\\\1", line), quote=False)
