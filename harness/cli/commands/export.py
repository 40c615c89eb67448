"""`harness export`: a finished cell's model in a format that others load."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

from harness.errors import Problem, Problems, UsageError, system_problem, unknown
from harness.store.store import Store
from harness.studies.cell_models import cell_model, one_cell
from harness.studies.study import only_study, read_study

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
    problems.check()
    assert study is not None
    assert cell is not None
    found = cell_model(store, study, cell)
    try:
        lines = importlib.import_module(WRITE).write(found, options.format, out)
    except OSError as error:
        raise UsageError(f"nothing was exported: {system_problem(error)}") from None
    if options.json:
        files = sorted(path.name for path in out.iterdir())
        told = {"cell": cell.as_json(), "stage": found.stage_id, "format": options.format, "out": str(out)}
        print(json.dumps({**told, "files": files}))
    else:
        print("\n".join([f"{cell} as {options.format} in {out}", *(f"  {line}" for line in lines)]))
    return 0
