"""Rows whose seeds were not made alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import ModuleType

import pyarrow.parquet as pq
import pytest
from grid_world import Ran, World, inputs, plan, preset

from harness.planning.graph import Plan
from harness.planning.kinds import KINDS
from harness.store.store import Store
from harness.studies.row_check import mixed_rows
from harness.studies.study import add_to_study

AXES = {"tasks": ["sst2"], "methods": ["dense", "prune-ofa"], "sparsities": [0.85]}


def together(store: Store, *plans: Plan) -> list[str]:
    for planned in plans:
        study = add_to_study(store, "mine", preset(), planned)
    return mixed_rows(study.plan)


def test_seeds_alone_are_alike(store: Store) -> None:
    more = plan(**AXES, seeds=(0, 1, 2), pruning_seeds=(0, 4), quantization=["none", "int8"])
    assert together(store, plan(**AXES), more) == []


def test_a_setting_of_a_package_that_is_the_seed_under_another_name_is_alike() -> None:
    planned = plan(tasks=["sst2"], methods=["dense"], seeds=(0, 7))
    stages, paths = {}, {}
    for cell, path in planned.paths.items():
        model, end = (planned.stages[stage_id] for stage_id in path)
        model = replace(model, kind="acme:lab", parameters={**model.parameters, "draw": cell.seed, "epochs": 2.0})
        end = replace(end, parents={"model": model.stage_id})
        stages |= {model.stage_id: model, end.stage_id: end}
        paths[cell] = (model.stage_id, end.stage_id)
    assert mixed_rows(Plan(stages=stages, paths=paths)) == []


def test_seeds_on_other_data_are_told_for_each_method(store: Store) -> None:
    mended = plan(**AXES, seeds=(1,), found=inputs(changed={"sst2/train": "mended"}))
    assert together(store, plan(**AXES, seeds=(0,)), mended) == [
        f"{method}: the seeds of 1 row ({row}) were not made alike; they differ in the data (sst2)."
        for method, row in (("dense", "tiny sst2 none"), ("prune-ofa", "tiny 0.85 sst2 none"))
    ]


def test_rows_that_are_made_anew_as_a_whole_are_alike(store: Store) -> None:
    assert together(store, plan(**AXES), plan(**AXES, found=inputs(changed={"sst2/train": "mended"}))) == []


def test_seeds_of_two_code_versions_are_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    older = plan(**AXES, seeds=(0,))
    version = KINDS["transfer"].version
    monkeypatch.setitem(KINDS, "transfer", replace(KINDS["transfer"], version=version + 1))
    assert together(store, older, plan(**AXES, seeds=(1,))) == [
        "prune-ofa: the seeds of 1 row (tiny 0.85 sst2 none) were not made alike; they differ in the code version of "
        f"transfer ({version} and {version + 1})."
    ]


def test_the_grid_and_the_page_say_so(
    world: World, run_harness: Callable[[Sequence[str]], Ran], fakes: ModuleType
) -> None:
    grid = world.grid("--methods", "dense", "--tasks", "sst2")
    said = "dense: the seeds of 1 row (tiny sst2 none) were not made alike; they differ in the data (sst2)."
    assert said not in run_harness([*grid, "--seeds", "0"]).err
    path = world.folder / "data" / "sst2" / "train.parquet"
    pq.write_table(pq.read_table(path).slice(0, 1), path)
    assert f"note: {said}\n" in run_harness([*grid, "--seeds", "1"]).err
    assert f"- {said}\n" in run_harness(world.reading("tables")).out
