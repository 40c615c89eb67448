"""`harness tables`: a study's records as a table in Markdown and CSV."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError, system_problem
from harness.store import Store, replace_file
from harness.study import Study, only_study, read_study
from harness.verification import verified_records

if TYPE_CHECKING:
    from paper_tables import Row, Score


@dataclass(frozen=True)
class Tables:
    """A study's numbers: every seed's, gathered to rows, and on the page."""

    study: Study
    scores: Sequence[Score]
    rows: Sequence[Row]
    markdown: str


def read_tables(store: Store, name: str) -> Tables:
    """Raises UsageError when there is no such study, StoreError when a record cannot be trusted."""
    from paper_tables import aggregate, to_markdown
    from paper_tables.collect import collect_scores, is_comparable
    from paper_tables.notes import notes

    study = read_study(store, name)
    records = verified_records(study.plan, store)
    scores = collect_scores(study, records)
    rows = aggregate(scores, comparable=is_comparable(study))
    return Tables(study, scores, rows, to_markdown(rows, notes=notes(study, records, rows)))


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 every cell has its numbers, 4 some are missing (the table is made all the same).

    Raises StoreError when a record cannot be trusted.
    """
    from paper_tables import to_csv

    store = Store(Path(options.store))
    found = read_tables(store, options.study or only_study(store))
    study, rows, markdown, csv = found.study, found.rows, found.markdown, to_csv(found.rows)
    if options.out:
        folder = Path(options.out)
        for suffix, text in (("md", markdown), ("csv", csv)):
            path = folder / f"{study.name}.{suffix}"
            _write(path, text)
            print(path)
    elif options.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        print(markdown if options.format == "md" else csv, end="")
    return 4 if any(score.value is None for score in found.scores) else 0


def _write(path: Path, text: str) -> None:
    """Write a table whole. Raises UsageError where it cannot be written."""
    try:
        replace_file(path, text)
    except OSError as error:
        raise UsageError(f"--out {path.parent}: {system_problem(error)}") from None
