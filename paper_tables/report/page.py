"""Page: a report as one file of HTML. Its style and script stand inside it, and nothing else may run or be fetched.

The template escapes whatever it is given; the script puts text on the page as text alone. Should a text get through all
the same, the content security policy runs no script but the page's own, known by its digest.
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Any

from harness.wording import counted
from paper_tables.numbers.rows import method_title
from paper_tables.report.embedded import as_script_json, policy_source
from paper_tables.report.legible import LINE, legible
from paper_tables.report.study_report import StudyReport

PARTS = Path(__file__).with_name("page")
# In the order in which they are run: each uses those before it.
SCRIPTS = ("data", "elements", "theme", "provenance", "numbers", "figure", "start")
MOST_MISSING_LISTED = 200
MOST_GROUNDS_LISTED = 60  # of a claim
MOST_NOTES_OPEN = 6  # the others are folded


def report_page(report: StudyReport) -> str:
    """The same report gives the same bytes."""
    style, script = page_style(), page_script()
    return _template().render(
        report=report,
        study=legible(report.study.name),
        recipe=report.study.recipe,
        style=style,
        script=script,
        style_source=policy_source(style),
        script_source=policy_source(script),
        content=as_script_json(report.content),
        most_missing=MOST_MISSING_LISTED,
        most_grounds=MOST_GROUNDS_LISTED,
        most_notes=MOST_NOTES_OPEN,
    )


def page_style() -> str:
    return (PARTS / "page.css").read_text(encoding="utf-8")


def page_script() -> str:
    """One function, so that nothing of it has a name outside."""
    parts = [(PARTS / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "\n})();\n"


@cache
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(PARTS), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        legible=legible,
        line=lambda text: legible(text, LINE),
        title=method_title,
        counted=counted,
        hours=_hours,
        day=_day,
        # Only of the page's own style and script, and of JSON in which nothing can end a script element.
        embedded=Markup,
    )
    return environment.get_template("page.html.jinja")


def _hours(value: float) -> str:
    if not value:
        return "0"
    return "<0.001" if value < 0.001 else f"{value:.3f}" if value < 1 else f"{value:,.1f}"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
