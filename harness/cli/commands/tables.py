"""`harness tables`: the tables of a study, of the paper or of one's own, in Markdown, LaTeX, CSV and HTML."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.cli.pages import write_pages
from harness.cli.streams import print_notes
from harness.errors import Problem, UsageError
from harness.identity import is_name
from harness.planning.planner import without_garbage_collection
from harness.store.store import Store
from harness.studies.study import only_study, study_names
from harness.wording import option
from paper_tables.numbers.study_numbers import StudyNumbers, read_numbers
from paper_tables.tables.build import build
from paper_tables.tables.compare import compare
from paper_tables.tables.compare_page import comparison_page
from paper_tables.tables.study_page import SUFFIXES, notes_of, page, study_table
from paper_tables.tables.table import Table
from paper_tables.tables.table_file import load_table_files
from paper_tables.tables.trace import trace, trace_lines

# What is printed instead of tables, one of them at a time, and the options that it has no use for.
INSTEAD: Mapping[str, Sequence[str]] = {"claims": ("table",), "trace": ("table", "out"), "compare": ("table",)}
OF_PAPER = ("table-1", "table-2", "table-3")  # what there is to show without a study


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 every cell has its numbers, 4 some are missing (the table is still made).

    Raises StoreError when a record cannot be trusted, UsageError for a study or a table that is not there, and for
    options that do not go together.
    """
    _check_together(options)
    if options.claims is not None:
        from harness.cli.commands.claims import print_claims  # NumPy, which a table needs not

        return print_claims(options)
    with without_garbage_collection():  # the records of a large study are many small objects
        return _run(options)


def _check_together(options: argparse.Namespace) -> None:
    """Raises UsageError for two things in the place of tables, and for options that would be ignored."""
    asked = [name for name in INSTEAD if getattr(options, name) is not None]
    problems = []
    if len(asked) > 1:
        names = " and ".join(map(option, asked))
        problems.append(Problem(f"{names} at once", asked[1], next_move="Give one of them a command."))
    problems += [
        Problem(f"{option(other)} with {option(name)}", other, next_move="Leave one of them out.")
        for name in asked
        for other in INSTEAD[name]
        if getattr(options, other)
    ]
    if problems:
        raise UsageError(problems)


def _run(options: argparse.Namespace) -> int:
    store = Store(Path(options.store))
    files = load_table_files(options.table)
    numbers = _numbers(store, options)
    if options.trace is not None:
        return _trace(_required(numbers, store), options)
    if options.compare is not None:
        return _compare(_required(numbers, store), store, options)
    if numbers is None:
        print(f"no study in {store.root}: only what is published is shown. harness grid starts one.", file=sys.stderr)
        files = files or load_table_files(OF_PAPER)
    if files:
        _show([(file.name, [build(file, numbers)]) for file in files], numbers, options)
    else:
        assert numbers is not None
        _show([(numbers.study.name, [study_table(numbers)])], numbers, options)
    return 0 if numbers is not None and numbers.is_complete else 4


def _numbers(store: Store, options: argparse.Namespace) -> StudyNumbers | None:
    """Of the study that was named, or the only one; None where there is none and none was named."""
    store.check_is_folder()
    if options.study is None and not study_names(store):
        return None
    numbers = read_numbers(store, options.study or only_study(store))
    print_notes(numbers.told)
    return numbers


def _required(numbers: StudyNumbers | None, store: Store) -> StudyNumbers:
    if numbers is None:
        only_study(store)  # says that there is none
        raise AssertionError("a store without studies has no only one")
    return numbers


def _show(named: Sequence[tuple[str, list[Table]]], numbers: StudyNumbers | None, options: argparse.Namespace) -> None:
    """named: files by their stem, each with its tables."""
    is_page = not options.table and numbers is not None
    said = [] if is_page or numbers is None else notes_of(numbers)
    title = numbers.study.name if numbers else ""
    if options.out:
        write_pages(
            Path(options.out),
            {
                f"{name}{suffix}": page(tables, form, title=title, said=said)
                for name, tables in named
                for form, suffix in SUFFIXES.items()
            },
        )
    elif options.json:
        rows = [row.as_json() for _, tables in named for table in tables for row in table.rows()]
        print(json.dumps(rows, indent=1))
    else:
        print(page([table for _, tables in named for table in tables], options.format, title=title, said=said), end="")


def _trace(numbers: StudyNumbers, options: argparse.Namespace) -> int:
    found = trace(numbers, options.trace)
    print(json.dumps(found, indent=1) if options.json else "\n".join(trace_lines(found)))
    return 0 if all(record["is_done"] for record in found["records"]) else 4


def _compare(numbers: StudyNumbers, store: Store, options: argparse.Namespace) -> int:
    folder, _, name = options.compare.rpartition(":")
    other_store = Store(Path(folder)) if folder else store
    if not is_name(name):
        raise UsageError(Problem(f"--compare {options.compare!r}", "compare", expected="STUDY or STORE:STUDY"))
    other = read_numbers(other_store, name)
    found = compare(numbers, other)
    if options.out:
        stem = f"{numbers.study.name}-and-{name}"
        pages = {f"{stem}{suffix}": comparison_page(found, form) for form, suffix in SUFFIXES.items()}
        write_pages(Path(options.out), pages)
    elif options.json:
        print(json.dumps(found.as_json(), indent=1))
    else:
        print(comparison_page(found, options.format), end="")
    return 0 if found.shared else 4
