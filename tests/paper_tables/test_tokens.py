"""Accuracy against the tokens that pruning in pre-training has seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from figure_data import numbers_of

from harness.specs import Cell
from harness.studies.study import Study
from paper_tables.figures.tokens import tokens_chart


def value(_: Study, cell: Cell) -> float:
    return 0.8 if cell.method == "dense" else 0.6


def pruned(tokens: int | None) -> dict[str, Any]:
    return {"student_pruning": {"result": {"training": {} if tokens is None else {"tokens_seen": tokens}}}}


def test_each_budget_is_a_point_of_its_models_panel(make_study: Callable[..., Study]) -> None:
    methods = ["dense", "finetune-pruning", "prune-ofa"]
    axes = {"methods": methods, "tasks": ["sst2"], "sparsities": [0.85, 0.9]}
    one = numbers_of(make_study(name="one", **axes), value, pruned(1000))
    two = numbers_of(
        make_study("student_pruning.steps=64", name="two", **axes),
        lambda study, cell: value(study, cell) + 0.1 * (cell.method == "prune-ofa"),
        pruned(2000),
    )
    chart = tokens_chart([one, two])
    assert chart is not None
    assert (chart.subject, chart.axis, chart.missing) == ("one", "tokens", 0)
    assert [panel.title for panel in chart.panels] == ["tiny, 85 % zeros: % of dense", "tiny, 90 % zeros: % of dense"]
    for panel in chart.panels:
        assert [(point.method, point.x, round(point.value, 9)) for point in panel.points] == [
            ("prune-ofa", 1000.0, 75.0),
            ("prune-ofa", 2000.0, 87.5),
        ]
    assert "Studies one, two, each relative to its own dense model." in chart.notes


def test_without_a_count_of_tokens_the_method_is_left_out_by_name(make_study: Callable[..., Study]) -> None:
    axes = {"methods": ["dense", "prune-ofa", "prune-ofa-no-kd"], "tasks": ["sst2"], "sparsities": [0.85]}
    counted = numbers_of(make_study(name="counted", **axes), value, pruned(10))
    not_counted = numbers_of(make_study("student_pruning.steps=64", name="not-counted", **axes), value, pruned(None))
    chart = tokens_chart([counted, not_counted])
    assert chart is not None
    assert {point.x for panel in chart.panels for point in panel.points} == {10.0}
    assert chart.notes[-1] == (
        "Left out, for their records count no tokens: prune-ofa-no-kd of study not-counted, "
        "prune-ofa of study not-counted."
    )


def test_a_study_that_prunes_on_the_task_has_no_such_chart(make_study: Callable[..., Study]) -> None:
    study = make_study(methods=["dense", "finetune-pruning"], tasks=["sst2"], sparsities=[0.85])
    assert tokens_chart([numbers_of(study, value, pruned(10))]) is None
