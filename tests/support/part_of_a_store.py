"""A copy of a store in which some stages were never begun."""

from __future__ import annotations

import shutil
from pathlib import Path

from grid_world import of_kind, with_descendants

from harness.files import discard_folder
from harness.store.store import Store
from harness.studies.study import read_study


def copy_without(store: Path, copy: Path, study: str, kind: str) -> None:
    """`copy` becomes the store without the stages of this kind and what depends on them; the study stays."""
    shutil.copytree(store, copy)
    made = Store(copy)
    plan = read_study(made, study).plan
    gone = with_descendants(plan, [*of_kind(plan, kind)])
    assert gone, f"no stage of the kind {kind}"
    for stage_id in gone:
        stage = made.stage(stage_id)
        stage.record_path.unlink()
        for folder in (stage.artifact_path, stage.attempts_path, stage.checkpoints_path, stage.lease_path):
            discard_folder(folder)
