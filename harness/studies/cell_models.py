"""The model of a cell: which stage made it, where it lies, and what is on record of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import Problem, StoreError, UsageError
from harness.files import folder_digest
from harness.specs import Cell
from harness.store.store import Store
from harness.studies.description import cells_named
from harness.studies.study import Study
from harness.studies.verification import verified_records
from harness.wording import counted, option

MOST_CELLS_NAMED = 8


@dataclass(frozen=True)
class CellModel:
    """A finished cell's model. folder: in the hub's layout.

    record: of the stage that made it. scores: of its evaluation. path: of all its stages, in the order of the cell's.
    """

    study: Study
    cell: Cell
    stage_id: str
    folder: Path
    record: Mapping[str, Any]
    scores: Mapping[str, Any]
    path: Mapping[str, Mapping[str, Any]]

    @property
    def is_quantised(self) -> bool:
        return self.cell.quantization == "int8"


def one_cell(study: Study, words: str) -> Cell:
    """The one cell that words such as "method=prune-ofa,task=sst2,seed=0" name.

    Raises UsageError where they name none or several; of several it says what tells them apart.
    """
    found = cells_named(study.plan, words)
    if found is None:
        raise UsageError(
            Problem(
                f"{words!r} names no cell",
                "cell",
                expected="KEY=VALUE,.. with KEY of model, method, sparsity, task, quantization, seed, pruning_seed",
            )
        )
    if len(found) == 1:
        return found[0]
    rows = [cell.as_json() for cell in found]
    apart = [key for key in rows[0] if len({row[key] for row in rows}) > 1]
    told = [", ".join(f"{key}={_written(row[key])}" for key in apart) for row in rows]
    more = f"; and {len(told) - MOST_CELLS_NAMED} more" if len(told) > MOST_CELLS_NAMED else ""
    raise UsageError(
        Problem(
            f"{words!r} names {counted(len(found), 'cell')} ({'; '.join(told[:MOST_CELLS_NAMED])}{more})",
            "cell",
            next_move=f"Add {', '.join(apart)}.",
        )
    )


def cell_model(store: Store, study: Study, cell: Cell) -> CellModel:
    """The cell's model, once its records were found sound.

    Raises UsageError for a cell that is not finished, or whose model is not kept here; StoreError for its records.
    """
    path = study.plan.paths[cell]
    records = verified_records(study.plan.part([path[-1]]), store)
    if path[-1] not in records:
        where = f"{option('store')} {store.root} {option('study')} {study.name}"
        raise UsageError(Problem(f"cell {cell} is not finished", "cell", next_move=f"See harness status {where}."))
    stage_id = study.plan.stages[path[-1]].parents["model"]
    stage = store.stage(stage_id)
    if not stage.has_artifact():
        raise UsageError(
            Problem(
                f"the model of cell {cell} is not kept here: {stage.artifact_path} is gone, its record is there",
                "cell",
                next_move="Bring the folder back, or run its grid again in a new store: harness grid .. "
                f"{option('store')} OTHER.",
            )
        )
    if folder_digest(stage.artifact_path) != records[stage_id]["artifact"]["digest"]:
        raise StoreError(
            f"the model of cell {cell} in {stage.artifact_path} is not the one on record: it was changed. "
            f"{stage.redo_hint()}"
        )
    return CellModel(
        study=study,
        cell=cell,
        stage_id=stage_id,
        folder=stage.artifact_path,
        record=records[stage_id],
        scores=records[path[-1]],
        path={each: records[each] for each in path},
    )


def _written(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
