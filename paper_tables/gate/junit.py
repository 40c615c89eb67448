"""A report as JUnit XML, which services that run tests show: a test case for each entry."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from paper_tables.gate.figures import COLUMNS, counts, figures, headline
from paper_tables.gate.verdict import Finding, Report, Verdict

# What XML 1.0 has no form for, escaped or not.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(report: Report) -> str:
    """Regressed is a failure; missing and not comparable are errors; no tolerance is skipped; the rest passes."""
    tags = [_tag(finding.verdict) for finding in report.findings]
    nothing = not report.num_measured
    suite = ElementTree.Element(
        "testsuite",
        name=_sound(f"harness check {report.study}"),
        tests=str(len(tags) + nothing),
        failures=str(tags.count("failure")),
        errors=str(tags.count("error") + nothing),
        skipped=str(tags.count("skipped")),
        time="0",
    )
    if nothing:  # a page of passed or skipped cases must not look well
        case = ElementTree.SubElement(suite, "testcase", classname="gate", name="0 measured", time="0")
        ElementTree.SubElement(case, "error", type="0 measured", message=headline(report))
    for finding, tag in zip(report.findings, tags, strict=True):
        _case(suite, finding, tag)
    ElementTree.SubElement(suite, "system-out").text = _sound(counts(report))
    ElementTree.indent(suite, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, finding: Finding, tag: str | None) -> None:
    name, kind = _sound(finding.name), f"gate.{finding.kind}"
    case = ElementTree.SubElement(suite, "testcase", classname=kind, name=name, time="0")
    told = "; ".join(f"{title} {text}" for title, text in zip(COLUMNS, figures(finding), strict=True))
    message = _sound(f"{finding.verdict}: {finding.reason or told}")
    if tag == "skipped":
        ElementTree.SubElement(case, tag, message=message)
    elif tag:
        ElementTree.SubElement(case, tag, type=str(finding.verdict), message=message).text = told
    else:
        ElementTree.SubElement(case, "system-out").text = f"{finding.verdict}; {told}"


def _tag(verdict: Verdict) -> str | None:
    return {
        Verdict.REGRESSED: "failure",
        Verdict.NOT_COMPARABLE: "error",
        Verdict.MISSING: "error",
        Verdict.NO_TOLERANCE: "skipped",
    }.get(verdict)


def _sound(text: str) -> str:
    return _NO_XML.sub("?", text)
