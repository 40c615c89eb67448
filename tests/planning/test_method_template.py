"""What a cell's stages are held against, and in what they differ from it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from grid_world import plan

from harness.planning.graph import Plan
from harness.planning.method_template import Mismatch, templates
from harness.tasks import get_task

AXES = {"methods": ["dense", "prune-ofa", "prune-ofa-no-kd"], "tasks": ["sst2"], "seeds": (0,)}


def like(planned: Plan, method: str, other: str, **fields: object) -> Mismatch | None:
    """How the cell of a method, with other fields, differs from its form when it has another method's stages."""
    paths = {cell.method: (cell, path) for cell, path in planned.paths.items() if cell.quantization == "none"}
    cell = replace(paths[method][0], **fields)  # type: ignore[arg-type]
    form = templates(method, get_task(cell.task), cell.quantization)[0]
    return form.mismatch(Plan(stages=planned.stages, paths={cell: paths[other][1]}), cell)


@pytest.mark.parametrize(
    ("method", "other", "expected"),
    [
        ("prune-ofa", "prune-ofa", None),
        ("prune-ofa", "dense", Mismatch("kind", "kind", "dense", "transfer")),
        ("prune-ofa", "prune-ofa-no-kd", Mismatch("parent", "transfer.teacher", False, True)),
        ("prune-ofa-no-kd", "prune-ofa", Mismatch("parent", "transfer.teacher", True, False)),
    ],
)
def test_a_mismatch_is_a_value(method: str, other: str, expected: Mismatch | None) -> None:
    assert like(plan(**AXES), method, other) == expected


def test_a_value_that_a_stage_holds_and_one_that_none_does() -> None:
    planned = plan(**AXES)
    assert like(planned, "prune-ofa", "prune-ofa", sparsity=0.5) == Mismatch(
        "value", "student_pruning.sparsity", 0.85, 0.5
    )
    assert like(planned, "prune-ofa", "prune-ofa", pruning_seed=3) == Mismatch("value", "student_pruning.seed", 0, 3)
    assert like(planned, "dense", "dense", sparsity=0.5) == Mismatch("cell", "sparsity", 0.5, 0.0)
    assert like(planned, "dense", "dense", pruning_seed=3) == Mismatch("cell", "pruning_seed", 3, 0)
