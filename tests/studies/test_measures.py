"""Measures: stages beside a cell's path that measure its model. A cell is done without them; a grid asks for them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grid_world import World, inputs, plan, preset

from harness.errors import StoreError, UsageError
from harness.planning.graph import Plan
from harness.planning.kinds import MEASURES
from harness.store.store import Store
from harness.studies.garbage import kept_artifacts
from harness.studies.hours import methods_of
from harness.studies.results import result_problems
from harness.studies.selection import select
from harness.studies.state import to_run
from harness.studies.study import merged, read_study, union_of, write_study

CELLS: dict[str, Any] = {"methods": ["dense", "prune-ofa"], "tasks": ["sst2"], "quantization": ["none", "int8"]}


def measured(*kinds: str, machine: str = "this one", **axes: Any) -> Plan:
    return plan(found=replace(inputs(), machine=machine), measures=kinds, **{**CELLS, **axes})


def write(store: Store, planned: Plan) -> Plan:
    write_study(store, merged(store, "mine", preset(), planned))
    return read_study(store, "mine").plan


def test_each_cells_model_is_measured_once_with_its_arithmetic() -> None:
    plain, found = measured(), measured("packing")
    assert found.paths == plain.paths
    added = {i: spec for i, spec in found.stages.items() if i not in plain.stages}
    assert {spec.kind for spec in added.values()} == {"packing"}
    assert len(added) == len(found.paths)
    for cell, (stage_id,) in found.measures.items():
        spec, evaluation = found.stages[stage_id], found.stages[found.endpoint(cell)]
        assert spec.parents == evaluation.parents
        assert spec.inputs == evaluation.inputs
        assert spec.parameters["arithmetic"] == evaluation.parameters["arithmetic"]
        assert found.measuring(cell, "packing") == (stage_id,)
        assert found.stages_of(cell) == (*found.paths[cell], stage_id)


def test_a_measurement_of_time_belongs_to_a_machine_and_reads_no_data() -> None:
    here, there = measured("latency"), measured("latency", machine="another")
    assert here.paths == there.paths
    assert not {i for ids in here.measures.values() for i in ids} & {i for ids in there.measures.values() for i in ids}
    (spec, *_) = (here.stages[i] for ids in here.measures.values() for i in ids)
    assert spec.parameters["machine"] == "this one"
    assert not spec.inputs
    assert len({each.label(i) for each in (here, there) for ids in each.measures.values() for i in ids}) == 2 * len(
        here.measures
    )
    packed, elsewhere = measured("packing"), measured("packing", machine="another")
    assert packed.measures == elsewhere.measures


def test_measures_come_back_with_the_study_and_stay_when_cells_are_added(store: Store) -> None:
    found = measured("packing", "latency")
    assert write(store, found).measures == found.measures
    text = store.study_path("mine").read_text()
    again = write(store, measured(seeds=(0, 1)))  # the same grid, with another seed and no measures
    assert again.measures == found.measures
    assert set(again.paths) > set(found.paths)
    assert json.loads(text)["cells"][0]["measures"] == list(found.measures[next(iter(found.paths))])


def test_a_study_without_measures_says_nothing_of_them(store: Store) -> None:
    write(store, measured())
    assert "measures" not in store.study_path("mine").read_text()


def test_machines_stand_side_by_side_and_a_measure_of_another_model_goes() -> None:
    here, there = measured("latency"), measured("latency", machine="another")
    both = union_of(here, there, counts=there)
    assert all(len(ids) == 2 for ids in both.measures.values())
    assert both.stages.keys() == here.stages.keys() | there.stages.keys()
    longer = plan("dense.epochs=9", **CELLS)
    cell = next(cell for cell in here.paths if cell.method == "dense")
    union = union_of(here, longer, counts=longer)
    assert cell not in union.measures
    assert not set(here.measures[cell]) & set(union.stages)


def test_what_asks_for_stages_counts_measures_too() -> None:
    found = measured("packing")
    ids = {i for each in found.measures.values() for i in each}
    states = dict.fromkeys(found.stages, "done") | dict.fromkeys(ids, "pending")
    assert set(to_run(found, states)) == ids
    assert select(found, states, "packing") == [i for i in found.stages if i in ids]
    assert {methods_of(found)[i] for i in ids} == {"dense", "prune-ofa"}
    assert select(found, states, "kind=packing,method=prune-ofa")
    models = {found.stages[i].parents["model"] for i in ids}
    finished = set(found.stages) - ids
    assert models <= kept_artifacts([found], finished, "records")
    assert not ids & kept_artifacts([found], set(found.stages), "final")  # an export writes a packed file again


def test_a_measure_of_another_cells_model_is_refused(store: Store) -> None:
    write(store, measured("packing"))
    path = store.study_path("mine")
    text = json.loads(path.read_text())
    first, second = text["cells"][0], text["cells"][1]
    first["measures"], second["measures"] = second["measures"], first["measures"]
    path.write_text(json.dumps(text))
    with pytest.raises(StoreError, match="its packing is no measure of the model that its evaluation scores"):
        read_study(store, "mine")
    first["measures"] = [first["stages"][-1]]
    path.write_text(json.dumps(text))
    with pytest.raises(StoreError, match="its evaluation is no measure"):
        read_study(store, "mine")
    first["measures"] = "all"
    path.write_text(json.dumps(text))
    with pytest.raises(StoreError, match="damaged"):
        read_study(store, "mine")


def test_a_measure_that_there_is_not_and_sizes_that_cannot_be_are_told_before_anything_runs(world: World) -> None:
    from harness.cli.main import main

    assert main([*world.grid("--measures", "packin,latency", "--set", "latency.sizes=1x"), "--dry-run"]) == 2
    with pytest.raises(UsageError, match=r"latency.sizes=0x16: expected EXAMPLESxTOKENS"):
        plan("latency.sizes=0x16", measures=["latency"], **CELLS)


def test_the_kinds_that_measure() -> None:
    assert MEASURES == ("packing", "latency")


@pytest.mark.parametrize(
    ("kind", "result", "said"),
    [
        ("packing", {"packed": {"encoder_bytes": 1}}, "it has no result.packed.encoder_bound_bytes"),
        ("packing", {}, "it has no result.packed.encoder_bytes"),
        ("latency", {}, "it has no result.latency"),
        ("latency", {"latency": {"machine": "m", "threads": 1, "measured": [{"p50_ms": 1}]}}, "has not the members"),
    ],
)
def test_a_record_of_a_measure_that_no_page_could_show_is_named(kind: str, result: dict[str, Any], said: str) -> None:
    found = measured(kind)
    (stage_id, *_) = (i for ids in found.measures.values() for i in ids)
    record = {"result": {"metrics": {}, "did": [], **result}}
    (told, *_) = result_problems(found, {stage_id: record}, Store(Path("nowhere")))
    assert said in told
