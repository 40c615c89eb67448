"""`harness tables --claims`: what a study says of the paper's claims, or of a user's own."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from harness.cli.pages import write_pages
from harness.cli.streams import print_notes
from harness.errors import Problem, UsageError
from harness.store.store import Store
from harness.studies.study import only_study
from paper_tables.claims.file import claims_of_file
from paper_tables.claims.verdicts import read_claims
from paper_tables.numbers.study_numbers import read_numbers
from paper_tables.tables.claims_page import claims_page


def print_claims(options: argparse.Namespace) -> int:
    """Exit code: 0 nothing that a claim compares is missing, 4 some of it is (verdicts are still given).

    Raises UsageError for a claims file with every problem, StoreError when a record cannot be trusted.
    """
    if options.format != "md":
        raise UsageError(
            Problem(f"--format {options.format} with --claims", "format", "md", "Or give --json for machines.")
        )
    claims = claims_of_file(Path(options.claims)) if options.claims else None
    store = Store(Path(options.store))
    numbers = read_numbers(store, options.study or only_study(store))
    print_notes(numbers.told)
    verdicts = read_claims(numbers, claims)
    page = claims_page(numbers, verdicts)
    text = json.dumps([each.as_json() for each in verdicts], indent=1)
    if options.out:
        name = f"{numbers.study.name}-claims"
        write_pages(Path(options.out), {f"{name}.md": page, f"{name}.json": f"{text}\n"})
    else:
        print(text if options.json else page, end="\n" if options.json else "")
    return 4 if any(each.missing for each in verdicts) else 0
