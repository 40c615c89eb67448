"""Predictions as they were kept: what a model said of each example of a split, read back and checked."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import CannotCheck, StoreError
from harness.files import folder_digest
from harness.stages.predictions import FOLDER
from harness.store.stage import StoredStage
from harness.tasks import EXTRACTIVE_QA, Task


@dataclass(frozen=True)
class Predictions:
    """Of one split, an entry per example in the split's order.

    keys: row numbers, or the ids of questions. targets: right classes; of a question nothing. said: predicted classes,
    or answers. scores: metric -> each example's share of it, in [0, 1], for metrics that are means over examples.
    """

    keys: Sequence[str]
    targets: Sequence[int]
    said: Sequence[int | str]
    scores: Mapping[str, Sequence[float]]


def check_kept(stage: StoredStage, record: Mapping[str, Any]) -> None:
    """Raises CannotCheck where an evaluation's predictions are not there, StoreError where they are not its own."""
    listed = [name for name in record.get("artifact", {}).get("files", ()) if name.startswith(f"{FOLDER}/")]
    if not listed:
        raise CannotCheck(
            f"stage {stage.stage_id} has no predictions: it was scored by a version that kept none. To have them, "
            f"score its model again: {stage.command('invalidate')}, then its grid's command"
        )
    if not stage.has_artifact():
        raise CannotCheck(
            f"the predictions of stage {stage.stage_id} are not in this store ({stage.artifact_path}). Bring the "
            f"folder from where the stage ran, or score its model again: {stage.command('invalidate')}"
        )
    if folder_digest(stage.artifact_path) != record["artifact"]["digest"]:
        raise StoreError(
            f"the predictions in {stage.artifact_path} are not those that the stage's record describes. Bring the "
            f"original back, or score its model again: {stage.command('invalidate')}"
        )


def read_predictions(artifact: Path, reported_as: str, task: Task) -> Predictions:
    """reported_as: the reported name of the split. Raises StoreError for a file of another form."""
    path = artifact / FOLDER / f"{reported_as}.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        return _answers(rows) if task.head == EXTRACTIVE_QA else _classes(rows)
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise StoreError(
            f"predictions {path} cannot be read ({type(error).__name__}: {error}). Read them with the version of the "
            "harness that wrote them, or score the model again."
        ) from None


def _classes(rows: Sequence[Mapping[str, str]]) -> Predictions:
    targets, said = [int(row["label"]) for row in rows], [int(row["prediction"]) for row in rows]
    right = [float(target == found) for target, found in zip(targets, said, strict=True)]
    return Predictions([row["example"] for row in rows], targets, said, {"accuracy": right})


def _answers(rows: Sequence[Mapping[str, str]]) -> Predictions:
    scores = {name: [float(row[name]) for row in rows] for name in ("exact_match", "f1")}
    return Predictions([row["id"] for row in rows], [], [row["answer"] for row in rows], scores)
