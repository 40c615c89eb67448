"""What the command line does, for a notebook or a script: plan, run, and read records as a pandas frame.

    grid = harness.plan_grid(models="minilm-l6", preset="reduced", data="DIR")
    print(grid)                                  # nothing has run
    outcome = grid.run(workers=2)
    frame = harness.records(study="reduced")     # a row for each cell and metric

The names are in `harness` as well; importing that imports nothing else. Arguments are the options of `harness grid`
with underscores, read by the same code, so that equal arguments give equal grids, stage for stage.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import Problems, unknown
from harness.grids import planned
from harness.grids.arguments import read_place, read_store, told_of_arguments
from harness.grids.options import read_folder, read_options
from harness.grids.planned import PlannedGrid
from harness.studies.cell_models import cell_model, one_cell
from harness.studies.results import read_results
from harness.studies.state import read_states
from harness.studies.study import only_study, read_study
from harness.task_files.form import read_task_file
from harness.tasks import TASKS, Task
from paper_tables.numbers.study_numbers import read_numbers
from paper_tables.tables.study_page import study_page

if TYPE_CHECKING:
    import pandas as pd

    from harness.export.models import LoadedModel

Word = str | int | float | Path
Words = Word | Iterable[Word]

# Column of `records` -> its type; "Int64" holds whole numbers and missing ones.
COLUMNS: Mapping[str, str] = {
    "study": "str",
    "model": "str",
    "method": "str",
    "sparsity": "float64",
    "task": "str",
    "quantization": "str",
    "seed": "Int64",
    "pruning_seed": "Int64",
    "transfer_kd": "str",
    "metric": "str",
    "value": "float64",
    "measured_sparsity": "float64",
    "state": "str",
    "stage_id": "str",
}


@told_of_arguments
def plan_grid(
    *,
    models: Words | Mapping[str, str | Path] | None = None,
    methods: Words | None = None,
    sparsities: Words | None = None,
    tasks: Words | None = None,
    task_file: str | Path | Iterable[str | Path] | None = None,
    quantization: Words | None = None,
    seeds: Words | None = None,
    pruning_seeds: Words = 0,
    preset: str | Path = "paper",
    data: str | Path | None = None,
    set: Mapping[str, object] | None = None,
    sparse_from: Mapping[str, str | Path] | None = None,
    study: str | None = None,
    store: str | Path = "runs",
    resource: Mapping[str, object] | None = None,
    measures: Words | None = None,
    max_gpu_hours: float | None = None,
) -> PlannedGrid:
    """Check and plan a grid; writes nothing and starts nothing.

    models: aliases, or a mapping NAME -> folder; None: the preset's, where it names any. Axes: one value, a sequence,
    or comma-separated text; None: the preset's. task_file: TOML files that declare tasks of yours. set: recipe key ->
    value. sparse_from: NAME -> folder. resource: KEY -> value. measures: what else is measured of every model, as
    "packing". The other arguments are as in `harness grid`. Values keep their type: the text "2" is no number in `set`.
    Raises UsageError with every problem found.
    """
    problems = Problems()
    given = {
        "models": models,
        "methods": methods,
        "sparsities": sparsities,
        "tasks": tasks,
        "task_file": task_file,
        "quantization": quantization,
        "seeds": seeds,
        "pruning_seeds": pruning_seeds,
        "preset": preset,
        "data": data,
        "set": set,
        "sparse_from": sparse_from,
        "study": study,
        "resource": resource,
        "measures": measures,
        "max_gpu_hours": max_gpu_hours,
    }
    place = read_store(store, problems)
    return planned.plan_grid(read_options(given, problems), place, problems)


@told_of_arguments
def records(store: str | Path = "runs", study: str | None = None) -> pd.DataFrame:
    """The numbers of a study, a row for each cell and metric, finished or not.

    Columns as in `COLUMNS`: value in percent and measured_sparsity as a share, both NaN before the cell is finished;
    state: of the cell's last stage, `stage_id`; pruning_seed: missing where the method has none. transfer_kd: whether
    its training on the task distilled, as the KD column of the tables.
    study: None where the store holds one. Raises UsageError for an unknown study and for arguments that cannot be,
    StoreError for edited records.
    """
    import pandas as pd

    from paper_tables.numbers.collect import cell_scores

    place, name = read_place(store, study)
    found = read_study(place, name or only_study(place))
    verified = read_results(found.plan, place).records
    states = read_states(found.plan, place)
    rows = [
        {**vars(score), "quantization": cell.quantization, "state": states[found.plan.endpoint(cell)]}
        for cell in found.plan.paths
        for score in cell_scores(found, verified, cell)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict(COLUMNS))


@told_of_arguments
def load_model(study: str, cell: str | Mapping[str, object], store: str | Path = "runs") -> LoadedModel:
    """A finished cell's model, in evaluation mode on the CPU, with its tokenizer; nobody digs a stage's id out.

    cell: what names it alone, as "method=prune-ofa,task=sst2,sparsity=0.85,seed=0" or as a mapping. A quantised model
    computes with its stored integers and ranges. Raises UsageError for words that name no cell or several, for a cell
    that is not finished, and where its model is not kept; StoreError for records that cannot be trusted.
    """
    place, name = read_place(store, study)
    found = read_study(place, name or only_study(place))
    words = cell if isinstance(cell, str) else ",".join(f"{key}={value}" for key, value in cell.items())
    loaded: LoadedModel = _export("models").load(cell_model(place, found, one_cell(found, words)))
    return loaded


@told_of_arguments
def load_packed(folder: str | Path, task: str | Path) -> tuple[Any, Any]:
    """(model, tokenizer) of a folder that `harness export --format packed` wrote.

    task: that it was trained on, by name; of a task of yours FILE.toml that declares it.

    Raises UsageError for another folder and an unknown task, `PackedFileError` for a file that was cut off or edited.
    """
    problems = Problems()
    path, known = read_folder("folder", folder, problems), _task(task, problems)
    problems.check()
    loaded: tuple[Any, Any] = _export("models").load_packed(path, known)
    return loaded


def _task(word: str | Path, problems: Problems) -> Task | None:
    if str(word).endswith(".toml"):
        return problems.attempt(lambda: read_task_file(Path(word)), None)
    name = str(word)
    if name not in TASKS:
        problems.add(unknown("task", name, TASKS))
    return TASKS.get(name)


def _export(module: str) -> Any:
    """A module of the room that computes, imported when a model is asked for."""
    return importlib.import_module(f"harness.export.{module}")


@told_of_arguments
def tables(store: str | Path = "runs", study: str | None = None) -> str:
    """The tables of a study as Markdown, as `harness tables` prints them. Raises as `records`."""
    place, name = read_place(store, study)
    return study_page(read_numbers(place, name or only_study(place)))
