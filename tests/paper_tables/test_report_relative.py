"""Averages relative to dense, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paper_tables.numbers.rows import Row, SeedValue
from paper_tables.report.relative import averages


def row(task: str, values: list[float | None], method: str = "dense", metric: str = "accuracy", **other: object) -> Row:
    present = [value for value in values if value is not None]
    made = Row(
        table="mine",
        model="m",
        method=method,
        sparsity=0.0 if method == "dense" else 0.9,
        transfer_kd="na",
        bits=32,
        task=task,
        metric=metric,
        value=sum(present) / len(present) if present else None,
        n=len(present),
        spread=None,
        spread_over=None,
        published=None,
        difference=None,
        missing=len(values) - len(present),
        measured_sparsity=None,
        seeds=tuple(SeedValue(seed, None, value, f"{method} {task} {seed}") for seed, value in enumerate(values)),
    )
    return replace(made, **other)  # type: ignore[arg-type]


DENSE = [row("sst2", [80.0, 80.0]), row("qnli", [50.0, 50.0])]


def test_each_task_is_taken_relative_to_dense_and_counts_once() -> None:
    """sst2 72 of 80 is 90 %, qnli 40 of 50 is 80 %: 85 %. The F1 of qqp, a second metric, is not in it."""
    ofa = [row("sst2", [72.0, 64.0], "ofa"), row("qnli", [40.0, 45.0], "ofa")]
    others = [row("sst2", [10.0], metric="f1"), row("mnli-mm", [10.0]), row("mnli-mm", [1.0], "ofa")]
    found = averages([*DENSE, *ofa, *others])
    dense, average = found.averages
    assert dense.value == 100.0
    assert [seed.value for seed in average.seeds] == [85.0, 85.0]  # 72/80 and 40/50; 64/80 and 45/50
    assert average.value == pytest.approx(85.0)
    assert found.tasks == {"m": ("sst2", "qnli")}
    assert average.interval is None  # of two seeds


def test_a_seed_that_lacks_a_task_is_no_point_but_counts_in_its_task() -> None:
    ofa = [row("sst2", [72.0, 64.0], "ofa"), row("qnli", [40.0, None], "ofa")]
    (_, average) = averages([*DENSE, *ofa]).averages
    assert [(seed.seed, seed.value) for seed in average.seeds] == [(0, 85.0)]
    assert average.value == pytest.approx((85.0 + 80.0) / 2)  # sst2 68 of 80, qnli 40 of 50


def test_a_line_that_lacks_a_task_is_left_out_and_named() -> None:
    found = averages([*DENSE, row("sst2", [72.0], "ofa"), row("sst2", [1.0], "two"), row("qnli", [None], "two")])
    assert [average.line.method for average in found.averages] == ["dense"]
    assert [line.method for line in found.left_out] == ["ofa", "two"]


@pytest.mark.parametrize(
    "rows", [DENSE, [row("sst2", [80.0], "ofa"), row("qnli", [80.0], "ofa")]], ids=["dense alone", "no dense"]
)
def test_without_something_beside_dense_there_is_no_average(rows: list[Row]) -> None:
    assert averages(rows).averages == ()


def test_the_papers_average_needs_all_of_its_numbers() -> None:
    dense = [replace(row, published=published) for row, published in zip(DENSE, (90.0, 60.0), strict=True)]
    ofa = [row("sst2", [72.0], "ofa", published=81.0), row("qnli", [40.0], "ofa", published=48.0)]
    (_, average) = averages([*dense, *ofa]).averages
    assert average.published == pytest.approx(85.0)  # 81 of 90 and 48 of 60
    (_, average) = averages([*dense, ofa[0], replace(ofa[1], published=None)]).averages
    assert average.published is None


def test_three_seeds_have_an_interval_that_holds_their_average() -> None:
    dense = [row("sst2", [80.0, 80.0, 80.0]), row("qnli", [50.0, 50.0, 50.0])]
    ofa = [row("sst2", [70.0, 72.0, 74.0], "ofa"), row("qnli", [40.0, 41.0, 39.0], "ofa")]
    (_, average) = averages([*dense, *ofa]).averages
    assert average.interval is not None
    assert average.interval.low < average.value < average.interval.high
