"""Pages: tables of a study with what is to be known of it, in every format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from paper_tables.numbers.made_by import mixed_makers
from paper_tables.numbers.study_numbers import StudyNumbers
from paper_tables.tables.build import build, whole_study
from paper_tables.tables.formats import html, latex, long_csv, markdown
from paper_tables.tables.notes import notes
from paper_tables.tables.table import Table

SUFFIXES: Mapping[str, str] = {"md": ".md", "latex": ".tex", "csv": ".csv", "html": ".html"}


def study_page(numbers: StudyNumbers) -> str:
    """Every number of the study, in Markdown."""
    return page([study_table(numbers)], "md", title=numbers.study.name)


def study_table(numbers: StudyNumbers) -> Table:
    """Every cell of the study, with the notes on it among its remarks."""
    table = build(whole_study(), numbers)
    return replace(table, remarks=(*table.remarks, *notes_of(numbers)))


def notes_of(numbers: StudyNumbers) -> list[str]:
    """What a reader must know; rows whose seeds were made unlike first."""
    mixed = mixed_makers(numbers.study.plan, numbers.records, numbers.rows)
    return [*mixed, *notes(numbers.study, numbers.records, numbers.differing)]


def page(tables: Sequence[Table], form: str, *, title: str, said: Sequence[str] = ()) -> str:
    """The tables below each other in one of `SUFFIXES`; said: of all of them, in the end (not in CSV)."""
    heading = f"Study {title}"
    if form == "csv":
        return long_csv.tables_to_csv(tables)
    if form == "html":
        end = f"<h2>{html.escape(heading)}</h2>\n{html.remarks_to_html(said)}" if said else ""
        return html.html_page(title, [*map(html.to_html, tables), end])
    if form == "latex":
        return "".join([*map(latex.to_latex, tables), latex.remarks_to_latex(said)])
    end = f"## {markdown.escaped(heading)}\n\n{markdown.remarks_to_markdown((), said)}" if said else ""
    return "\n".join(filter(None, [*map(markdown.to_markdown, tables), end]))
