"""The page of a study: its tables and the notes under them."""

from __future__ import annotations

from paper_tables.numbers.study_numbers import StudyNumbers
from paper_tables.tables.notes import notes
from paper_tables.tables.render import to_markdown


def study_page(numbers: StudyNumbers) -> str:
    """In Markdown."""
    rows = numbers.rows
    return to_markdown(rows, notes=notes(numbers.study, numbers.records, rows, numbers.differing))
