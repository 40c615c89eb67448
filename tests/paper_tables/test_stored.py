"""Compression as stored, from the bytes that records count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from figure_data import numbers_of

from harness.studies.study import Study
from paper_tables.figures.stored import stored_charts

SIZES = {"dense": 1200, "transfer": 1200, "task_pruning": 300, "quantization": 150}


def results(sizes: Mapping[str, int | None]) -> dict[str, dict[str, Any]]:
    return {
        kind: {"result": {}, **({} if size is None else {"artifact": {"bytes": size}})} for kind, size in sizes.items()
    }


def study(make_study: Callable[..., Study]) -> Study:
    methods = ["dense", "finetune-pruning", "prune-ofa"]
    return make_study(methods=methods, tasks=["sst2"], sparsities=[0.85], quantization=["none", "int8"])


def test_compression_as_stored_is_bytes_of_dense_over_bytes_of_the_row(make_study: Callable[..., Study]) -> None:
    (chart,), left_out = stored_charts(numbers_of(study(make_study), lambda _, cell: 0.5, results(SIZES)))
    assert left_out == []
    by_row = {point.row: point.x for point in chart.panels[-1].points}
    assert by_row["dense", 0.0, 32] == 1.0
    assert by_row["prune-ofa", 0.85, 32] == 1.0
    assert by_row["finetune-pruning", 0.85, 32] == 1200 / 300
    assert by_row["prune-ofa", 0.85, 8] == 1200 / 150
    assert {point.row: point.x for point in chart.panels[0].points} == by_row  # of one task: its average stands there
    assert all(point.compression > point.x for point in chart.panels[-1].points if point.row == ("prune-ofa", 0.85, 32))


def test_where_nothing_is_smaller_the_chart_says_so(make_study: Callable[..., Study]) -> None:
    said = "Nothing is stored smaller than dense yet."
    for sizes, expected in ((SIZES, False), (dict.fromkeys(SIZES, 700), True)):
        (chart,), _ = stored_charts(numbers_of(study(make_study), lambda _, cell: 0.5, results(sizes)))
        assert (said in chart.notes) == expected


def test_a_record_without_bytes_leaves_the_model_out_with_a_sentence(make_study: Callable[..., Study]) -> None:
    for size in (None, 0):
        numbers = numbers_of(study(make_study), lambda _, cell: 0.5, results({**SIZES, "transfer": size}))
        found, (sentence,) = stored_charts(numbers)
        assert found == []
        assert sentence == (
            "tiny: accuracy against stored compression: not stored yet (no bytes of an artifact in the records of "
            "prune-ofa on sst2, or of dense there)."
        )
