"""`harness plots`: a study's records as figures. Which there are, `paper_tables.figures.pictures` says."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.streams import print_notes, tell
from harness.errors import Problem, UsageError, is_disk_full, system_problem, unknown_name
from harness.files import replace_files
from harness.store.store import Store
from harness.studies.selection import select
from harness.studies.state import read_states
from harness.studies.study import Study, only_study
from harness.wording import counted, option
from paper_tables.numbers.study_numbers import read_numbers

if TYPE_CHECKING:
    from paper_tables.figures.pictures import Picture

ALL = "all"
MOST_CURVES = 12


def run(options: argparse.Namespace) -> int:
    """Writes OUT/NAME.png and .svg for every figure of the kinds asked for; .md where it is read as a table too.

    Exit code: 0 every cell has its numbers, 4 some are missing (the figures are still made), or a figure that was
    asked for cannot be made. Raises StoreError when a record cannot be trusted, UsageError when OUT cannot be written
    to, and for words that name nothing.
    """
    from paper_tables.figures.page import images
    from paper_tables.figures.pictures import kinds_of, study_pictures

    kinds = _kinds(options)
    store = Store(Path(options.store))
    numbers = read_numbers(store, options.study or only_study(store))
    others = [read_numbers(store, name) for name in _words(options.beside) if name != numbers.study.name]
    print_notes(numbers.told)
    stage_ids = _stage_ids(store, numbers.study, options.stage) if options.stage else []
    folder = _folder(options.out)
    kinds = kinds_of(numbers.study) if ALL in kinds else kinds
    found = study_pictures(numbers, kinds, stage_ids=stage_ids, others=others)
    report: list[dict[str, Any]] = []
    files: dict[Path, bytes] = {}
    for picture in found.found:
        made = {folder / f"{picture.stem}.{form}": image for form, image in images(picture.draw()).items()}
        if page := _page(picture):
            made[folder / f"{picture.stem}.md"] = page.encode()
        files |= made
        report.append({**picture.as_json(), "files": list(map(str, made))})
    _write(folder, files)
    if options.json:
        print(json.dumps({"study": numbers.study.name, "figures": report, "left_out": found.left_out}, indent=1))
    elif files:
        print(*files, sep="\n")
    for sentence in found.left_out:
        tell(f"left out: {sentence}")
    return 0 if numbers.is_complete and not found.left_out else 4


def _page(picture: Picture) -> str | None:
    """The numbers of a picture that is read as a table too."""
    from paper_tables.tables.budget_page import budget_page
    from paper_tables.tables.ranking_page import ranking_page

    if (ranking := picture.ranking) is not None:
        return ranking_page(ranking)
    return budget_page(picture.budgets) if picture.budgets else None


def _kinds(options: argparse.Namespace) -> Sequence[str]:
    """Raises UsageError with every word of --only that is no kind, and for a stage without its curve."""
    from paper_tables.figures.pictures import DEFAULT_KINDS, FIGURE_KINDS

    if options.only is None:
        return ("curves",) if options.stage else ("tokens",) if options.beside else DEFAULT_KINDS
    words = _words(options.only)
    known = [*FIGURE_KINDS, ALL]
    problems = [Problem(unknown_name("kind", word, known)) for word in words if word not in known]
    if not words:
        problems.append(Problem(f"--only is empty: name kinds of {', '.join(FIGURE_KINDS)}, or {ALL}"))
    for given, value, kind in (("stage", options.stage, "curves"), ("with", options.beside, "tokens")):
        if words and value and not {kind, ALL} & {*words}:
            problems.append(
                Problem(
                    f"{option(given)} {value} without its kind",
                    next_move=f"Add {kind} to --only, or leave it out.",
                )
            )
    if problems:
        raise UsageError(problems)
    return words


def _words(text: str | None) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in (text or "").split(",") if word.strip()))


def _stage_ids(store: Store, study: Study, what: str) -> list[str]:
    found = select(study.plan, read_states(study.plan, store), what)
    if len(found) > MOST_CURVES:
        raise UsageError(
            Problem(
                f"--stage {what} matches {counted(len(found), 'stage')}, expected at most {MOST_CURVES}",
                next_move="Add words: method=, task=, sparsity=, seed=, or a stage's id.",
            )
        )
    return found


def _folder(out: str) -> Path:
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
    return folder


def _write(folder: Path, pictures: Mapping[Path, bytes]) -> None:
    """Write the pictures, all or none of them."""
    try:
        replace_files(pictures)
    except OSError as error:
        raise _unwritable(Path(error.filename or folder), error) from None


def _unwritable(path: Path, error: OSError) -> UsageError:
    if is_disk_full(error):
        return UsageError(f"--out: no picture was written: {system_problem(error)}")
    return UsageError(f"{path} cannot be written ({error.strerror}). Name a folder for the pictures with --out DIR.")
