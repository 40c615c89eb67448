"""What measures cost: a packing runs the model on the examples of its evaluation, a timing on none."""

from __future__ import annotations

from dataclasses import replace

from grid_world import inputs, plan

from harness.grids.workload import InputSizes, work_of
from harness.inputs.data_sources import Sizes
from harness.inputs.shapes import Shape
from harness.planning.graph import Plan


def planned() -> Plan:
    found = replace(inputs(), machine="here")
    return plan(found=found, measures=["packing", "latency"], methods=["dense"], tasks=["sst2"])


def test_a_packing_is_estimated_as_its_evaluation_and_a_timing_not_at_all() -> None:
    found = planned()
    shape = Shape(layers=2, width=32, feed_forward=64, vocabulary=60, positions=64)
    sizes = InputSizes(shapes={"tiny": shape}, data=Sizes(rows={"sst2/validation": 37}, text_bytes={}))
    work = {spec.kind: work_of(spec, found, sizes) for spec in found.stages.values() if spec.kind != "dense"}
    assert work["packing"] == work["evaluation"]
    assert work["packing"] is not None
    assert work["packing"] > 0
    assert work["latency"] is None
