"""The report as terminal text, JUnit XML and Markdown: figures, widths, and names that mean harm."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from paper_tables.gate.expected import EQUAL, HIGHER
from paper_tables.gate.figures import figures, p_text
from paper_tables.gate.junit import to_junit
from paper_tables.gate.page import to_page
from paper_tables.gate.terminal import to_terminal
from paper_tables.gate.verdict import Finding, Report, Verdict, worst_first

FELL = Finding(
    kind="number",
    name="tiny prune-ofa 0.9 sst2 acc",
    verdict=Verdict.REGRESSED,
    direction=HIGHER,
    expected=80.0,
    measured=70.125,
    tolerance=4.5,
    detectable=6.0,
    n_expected=5,
    n_measured=2,
    p_value=2e-6,
)
ZEROS = Finding(
    kind="zeros",
    name="tiny zeros",
    verdict=Verdict.OK,
    direction=EQUAL,
    expected=9,
    measured=9,
    tolerance=0,
    detectable=1,
)
ABSENT = Finding(
    kind="number",
    name="gone",
    verdict=Verdict.MISSING,
    direction=HIGHER,
    expected=50.0,
    n_expected=5,
    reason="not there",
)
OTHER = Finding(kind="number", name="other", verdict=Verdict.NOT_COMPARABLE, direction=HIGHER, reason="the data (sst2)")
ALONE = replace(FELL, name="alone", verdict=Verdict.NO_TOLERANCE, tolerance=None, detectable=None, p_value=None)
BETTER = replace(FELL, name="better", verdict=Verdict.IMPROVED, measured=99.0, p_value=0.9999)
LOSS = replace(
    FELL, name="loss", direction=EQUAL, expected=0.51234, measured=0.5, tolerance=0.1, detectable=0.2, p_value=0.5
)
ALL = [FELL, ZEROS, ABSENT, OTHER, ALONE, BETTER, replace(LOSS, verdict=Verdict.OK)]
HOSTILE = [
    "<script>alert(1)</script>",
    "a | b\n\n# c",
    "\x1b[2J\x00\x07\x0b",
    "](javascript:x) ![i](u) @everyone `x` **b** ~~s~~",
    "]]> & \" ' <!--",
    "\\section{x} $x_1$ %",
    "x" * 500,
    "é 😀 \u202e \ufffe \ud800",
]


def report(findings: list[Finding], study: str = "quick") -> Report:
    return Report(study, "quick", worst_first(findings), 0.01)


def test_figures_have_two_decimals_for_points_four_for_nats_and_none_for_counts() -> None:
    assert figures(FELL) == ("80.00", "70.12", "-9.88", "4.50", "6.00", "5/2", "2e-06")
    assert figures(LOSS)[:5] == ("0.5123", "0.5000", "-0.0123", "0.1000", "0.2000")
    assert figures(ZEROS) == ("9", "9", "+0", "0", "1", "-", "-")
    assert figures(ABSENT) == ("50.00", "-", "-", "-", "-", "5/0", "-")


@pytest.mark.parametrize(
    ("p", "text"), [(None, "-"), (0.9, ">0.5"), (0.5, ">0.5"), (0.0344, "0.034"), (2.4e-5, "2e-05"), (0.0, "0e+00")]
)
def test_a_p_value_reads_short(p: float | None, text: str) -> None:
    assert p_text(p) == text


def test_the_terminal_has_the_worst_first_each_under_its_verdict() -> None:
    lines = to_terminal(report(ALL)).splitlines()
    assert lines[0] == "quick: 4 measured; 1 regressed, 1 not comparable, 1 missing, 1 improved, 1 no tolerance, 2 ok"
    headings = [line.split(" (")[0] for line in lines if re.match(r"[a-z ]+ \(\d+\)", line)]
    assert headings == ["regressed", "not comparable", "missing", "improved", "no tolerance", "ok"]
    assert "    the data (sst2)" in lines
    assert any(line.startswith("Improved is no failure") for line in lines)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_breaks_a_line_moves_the_cursor_or_is_wider_than_a_terminal(text: str) -> None:
    page = to_terminal(report([replace(FELL, name=text, reason=text), replace(ABSENT, reason=text)], study=text))
    assert max(map(len, page.splitlines())) <= 100 or len(text) == 500
    assert all(letter.isprintable() or letter == "\n" for letter in page)
    plain = to_terminal(report([replace(FELL, reason="x"), replace(ABSENT, reason="x")]))
    assert len(page.splitlines()) >= len(plain.splitlines())


def test_a_long_name_is_cut_where_figures_would_not_fit() -> None:
    page = to_terminal(report([replace(FELL, name="y" * 500)]))
    assert max(map(len, page.splitlines())) == 100
    assert ".." in page


def test_junit_counts_what_it_lists() -> None:
    suite = ElementTree.fromstring(to_junit(report(ALL)))
    cases = suite.findall("testcase")
    assert suite.tag == "testsuite"
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "7",
        "failures": "1",
        "errors": "2",
        "skipped": "1",
    }
    assert len(cases) == 7
    tags = {case.get("name"): [child.tag for child in case] for case in cases}
    assert tags["tiny prune-ofa 0.9 sst2 acc"] == ["failure"]
    assert tags["gone"] == tags["other"] == ["error"]
    assert tags["alone"] == ["skipped"]
    assert tags["better"] == ["system-out"]
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "expected 80.00; measured 70.12; diff -9.88; tolerance 4.50" in failure.get("message", "")


# What the common schema of JUnit's XML (as Jenkins and GitLab read it) allows.
ALLOWED = {
    "testsuite": ({"name", "tests", "failures", "errors", "skipped", "time"}, ["testcase", "system-out"]),
    "testcase": ({"name", "classname", "time"}, ["skipped", "error", "failure", "system-out"]),
    "failure": ({"type", "message"}, []),
    "error": ({"type", "message"}, []),
    "skipped": ({"message"}, []),
    "system-out": (set(), []),
}


@pytest.mark.parametrize("findings", [ALL, [], [ALONE], [FELL]], ids=["all", "none", "nothing measured", "fell"])
def test_junit_keeps_to_the_common_schema(findings: list[Finding]) -> None:
    root = ElementTree.fromstring(to_junit(report(findings)))
    for element in root.iter():
        attributes, children = ALLOWED[element.tag]
        assert set(element.attrib) <= attributes, element.tag
        places = [children.index(child.tag) for child in element]
        assert places == sorted(places)  # in the schema's order
    assert {"name", "tests", "failures", "errors"} <= set(root.attrib)
    assert all(case.get("name") and case.get("classname") for case in root.iter("testcase"))


def test_a_gate_that_measured_nothing_is_an_error_on_every_page() -> None:
    for findings in ([], [ALONE], [ABSENT]):
        found = report(findings)
        assert found.exit_code == 3
        suite = ElementTree.fromstring(to_junit(found))
        assert int(suite.get("errors", "0")) >= 1
        assert "0 measured" in to_terminal(found)
        assert "0 measured: nothing was checked." in to_page(found)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_junit_is_well_formed_whatever_the_names(text: str) -> None:
    found = to_junit(report([replace(FELL, name=text), replace(ABSENT, name=text, reason=text)], study=text))
    suite = ElementTree.fromstring(found.encode("utf-8"))
    assert len(suite.findall("testcase")) == 2
    assert "<script>" not in found


def test_the_page_shows_what_is_wrong_and_folds_away_the_rest() -> None:
    page = to_page(report(ALL))
    assert page.startswith("## harness check: quick\n\n**Regressed:")
    table, _, folded = page.partition("<details>")
    assert "| regressed | tiny prune-ofa 0.9 sst2 acc | 80.00 | 70.12 | -9.88 | 4.50 | 6.00 | 5/2 | 2e-06 |" in table
    assert "tiny zeros" in folded
    assert "tiny zeros" not in table


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_is_markup_on_the_page(text: str) -> None:
    page = to_page(report([replace(FELL, name=text, reason=text)], study=text))
    plain = to_page(report([replace(FELL, name="x", reason="x")], study="x"))
    assert len(page.splitlines()) == len(plain.splitlines())
    assert "<script" not in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {11}
    for sign in "[]`*@#":
        assert not re.search(rf"(?<!\\){re.escape(sign)}", rows[-1])


def test_two_reports_of_the_same_are_the_same_bytes() -> None:
    for write in (to_terminal, to_junit, to_page):
        assert write(report(ALL)) == write(report(list(ALL)))


@pytest.mark.parametrize("text", [*HOSTILE, "x`<img src=x onerror=alert(1)> [l](u)", "https://a.b www.a.b $x$"])
def test_no_study_of_the_file_is_markup_on_the_page(text: str) -> None:
    """A name from the expected file, which anybody may have edited; and one signed by a backtick."""
    found = replace(report([FELL, ALONE]), expected_study=text)
    page = to_page(found)
    (line,) = [line for line in page.splitlines() if line.startswith("- The file was written from study")]
    assert not re.search(r"<\w", line)
    assert not re.search(r"(?<!\\)[\[\]`*$@]|(?<!\\)://|www\.", line)
    assert r"\`tolerance = POINTS\`" in page
