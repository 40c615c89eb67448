"""`harness plots`: a study's records as figures, accuracy over nominal compression."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.errors import UsageError, is_disk_full, system_problem
from harness.files import replace_files
from harness.identity import MOST_NAME_LETTERS
from harness.store.store import Store
from harness.studies.study import only_study
from paper_tables.numbers.study_numbers import read_numbers


def run(options: argparse.Namespace) -> int:
    """Writes OUT/STUDY-MODEL.png and .svg for every model of the study.

    Exit code: 0 every cell has its numbers, 4 some are missing (the figures are still made).
    Raises StoreError when a record cannot be trusted, UsageError when OUT cannot be written to.
    """
    from paper_tables.figures.points import charts

    store = Store(Path(options.store))
    found = read_numbers(store, options.study or only_study(store))
    for sentence in found.told:
        print(f"note: {sentence}", file=sys.stderr)
    study, scores, drawn = found.study, found.scores, charts(found.rows)
    folder = _folder(options.out)

    from paper_tables.figures.draw import Caption, images, method_colors

    caption = Caption(study=study.name, preset=study.recipe["preset"], notes=study.recipe["notes"])
    colors = method_colors({score.method for score in scores})
    stems = _stems(study.name, [chart.model for chart in drawn])
    report: list[dict[str, Any]] = []
    pictures: dict[Path, bytes] = {}
    for chart in drawn:
        made = {
            folder / f"{stems[chart.model]}.{suffix}": image for suffix, image in images(chart, caption, colors).items()
        }
        pictures |= made
        report.append({**asdict(chart), "files": list(map(str, made))})
    _write(folder, pictures)
    if options.json:
        print(json.dumps({"study": study.name, "figures": report}, indent=1))
    elif pictures:
        print(*pictures, sep="\n")
    return 0 if found.is_complete else 4


def _stems(study: str, models: Iterable[str]) -> dict[str, str]:
    """A file name for each model, without suffix. A model's name may hold more than a file name may, and be longer."""
    stems: dict[str, str] = {}
    for model in models:
        stem = wanted = f"{study}-{re.sub(r'[^A-Za-z0-9._-]', '_', model)[:MOST_NAME_LETTERS]}"
        number = 2
        while stem in stems.values():
            stem, number = f"{wanted}-{number}", number + 1
        stems[model] = stem
    return stems


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
