"""Stores whose stages are all done: records written by hand, as by somebody on a machine, without running a stage."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from grid_world import inputs, preset

from harness.files import folder_digest
from harness.planning.grid import Axes, expand
from harness.planning.planner import plan_cells
from harness.specs import StageSpec
from harness.stages.predictions import class_predictions, write_predictions
from harness.store.store import Store
from harness.studies.study import Study, merged, read_study, write_study

CELLS: dict[str, Any] = {"methods": ["dense", "prune-ofa"], "tasks": ["sst2"]}
Changes = Callable[[StageSpec], dict[str, Any]]


def share(stage_id: str) -> float:
    """A made-up accuracy in [0, 1], the same for everybody who computes the stage."""
    return int(hashlib.sha256(stage_id.encode()).hexdigest()[:8], 16) % 1000 / 1000


def make_study(
    root: Path,
    *assignments: str,
    name: str = "mine",
    changed: dict[str, str] | None = None,
    models: Sequence[str] = ("tiny",),
    **axes: Any,
) -> Study:
    """The study with these cells added, in the store; none of it done."""
    store, chosen = Store(root), preset(*assignments)
    cells = expand(Axes(**{"models": list(models), **CELLS, **axes}), chosen).cells
    plan = plan_cells(cells, chosen.recipe, inputs(models, changed))
    write_study(store, merged(store, name, chosen, plan))
    return read_study(store, name)


def finish(
    root: Path,
    study: Study,
    *,
    who: str = "ann",
    result: Changes = lambda spec: {},
    provenance: Changes = lambda spec: {},
    without: Collection[str] = (),
) -> None:
    """Writes records, predictions and attempts of the stages that have none. who: part of what a record says of itself.

    result, provenance: what is otherwise in a stage's record. without: kinds or ids that are not done.
    """
    store = Store(root)
    for stage_id, spec in study.plan.stages.items():
        stage = store.stage(stage_id)
        if stage.has_record() or spec.kind in without or stage_id in without:
            continue
        stage.artifact_path.mkdir(parents=True, exist_ok=True)
        if spec.kind == "evaluation":
            write_predictions(stage.artifact_path, "sst2", class_predictions([0, 1], [0, 0]))
            found: dict[str, Any] = {"metrics": {"sst2": {"accuracy": share(stage_id)}}, "cell_sparsity": 0.85}
        else:
            (stage.artifact_path / "weights").write_text(stage_id)
            metrics = {"mlm_accuracy": 0.25, "mlm_correct": 1, "mlm_positions": 4}
            found = {"metrics": metrics, "training": {"tokens_seen": 1000, "seconds": float(len(who))}}
        files = sorted(
            p.relative_to(stage.artifact_path).as_posix() for p in stage.artifact_path.rglob("*") if p.is_file()
        )
        made = {"commit": f"{who} {'0' * 36}", "processor": f"{who}'s machine", "versions": {"torch": "2.13.0"}}
        number = stage.begin_attempt({"host": who, "process": 1, "process_started": ""})
        stage.publish_record(
            {
                **spec.fingerprint_fields(),
                "parent_digests": {
                    role: store.stage(parent).read_record()["digest"]
                    for role, parent in spec.parents.items()
                    if store.stage(parent).has_record()
                },
                "result": {**found, **result(spec)},
                "artifact": {"digest": folder_digest(stage.artifact_path), "bytes": 1, "files": files},
                "times": {"started": 1.0, "ended": 2.0, "attempt": number, "of": who},
                "provenance": {**made, "kind_version": 1, **provenance(spec)},
            }
        )
        stage.end_attempt(number, {"outcome": "done"})
