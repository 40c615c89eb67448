"""Study files in which a cell points to stages that are not its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from grid_world import inputs, of_kind, plan, preset

from harness.cli.main import main
from harness.errors import StoreError
from harness.planning.graph import ModelIdentity, Plan
from harness.planning.grid import Axes, expand
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset
from harness.store.store import Store
from harness.studies.cell_check import cell_problem
from harness.studies.study import merged, read_study, write_study

Cells = list[dict[str, Any]]
AXES: Mapping[str, Any] = {
    "models": ["tiny", "wide"],
    "methods": ["dense", "finetune-pruning", "prune-ofa", "prune-ofa-no-kd"],
    "sparsities": [0.85, 0.9],
    "tasks": ["sst2", "squad"],
    "quantization": ["none", "int8"],
    "seeds": (0, 1),
    "pruning_seeds": (0, 3),
}
BASE = {  # the cell that is pointed elsewhere, where a test names no other
    "model": "tiny",
    "method": "prune-ofa",
    "sparsity": 0.85,
    "task": "sst2",
    "quantization": "none",
    "seed": 1,
    "pruning_seed": 3,
}


def edited(store: Store, planned: Plan, change: Callable[[Cells], None]) -> None:
    write_study(store, merged(store, "mine", preset(), planned))
    path = store.study_path("mine")
    tree = json.loads(path.read_text())
    change(tree["cells"])
    path.write_text(json.dumps(tree, indent=1, sort_keys=True))


def find(cells: Cells, **fields: object) -> dict[str, Any]:
    wanted = {**BASE, **fields}
    (cell,) = (cell for cell in cells if all(cell[name] == value for name, value in wanted.items()))
    return cell


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"model": "wide"}, "transfer.model is 'wide', not 'tiny'"),
        ({"method": "prune-ofa-no-kd"}, "transfer has no teacher, unlike its method's"),
        (
            {"method": "finetune-pruning", "pruning_seed": 0},
            "there is a stage task_pruning where its method has transfer",
        ),
        ({"sparsity": 0.9}, "student_pruning.sparsity is 0.9, not 0.85"),
        ({"task": "squad"}, "evaluation.task is 'squad', not 'sst2'"),
        ({"quantization": "int8"}, "evaluation.arithmetic is 'int8', not 'fp32'"),
        ({"seed": 0}, "transfer.seed is 0, not 1"),
        ({"pruning_seed": 0}, "student_pruning.seed is 0, not 3"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_cell_with_the_stages_of_another_is_named_with_what_differs(
    store: Store, other: Mapping[str, object], said: str
) -> None:
    def point_elsewhere(cells: Cells) -> None:
        find(cells)["stages"] = find(cells, **other)["stages"]

    edited(store, plan(**AXES), point_elsewhere)
    with pytest.raises(StoreError) as caught:
        read_study(store, "mine")
    assert f"tiny prune-ofa 0.85 sst2 none seed 1: {said})" in str(caught.value)
    assert "Move it away and give its grid's command again" in str(caught.value)


DENSE = {**BASE, "method": "dense", "sparsity": 0.0, "pruning_seed": 0}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"model": "wide"}, "dense.model is 'wide', not 'tiny'"),
        ({**BASE}, "there is a stage transfer where its method has dense"),
        ({"task": "squad"}, "evaluation.task is 'squad', not 'sst2'"),
        ({"quantization": "int8"}, "evaluation.arithmetic is 'int8', not 'fp32'"),
        ({"seed": 0}, "dense.seed is 0, not 1"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_dense_cell_with_the_stages_of_another_is_named(store: Store, other: Mapping[str, object], said: str) -> None:
    def point_elsewhere(cells: Cells) -> None:
        find(cells, **DENSE)["stages"] = find(cells, **{**DENSE, **other})["stages"]

    edited(store, plan(**AXES), point_elsewhere)
    with pytest.raises(StoreError) as caught:
        read_study(store, "mine")
    assert f"tiny dense sst2 none seed 1: {said})" in str(caught.value)


@pytest.mark.parametrize(
    ("cell", "change", "said"),
    [
        (DENSE, {"sparsity": 0.5}, "its sparsity is 0.5, not 0.0: none of its method's stages has one"),
        (DENSE, {"pruning_seed": 5}, "its pruning_seed is 5, not 0: none of its method's stages has one"),
        (DENSE, {"pruning_seed": "x"}, "pruning_seed 'x', expected a whole number"),
        (DENSE, {"pruning_seed": -1}, "seed -1: expected 0 or more"),
        (DENSE, {"seed": True}, "seed True, expected a whole number"),
        (BASE, {"quantization": "int4"}, "quantization 'int4' is not known"),
        (BASE, {"task": "cola"}, "evaluation.task is 'sst2', not 'cola'"),
        (BASE, {"method": "prune-off"}, "method 'prune-off' is not known. Did you mean 'prune-ofa'"),
        (BASE, {"sparsity": "0.85"}, "sparsity '0.85', expected a number"),
        (BASE, {"sparsity": 7}, "sparsity 7: expected a fraction in [0, 1). For 7 percent write 0.07."),
        (BASE, {"sparsity": float("nan")}, "sparsity nan: expected a fraction in [0, 1)"),
        (BASE, {"model": ""}, "model '', expected a name"),
        (BASE, {"model": "a\x1b[31mb"}, r"model 'a\x1b[31mb', expected a name"),
        (BASE, {"method": "a\nb"}, r"method 'a\nb', expected a name"),
        (BASE, {"method": "\ud800"}, r"method '\ud800', expected a name"),
        (BASE, {"more": 1}, "expected model, method, sparsity, task, quantization, seed, pruning_seed"),
        (BASE, {"stages": "none"}, "has no list of stages"),
    ],
    ids=lambda value: (
        " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) and len(value) == 1 else ""
    ),
)
def test_a_value_that_no_cell_can_have_is_told_with_the_next_move(
    store: Store,
    capsys: pytest.CaptureFixture[str],
    cell: Mapping[str, object],
    change: Mapping[str, object],
    said: str,
) -> None:
    edited(store, plan(**AXES), lambda cells: find(cells, **cell).update(change))
    assert main(["tables", "--store", str(store.root)]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert "Move it away and give its grid's command again" in told


def test_a_packages_cell_has_a_pruning_seed_only_where_it_prunes() -> None:
    planned = plan(methods=["dense"], tasks=["sst2"], seeds=(0,))
    methods = {"theirs": replace(planned.methods["dense"], package="gone", version="1.0")}
    paths = {replace(cell, method="theirs", pruning_seed=4): path for cell, path in planned.paths.items()}
    (cell,) = paths
    found = cell_problem(Plan(stages=planned.stages, paths=paths, methods=methods), cell)
    assert found == "its pruning_seed is 4, not 0: none of its method's stages has one"


def test_a_path_that_lacks_a_stage_is_found(store: Store) -> None:
    edited(store, plan(**AXES), lambda cells: find(cells)["stages"].pop(0))
    with pytest.raises(StoreError, match="not its last stage and all that it depends on"):
        read_study(store, "mine")


def test_a_cell_that_stands_twice_is_found(store: Store) -> None:
    edited(store, plan(**AXES), lambda cells: find(cells).update(seed=0))
    with pytest.raises(StoreError, match="cell tiny prune-ofa 0.85 sst2 none seed 0 stands twice"):
        read_study(store, "mine")


def test_of_a_package_that_is_gone_what_can_be_told_is_told(store: Store) -> None:
    """Its facts say that it is none of ours; no declaration is looked for."""
    planned = plan(methods=["prune-ofa"], tasks=["sst2", "squad"], seeds=(0, 1))
    facts = replace(planned.methods["prune-ofa"], package="gone", version="1.0")
    paths = {replace(cell, method="theirs"): path for cell, path in planned.paths.items()}
    theirs = Plan(stages=planned.stages, paths=paths, methods={"theirs": facts})
    assert [cell_problem(theirs, cell) for cell in theirs.paths] == [None] * 4
    cell, other = (next(c for c in paths if (c.task, c.seed) == ("sst2", seed)) for seed in (0, 1))
    swapped = replace(theirs, paths={**paths, cell: paths[other]})
    assert cell_problem(swapped, cell) == "transfer.seed is 1, not 0"


@pytest.mark.parametrize("pretrained", [True, False])
@pytest.mark.parametrize("released", [True, False])
def test_every_cell_of_a_plan_has_its_own_stages(pretrained: bool, released: bool) -> None:
    chosen = load_preset("paper-released" if released else "paper")
    found = replace(
        inputs(models={"bert-base": ModelIdentity(weights="w", tokenizer="t", pretrained=pretrained)}),
        released=chosen.released,
        sparse_from={"mine": "checkpoint"},
    )
    axes = Axes(
        models=["bert-base"],
        methods=list(AXES["methods"]),
        quantization=["none", "int8"],
        seeds=(0, 7),
        pruning_seeds=(0, 3),
        sparse_from={"mine": 0.5},
    )
    planned = plan_cells(expand(axes, chosen).cells, chosen.recipe, found)
    assert len(of_kind(planned, "sparse_checkpoint")) == (3 if released else 1)
    assert {cell_problem(planned, cell) for cell in planned.paths} == {None}
