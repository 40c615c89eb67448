"""Speed-ups: of what was measured on one machine, against the dense fp32 model there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from figure_data import numbers_of

from harness.studies.study import Study
from paper_tables.figures.pictures import FIGURE_KINDS, kinds_of, study_pictures
from paper_tables.figures.speed import speed_charts
from paper_tables.numbers.speed import machines_of
from paper_tables.numbers.study_numbers import StudyNumbers

# Milliseconds at one example of 16 and of 128 tokens, by (quantized, pruned).
TIMES: Mapping[tuple[bool, bool], Mapping[str, tuple[float, float]]] = {
    (False, False): {"torch fp32": (4.0, 8.0), "onnxruntime fp32": (2.0, 6.0), "torch dynamic int8": (0.1, 0.1)},
    (False, True): {"torch fp32": (4.1, 8.1), "torch csr": (1.0, 10.0), "onnxruntime fp32": (2.0, 6.4)},
    (True, True): {"onnxruntime int8": (1.0, 2.0)},
}


def measured(machine: str, times: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    found = [
        {
            "runtime": runtime,
            "scored": runtime != "torch dynamic int8",
            "examples": 1,
            "tokens": tokens,
            "calls": 30,
            "p50_ms": milliseconds,
            "p90_ms": 2 * milliseconds,
            "p99_ms": 3 * milliseconds,
            "mean_ms": milliseconds,
            "mean_half_width_ms": 0.1,
            "memory_bytes": 1000,
        }
        for runtime, pair in times.items()
        for tokens, milliseconds in zip((16, 128), pair, strict=True)
    ]
    return {"result": {"latency": {"machine": machine, "threads": 1, "measured": found}}}


@pytest.fixture
def numbers(make_study: Callable[..., Study]) -> StudyNumbers:
    study = make_study(
        methods=["dense", "prune-ofa"], tasks=["sst2"], quantization=["none", "int8"], measures=["latency"]
    )
    found = numbers_of(study, lambda _, cell: 0.5, {})
    records = dict(found.records)
    for cell, (stage_id,) in study.plan.measures.items():
        times = TIMES.get((cell.quantization == "int8", cell.method != "dense"))
        if times is not None:
            records[stage_id] = measured("here", times)
    return replace(found, records=records)


def test_the_speed_up_is_that_of_the_fastest_runtime_that_computes_what_was_scored(numbers: StudyNumbers) -> None:
    """Worked by hand at 128 tokens: dense fp32 in torch takes 8 ms."""
    (chart,), left_out = speed_charts(numbers)
    assert left_out == []
    assert {point.row: point.x for point in chart.panels[-1].points} == {
        ("dense", 0.0, 32): pytest.approx(8 / 6, abs=1e-4),  # not the tenth of a millisecond of other numbers
        ("prune-ofa", 0.85, 32): 8 / 6.4,
        ("prune-ofa", 0.85, 8): 8 / 2,
    }
    assert "Median of a call with 1 example of 128 tokens, 1 thread; here." in chart.notes
    assert any("onnxruntime int8: prune-ofa 0.85 in 8 bits" in note for note in chart.notes)


def test_machines_are_not_mixed(numbers: StudyNumbers) -> None:
    records = dict(numbers.records)
    dense = next(
        i for cell, (i,) in numbers.study.plan.measures.items() if (cell.method, cell.quantization) == ("dense", "none")
    )
    records[dense] = measured("there", TIMES[False, False])
    found, left_out = speed_charts(replace(numbers, records=records))
    assert [point.row for chart in found for point in chart.panels[-1].points] == [("dense", 0.0, 32)]
    assert left_out == ["accuracy against speed-up on here: no dense fp32 model was measured there."]
    assert [machine.words for machine in machines_of(replace(numbers, records=records))] == ["here", "there"]


def test_without_a_measurement_it_says_how_to_make_one(make_study: Callable[..., Study]) -> None:
    study = make_study(methods=["dense"], tasks=["sst2"])
    found = study_pictures(numbers_of(study, lambda _, cell: 0.5, {}), ["speed"])
    assert not found.found
    assert found.left_out == [
        "accuracy against speed-up: nothing was measured. harness grid .. --measures latency does it."
    ]


def test_it_is_drawn(numbers: StudyNumbers) -> None:
    (picture,) = study_pictures(numbers, ["speed"]).found
    assert picture.stem == "mine-tiny-speed"
    assert picture.draw() is not None


def test_all_kinds_hold_speed_only_of_a_study_that_measures_any(numbers: StudyNumbers) -> None:
    study = numbers.study
    assert kinds_of(study) == FIGURE_KINDS
    unmeasured = replace(study, plan=replace(study.plan, measures={}))
    assert set(FIGURE_KINDS) - set(kinds_of(unmeasured)) == {"speed"}
