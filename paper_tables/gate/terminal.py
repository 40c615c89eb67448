"""A report for a terminal of 100 columns: the worst first, a line an entry, a heading for each verdict."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from harness.wording import COLUMNS as WIDTH
from harness.wording import harmless
from paper_tables.gate.figures import LEGEND, SHORT, counts, figures, headline, remarks
from paper_tables.gate.verdict import Report

INDENT = "  "


def to_terminal(report: Report) -> str:
    """No line is wider than `WIDTH`: a long name is cut, a long reason broken."""
    lines = [f"{_clean(report.study)}: {counts(report)}", *_wrapped(headline(report), "")]
    widths = [max(map(len, column)) for column in zip(SHORT, *(figures(each) for each in report.findings), strict=True)]
    room = WIDTH - len(INDENT) - sum(width + 1 for width in widths)
    longest = max((len(_clean(each.name)) for each in report.findings), default=0)
    room = min(room, max(longest, len("no tolerance (100)")))
    for verdict, group in groupby(report.findings, key=lambda finding: finding.verdict):
        found = list(group)
        lines += ["", _line(f"{verdict} ({len(found)})", SHORT, widths, room + len(INDENT))]
        for finding in found:
            lines.append(INDENT + _line(_clean(finding.name), figures(finding), widths, room))
            lines += _wrapped(_clean(finding.reason), 2 * INDENT) if finding.reason else []
    for text in (LEGEND, *remarks(report)):
        lines += ["", *_wrapped(_clean(text), "")] if text is LEGEND else _wrapped(_clean(text), "")
    return "\n".join(lines) + "\n"


def _line(name: str, cells: Sequence[str], widths: Sequence[int], room: int) -> str:
    name = name if len(name) <= room else f"{name[: room - 2]}.."
    return " ".join([name.ljust(room), *(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))])


def _wrapped(text: str, indent: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)


def _clean(text: str) -> str:
    """In one line, with nothing that moves a terminal's cursor or colours it."""
    return harmless(text).replace("\n", "\\n")
