"""Where a sparsity is an outcome: pages show what was reached, and nothing is compared as if it had been met."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.studies.study import Study
from paper_tables.claims.verdicts import ClaimVerdict
from paper_tables.figures.averages import with_average
from paper_tables.figures.points import Point, charts
from paper_tables.numbers.rows import Row, aggregate
from paper_tables.numbers.score import Score
from paper_tables.tables.build import build_rows, whole_study
from paper_tables.tables.formats import long_csv, markdown
from paper_tables.tables.measures import MEASURES

BASE = Score(
    study="demo",
    model="tiny",
    method="soft-movement",
    sparsity=0.9,
    transfer_kd="yes",
    bits=32,
    task="sst2",
    metric="accuracy",
    seed=0,
    value=80.0,
    measured_sparsity=0.87,
    sparsity_is="outcome",
)


def rows(*scores: Score) -> list[Row]:
    return aggregate(scores)


@pytest.mark.parametrize(
    ("changed", "is_at_it", "reached"),
    [
        ({}, False, 0.87),
        ({"measured_sparsity": 0.9004}, True, 0.9004),
        ({"measured_sparsity": 0.8996}, True, 0.8996),
        ({"measured_sparsity": 0.902}, False, 0.902),
        ({"measured_sparsity": None, "value": None}, True, None),
        ({"sparsity_is": "exact"}, True, None),
    ],
)
def test_a_row_is_at_its_sparsity_to_the_tenth_of_a_point(
    changed: dict[str, Any], is_at_it: bool, reached: float | None
) -> None:
    (row,) = rows(replace(BASE, **changed))
    assert (row.is_at_its_sparsity, row.reached) == (is_at_it, reached)


def test_one_seed_that_missed_it_is_enough() -> None:
    (row,) = rows(replace(BASE, measured_sparsity=0.9), replace(BASE, seed=1, measured_sparsity=0.88))
    assert not row.is_at_its_sparsity
    assert row.reached == pytest.approx(0.89)


def test_the_table_says_what_was_aimed_at_and_what_was_reached() -> None:
    table = build_rows(
        whole_study(),
        rows(
            BASE,
            replace(BASE, seed=1, measured_sparsity=0.8812),
            replace(BASE, method="movement", sparsity_is="exact", measured_sparsity=0.9),
        ),
    )
    page = markdown.to_markdown(table)
    aimed = "soft-movement: its sparsity is an outcome; 0.90 was aimed at"
    said = f"{aimed}, 87.00% to 88.12% of the encoder's weights are zero."
    assert page.count(said) == 1
    assert "| 87.00% to 88.12% |" in page
    assert "| 90.00% " in page
    found = [*csv.DictReader(io.StringIO(long_csv.to_csv(table)))]
    assert {line["method"]: line["footnotes"] for line in found} == {"soft-movement": said, "movement": ""}


def test_before_a_result_the_table_says_that_nothing_is_promised() -> None:
    table = build_rows(whole_study(), rows(replace(BASE, value=None, measured_sparsity=None)))
    assert "soft-movement: its sparsity is an outcome; 0.90 was aimed at." in markdown.to_markdown(table)


def test_nominal_compression_is_that_of_the_zeros_that_were_reached() -> None:
    """32 / (32 (1 - .875)) = 8, not the 10 of 0.9."""
    (row,) = rows(replace(BASE, measured_sparsity=0.875))
    assert row.compression == 8.0
    numbers: Any = None
    assert MEASURES["nominal_compression"].text(numbers, [row]) == "8.0x"
    other = rows(replace(BASE, task="qnli", measured_sparsity=0.8))
    assert MEASURES["nominal_compression"].text(numbers, [row, *other]) == "5.0x to 8.0x"


def points(*scores: Score) -> dict[str, list[Point]]:
    (chart,) = charts(rows(*scores))
    return {panel.task: [*panel.points] for panel in with_average(chart).panels}


def test_a_figure_puts_it_where_its_zeros_do_and_the_average_between_those_of_its_tasks() -> None:
    dense = replace(BASE, method="dense", sparsity=0.0, measured_sparsity=0.0, sparsity_is="exact", value=90.0)
    soft = replace(BASE, measured_sparsity=0.875), replace(BASE, task="qnli", measured_sparsity=0.8)
    exact = [replace(each, method="movement", sparsity_is="exact", measured_sparsity=0.9) for each in soft]
    found = points(dense, replace(dense, task="qnli"), *soft, *exact)
    places = {task: {p.method: (p.x, p.compression, p.zeros) for p in of} for task, of in found.items()}
    assert places["sst2"]["soft-movement"] == (8.0, 8.0, 0.875)
    assert places["qnli"]["soft-movement"] == (5.0, 5.0, 0.8)
    assert places["average"]["soft-movement"] == (6.5, 6.5, pytest.approx(0.8375))
    assert places["average"]["movement"] == (10.0, 10.0, 0.9)


def test_rows_of_exact_methods_print_as_before() -> None:
    (row,) = rows(replace(BASE, sparsity_is="exact"))
    assert "sparsity_is" not in row.as_json()
    assert rows(BASE)[0].as_json()["sparsity_is"] == "outcome"


CLAIM = """
[[claims]]
id = "soft-above"
sentence = "At equal sparsity soft movement pruning is more accurate than fine-tune pruning."
source = "a test"
kind = "above"
one = { method = "soft-movement", bits = 32 }
other = { method = "finetune-pruning", bits = 32 }
may_differ = ["epochs", "learning_rate", "batch_size", "warmup_fraction", "weight_decay"%s]
"""


@pytest.mark.parametrize(
    ("zeros", "allowed", "verdict"),
    [(0.85, "", "held"), (0.8, "", "cannot say"), (0.8, ', "sparsity"', "held"), (0.9, "", "cannot say")],
)
def test_a_claim_at_equal_sparsity_compares_no_model_that_missed_it(
    make_study: Callable[..., Study],
    score: Callable[..., None],
    verdict_on: Callable[..., ClaimVerdict],
    zeros: float,
    allowed: str,
    verdict: str,
) -> None:
    study = make_study(tasks=["sst2"], methods=["soft-movement", "finetune-pruning"], sparsities=[0.85], seeds=range(3))
    score(study, (82, 83, 84), method="soft-movement", zeros=zeros, quantization="none")
    score(study, (80, 80, 80), method="finetune-pruning", quantization="none")
    found = verdict_on(study, toml=CLAIM % allowed)
    assert found.verdict == verdict
    (only,) = found.found.comparisons
    assert only.apart == (("sparsity",) if verdict == "cannot say" else ())
