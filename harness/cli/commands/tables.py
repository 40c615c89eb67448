"""`harness tables`: a study's records as a table in Markdown and CSV."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from harness.errors import UsageError, system_problem
from harness.files import replace_files
from harness.store.store import Store
from harness.studies.study import only_study
from paper_tables.numbers.study_numbers import read_numbers
from paper_tables.tables.render import to_csv
from paper_tables.tables.study_page import study_page


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 every cell has its numbers, 4 some are missing (the table is still made).

    Raises StoreError when a record cannot be trusted.
    """
    store = Store(Path(options.store))
    found = read_numbers(store, options.study or only_study(store))
    for sentence in found.told:
        print(f"note: {sentence}", file=sys.stderr)
    study, rows, markdown, csv = found.study, found.rows, study_page(found), to_csv(found.rows)
    if options.out:
        folder = Path(options.out)
        written = _write(folder, {folder / f"{study.name}.md": markdown, folder / f"{study.name}.csv": csv})
        print(*written, sep="\n")
    elif options.json:
        print(json.dumps([row.as_json() for row in rows], indent=1))
    else:
        print(markdown if options.format == "md" else csv, end="")
    return 0 if found.is_complete else 4


def _write(folder: Path, tables: Mapping[Path, str]) -> list[Path]:
    """Write the tables, all or none of them. Raises UsageError where they cannot be written."""
    try:
        replace_files(tables)
    except OSError as error:
        raise UsageError(f"--out {folder}: {system_problem(error)}") from None
    return list(tables)
