"""What ran, what is missing and what failed: counted by hand in small plans."""

from __future__ import annotations

from grid_world import of_kind, plan
from made_reports import failed, made_report, records_of

from paper_tables.report.coverage import read_coverage
from paper_tables.report.failures import failures


def test_cells_are_counted_by_method_and_task() -> None:
    planned = plan(methods=["dense", "prune-ofa"], tasks=["sst2", "squad"], seeds=[0, 1, 2], quantization=["none"])
    records = records_of(planned)
    gone = next(cell for cell in planned.paths if (cell.method, cell.task, cell.seed) == ("dense", "sst2", 1))
    del records[planned.endpoint(gone)]
    found = read_coverage(planned, records, {})
    assert found.methods == ("dense", "prune-ofa")
    assert found.tasks == ("squad", "sst2")  # as in the paper's tables
    assert found.counts == {
        ("dense", "squad"): {"done": 3},
        ("dense", "sst2"): {"done": 2, "pending": 1},
        ("prune-ofa", "squad"): {"done": 3},
        ("prune-ofa", "sst2"): {"done": 3},
    }
    assert found.total == {"done": 11, "pending": 1}
    assert [cell for cell, _ in found.missing] == [gone]


def test_a_failed_stage_stands_once_with_all_cells_that_it_holds_up() -> None:
    planned = plan(methods=["prune-ofa"], tasks=["sst2", "squad"], seeds=[0, 1], quantization=["none", "int8"])
    (pruning,) = of_kind(planned, "student_pruning")
    first_transfer, *_ = of_kind(planned, "transfer")
    message = "\n  ValueError: the first line\nsecond\n"
    attempts = {pruning: [failed("old"), failed(message)], first_transfer: [failed("never reached", "cancelled")]}
    coverage = read_coverage(planned, {}, attempts)
    by_stage = {failure.stage_id: failure for failure in failures(planned, coverage, attempts)}
    found = by_stage[pruning]
    assert (found.line, found.how, found.tries) == ("ValueError: the first line", "failed", 2)
    assert found.cells == 8  # 2 tasks x 2 seeds x 2 quantizations: the one that pruned is the first that stops each
    assert coverage.total == {"blocked": 8}


def test_a_failure_that_was_overcome_is_none() -> None:
    planned = plan(methods=["dense"], tasks=["sst2"])
    attempts = {stage_id: [failed("once"), failed("", "done")] for stage_id in planned.stages}
    report = made_report(planned, attempts=attempts)
    assert report.failures == []
    assert report.is_complete
