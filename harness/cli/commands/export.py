"""`harness export`: a finished cell's model in a format that others load."""

from __future__ import annotations

import argparse
import importlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import Problem, Problems, UsageError, system_problem, unknown
from harness.store.store import Store
from harness.studies.cell_models import cell_model, one_cell
from harness.studies.study import only_study, read_study
from harness.wording import counted

if TYPE_CHECKING:
    from harness.export.rescored import Rescored
    from harness.inputs.data_sources import DataSource

FORMATS = ("hub", "packed", "onnx", "openvino")
WRITE = "harness.export.formats"  # by name: what it computes with, no other verb imports


def run(options: argparse.Namespace) -> int:
    """Exit code 0. Raises UsageError for words that name no one cell, an unknown format and a folder that is there."""
    store, out = Store(Path(options.store)), Path(options.out)
    problems = Problems()
    if options.format not in FORMATS:
        problems.add(unknown("format", options.format, FORMATS))
    if out.exists() or out.is_symlink():
        taken = Problem(f"--out {out} is there", next_move="Name a folder that is not.")
        problems.add(taken)
    study = problems.attempt(lambda: read_study(store, options.study or only_study(store)), None)
    cell = None if study is None else problems.attempt(lambda: one_cell(study, options.cell), None, "cell")
    data = None if options.score_on is None else problems.attempt(lambda: _source(options, store), None, "score_on")
    problems.check()
    assert study is not None
    assert cell is not None
    found = cell_model(store, study, cell)
    try:
        exported = importlib.import_module(WRITE).write(found, options.format, out, data)
    except OSError as error:
        raise UsageError(f"nothing was exported: {system_problem(error)}") from None
    if options.json:
        files = sorted(path.name for path in out.iterdir())
        told = {"cell": cell.as_json(), "stage": found.stage_id, "format": options.format, "out": str(out)}
        scores = {} if data is None else {"scores": [asdict(each) for each in exported.rescored]}
        print(json.dumps({**told, "files": files, **scores}))
    else:
        lines = [*exported.lines, *map(_as_line, exported.rescored)]
        print("\n".join([f"{cell} as {options.format} in {out}", *(f"  {line}" for line in lines)]))
    return 0


def _source(options: argparse.Namespace, store: Store) -> DataSource:
    from harness.inputs.content_hashes import ContentHashes
    from harness.inputs.data_sources import named_source

    return named_source(options.score_on, ContentHashes(store.content_hashes_path), "score_on")


def _as_line(scored: Rescored) -> str:
    return (
        f"{scored.split} {scored.metric}: {scored.exported:.2f} on {counted(scored.examples, 'example')}, "
        f"{scored.difference:+.2f} from the cell's record"
    )
