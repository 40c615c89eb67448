"""`harness check`: a study's numbers against an expected file, or that file written from them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from harness.errors import CannotCheck, Problem, StoreError, UsageError, system_problem
from harness.files import replace_file
from harness.store.store import Store
from harness.studies.study import only_study
from harness.wording import counted
from paper_tables.gate.check import check
from paper_tables.gate.expected import Expected
from paper_tables.gate.expected_file import read_expected
from paper_tables.gate.figures import NO_NOISE, counts
from paper_tables.gate.measured import measured
from paper_tables.numbers.study_numbers import StudyNumbers, read_numbers


def run(options: argparse.Namespace) -> int:
    """Exit codes: 0 ok, 1 regressed, 2 usage or a bad expected file, 3 could not check, 4 numbers missing.

    Where several apply, 1 counts more than 3, and 3 more than 4. Raises CannotCheck when records cannot be trusted.
    """
    path = Path(options.expected) if options.expected else Path(options.store) / "expected.toml"
    if options.write:
        return _write(options, path)
    expected = read_expected(path)
    report = check(expected, measured(_numbers(options)))
    if options.junit:
        from paper_tables.gate.junit import to_junit

        _put("junit", Path(options.junit), to_junit(report), replace_file)
    if options.summary:
        from paper_tables.gate.page import to_page

        _put("summary", Path(options.summary), to_page(report), _append)
    if options.json:
        print(json.dumps(report.as_json(), indent=1))
    else:
        from paper_tables.gate.terminal import to_terminal

        print(to_terminal(report), end="")
    return report.exit_code


def _numbers(options: argparse.Namespace) -> StudyNumbers:
    store = Store(Path(options.store))
    try:
        return read_numbers(store, options.study or only_study(store))
    except StoreError as error:
        raise CannotCheck(f"nothing was checked: {error}") from None


def _write(options: argparse.Namespace, path: Path) -> int:
    """Exit code: 0 written, 3 nothing to write, 4 written without what is missing."""
    from paper_tables.gate.expected_text import to_text
    from paper_tables.gate.write import expected_of

    if options.junit or options.summary:
        raise UsageError(Problem("--write checks nothing, so there is no report", next_move="Give the command twice."))
    earlier = read_expected(path) if path.exists() else None
    found = _numbers(options)
    made = expected_of(found, earlier)
    if not made.numbers:
        raise CannotCheck(f"0 measured: study {found.study.name} has no number, and nothing was written")
    _put("expected", path, to_text(made), replace_file)
    _print_written(path, found, earlier, made, as_json=options.json)
    return 0 if found.is_complete else 4


def _print_written(path: Path, found: StudyNumbers, earlier: Expected | None, made: Expected, *, as_json: bool) -> None:
    """What the file has now, and what becomes of the one before it: a file that was red is not made green unsaid."""
    from paper_tables.gate.write import left_out, no_longer, set_by_hand

    missing, by_hand = left_out(found), set_by_hand(made)
    gone = [] if earlier is None else no_longer(earlier, made)
    before = None if earlier is None else check(earlier, measured(found))
    if as_json:
        told = {
            **{name: len(getattr(made, name)) for name, _ in _PARTS},
            "left_out": missing,
            "no_longer": gone,
            "by_hand": by_hand,
            "before": None if before is None else {str(verdict): count for verdict, count in before.counts.items()},
        }
        print(json.dumps({"written": str(path), **told}))
        return
    parts = [counted(len(getattr(made, name)), noun, _PLURAL.get(noun)) for name, noun in _PARTS]
    print(f"{path}: {', '.join(parts)}")
    untold = sum(number.noise is None and number.tolerance is None for number in made.numbers)
    if untold:
        print(f"{untold} without tolerance: {NO_NOISE}, and their scores are not checked.")
    if before is not None:
        print(f"Held against the file so far: {counts(before)}.")
    print("".join(f"set by hand, and kept: {each}\n" for each in by_hand), end="")
    print("".join(f"left out: {each}\n" for each in missing), end="", file=sys.stderr)
    print("".join(f"no longer in the file: {each}\n" for each in gone), end="", file=sys.stderr)


_PLURAL = {"pre-training loss": "pre-training losses"}
_PARTS = (("zeros", "zero count"), ("losses", "pre-training loss"), ("means", "mean"), ("numbers", "number"))


def _put(name: str, path: Path, text: str, write: Callable[[Path, str], None]) -> None:
    try:
        write(path, text)
    except OSError as error:
        raise UsageError(Problem(f"--{name} {path}: {system_problem(error)}", option=name)) from None


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
