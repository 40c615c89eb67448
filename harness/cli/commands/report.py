"""`harness report`: a study as one page of HTML."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from harness.cli.streams import print_notes
from harness.errors import UsageError, system_problem
from harness.files import replace_files
from harness.store.store import Store
from harness.studies.study import only_study
from paper_tables.report.page import report_page
from paper_tables.report.study_report import read_report


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 every cell has its numbers, 4 some are missing (the page is still made).

    Raises StoreError when a record cannot be trusted, UsageError when the page cannot be written.
    """
    store = Store(Path(options.store))
    name = options.study or only_study(store)
    found = read_report(store, name)
    print_notes(found.told)
    path = Path(options.out or f"{name}-report.html")
    page = report_page(found)
    try:
        replace_files({path: page})
    except OSError as error:
        raise UsageError(f"--out {path}: {system_problem(error)}") from None
    if options.json:
        cells, missing = len(found.coverage.cells), len(found.coverage.missing)
        counts = {"cells": {"total": cells, "done": cells - missing}, "records": found.records}
        failed = {"failures": len(found.failures), "bytes": len(page.encode())}
        print(json.dumps({"study": name, "file": str(path), **counts, **failed}, indent=1))
    else:
        print(path)
    return 0 if found.is_complete else 4
