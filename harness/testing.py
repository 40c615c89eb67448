"""What the tests of a method of another package are written with.

As a program it records the source of the method's stage kinds: python -m harness.testing package.module:METHOD
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.planning.graph import Inputs, ModelIdentity, Plan
from harness.planning.grid import Axes, expand
from harness.planning.method_entry_points import load_method
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset
from harness.plugin import Method, StageKind
from harness.tasks import TASKS
from harness.worker.code_closure import SourceTree, package_folder
from harness.worker.code_versions import Current, Recorder, check, read_current, write_current

FILE_NAME = "code_versions.toml"


def planned(
    target: str,
    *,
    settings: Mapping[str, Any] | None = None,
    preset: str = "quick",
    tasks: Sequence[str] = ("sst2",),
    sparsities: Sequence[float] | None = None,
    quantization: Sequence[str] = ("none",),
    seeds: Sequence[int] = (0,),
) -> Plan:
    """The plan of a method's cells on a stand-in model and data; nothing is read and nothing runs.

    target: package.module:METHOD, or the name of an installed method. settings: recipe key -> value, as in `--set`.
    Raises UsageError with every problem of the declaration and of the settings.
    """
    chosen = load_preset(preset, [target]).changed(settings or {})
    axes = Axes(
        models=["model"],
        methods=[target],
        sparsities=sparsities,
        tasks=tasks,
        quantization=quantization,
        seeds=seeds,
    )
    grid = expand(axes, chosen)
    splits = [f"{task.name}/{split}" for task in TASKS.values() for split, _ in task.evaluation_splits]
    splits += [f"{task.name}/{task.train_split}" for task in TASKS.values()] + ["corpus/train", "corpus/validation"]
    inputs = Inputs(
        models={"model": ModelIdentity(weights="weights", tokenizer="tokenizer")},
        data={split: split for split in splits},
        released=chosen.released,
    )
    return plan_cells(grid.cells, chosen.recipe, inputs, grid.methods)


def check_code_versions(method: Method, file: Path | None = None) -> None:
    """Raises AssertionError when the source of a stage kind changed while its version stayed, and says what to do.

    The source is every definition that the kind's `run` may use in its own top package. file: where it is recorded;
    None: code_versions.toml beside the module of the first kind's `run`.
    """
    check(file or _file_of(method.kinds), _current(method.kinds), _recorder("package.module:METHOD"))


def _current(kinds: Sequence[StageKind]) -> dict[str, Current]:
    if not kinds:
        raise ValueError("the method brings no stage kind, so there is no source to watch.")
    tree = SourceTree({top: package_folder(top) for top in {_top(kind) for kind in kinds}}, handed_over={})
    return read_current(tree, {kind.name: kind for kind in kinds})


def _top(kind: StageKind) -> str:
    return kind.run.partition(":")[0].partition(".")[0]


def _file_of(kinds: Sequence[StageKind]) -> Path:
    below_top = kinds[0].run.partition(":")[0].split(".")[1:-1]
    return package_folder(_top(kinds[0])).joinpath(*below_top) / FILE_NAME


def _recorder(target: str) -> Recorder:
    command = f"python -m harness.testing {target}"
    return Recorder(command, f'{command} --proof "how it was shown that no number changes"')


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="record the source of a method's stage kinds as it is")
    parser.add_argument("target", metavar="package.module:METHOD")
    parser.add_argument("--file", type=Path, help=f"default: {FILE_NAME} beside the module of the first kind's run")
    parser.add_argument(
        "--proof", default="", help="how a source that changed under the same version was shown harmless"
    )
    options = parser.parse_args(arguments)
    kinds = load_method(options.target, "method").kinds
    try:
        file = options.file or _file_of(kinds)
        write_current(file, _current(kinds), options.proof, _recorder(options.target))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
