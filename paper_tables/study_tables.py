"""A study's records as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.store.store import Store
from harness.studies.study import Study, read_study
from harness.studies.verification import verified_records

if TYPE_CHECKING:
    from paper_tables import Row, Score


@dataclass(frozen=True)
class Tables:
    """A study's numbers: each seed's score, the rows over seeds, and the page in Markdown."""

    study: Study
    scores: Sequence[Score]
    rows: Sequence[Row]
    markdown: str


def read_tables(store: Store, name: str) -> Tables:
    """Raises UsageError when there is no such study, StoreError when a record cannot be trusted."""
    from paper_tables import aggregate, to_markdown
    from paper_tables.collect import collect_scores
    from paper_tables.comparable import differing_from_paper
    from paper_tables.notes import notes

    study = read_study(store, name)
    records = verified_records(study.plan, store)
    differing = differing_from_paper(study)
    scores = collect_scores(study, records, {cell for cell, found in differing.items() if not found})
    rows = aggregate(scores)
    return Tables(study, scores, rows, to_markdown(rows, notes=notes(study, records, rows, differing)))
