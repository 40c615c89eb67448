"""Hours by method and stage kind, worked out by hand."""

from __future__ import annotations

import pytest
from grid_world import of_kind, plan

from harness.studies.hours import SHARED, Try
from paper_tables.report.spent import spending


def record(started: float, ended: float, threads: int = 1, gpus: tuple[str, ...] = ()) -> dict[str, object]:
    return {
        "parameters": {"threads": threads},
        "times": {"started": started, "ended": ended},
        "provenance": {"torch": {"gpus": list(gpus)}},
    }


def test_attempts_count_with_those_that_failed_and_a_record_stands_in_where_there_are_none() -> None:
    planned = plan(methods=["dense", "prune-ofa"], tasks=["sst2"], seeds=[0], quantization=["none"])
    (dense,), (transfer,), (corpus,) = (of_kind(planned, kind) for kind in ("dense", "transfer", "corpus"))
    records = {
        dense: record(0, 7200, threads=4),  # its attempts tell more
        transfer: record(100, 100 + 1800, threads=2, gpus=("A100",)),
        corpus: {"parameters": {}},  # tells no time
    }
    tries = [
        Try(dense, hours=1.0, threads=4, gpus=0.0, is_lost=True),
        Try(dense, hours=2.0, threads=4, gpus=0.0, is_lost=False),
    ]
    found = spending(planned, records, tries)
    of_dense = found.spent[SHARED, "dense"]  # the task teacher of both methods
    assert (of_dense.stages, of_dense.wall, of_dense.cpu, of_dense.gpu, of_dense.lost) == (1, 3.0, 12.0, 0.0, 1.0)
    of_transfer = found.spent["prune-ofa", "transfer"]
    assert (of_transfer.stages, of_transfer.wall, of_transfer.cpu, of_transfer.gpu) == (1, 0.5, 1.0, 0.5)
    assert (found.from_attempts, found.from_records, found.unknown) == (1, 1, 1)
    assert (found.total.wall, found.total.cpu, found.total.gpu, found.total.stages) == (3.5, 13.0, 0.5, 3)


@pytest.mark.parametrize("times", [{}, {"started": 5}, {"started": "x", "ended": 1}])
def test_a_record_without_times_is_counted_as_unknown(times: dict[str, object]) -> None:
    planned = plan(methods=["dense"], tasks=["sst2"])
    stage_id = next(iter(planned.stages))
    found = spending(planned, {stage_id: {"parameters": {}, "times": times}}, [])
    assert (found.from_records, found.unknown, found.total.wall, found.total.stages) == (0, 1, 0.0, 1)
