"""`harness tables`: a study's records as a table in Markdown and CSV."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from harness.errors import UsageError, system_problem
from harness.files import replace_file
from harness.store.store import Store
from harness.studies.study import only_study
from paper_tables.study_tables import read_tables


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 every cell has its numbers, 4 some are missing (the table is still made).

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
    """Write a table in one step. Raises UsageError where it cannot be written."""
    try:
        replace_file(path, text)
    except OSError as error:
        raise UsageError(f"--out {path.parent}: {system_problem(error)}") from None
