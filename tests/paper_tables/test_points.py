"""Which numbers of a study become points, by hand from scores; no picture is drawn."""

from dataclasses import replace

import pytest

from paper_tables.figures.points import Panel, Point, charts
from paper_tables.numbers.compression import nominal_compression
from paper_tables.numbers.rows import aggregate
from paper_tables.numbers.score import Score

BASE = Score(
    study="mine",
    model="bert-base",
    method="prune-ofa",
    sparsity=0.85,
    transfer_kd="yes",
    bits=32,
    task="sst2",
    metric="accuracy",
    seed=0,
    value=90.0,
    stage_id="s0",
)
DENSE = replace(BASE, method="dense", sparsity=0.0, transfer_kd="na", value=93.0, stage_id="d0")


def comparable(score: Score) -> Score:
    return replace(score, comparable=True)


@pytest.mark.parametrize(
    ("bits", "sparsity", "expected"),
    # 32 / 32; 1 / 0.15; 32 / 8; 4 / 0.15; and the paper's 10 times 4.
    [(32, 0.0, 1), (32, 0.85, 6.666667), (32, 0.9, 10), (8, 0.0, 4), (8, 0.85, 26.666667), (8, 0.9, 40)],
)
def test_nominal_compression_by_hand(bits: int, sparsity: float, expected: float) -> None:
    assert nominal_compression(bits, sparsity) == expected


def test_a_point_is_the_row_of_the_table() -> None:
    scores = [BASE, replace(BASE, seed=1, value=91.0, stage_id="s1"), DENSE, replace(BASE, bits=8, stage_id="q0")]
    (chart,) = charts(aggregate(scores))
    (panel,) = chart.panels
    assert (chart.subject, chart.cells, chart.missing) == ("bert-base", 4, 0)
    assert (panel.task, panel.metric, panel.dense) == ("sst2", "accuracy", 93.0)
    dense, pruned, int8 = panel.points
    assert (dense.compression, dense.value, dense.n, dense.spread) == (1, 93.0, 1, None)
    assert (pruned.compression, pruned.value, pruned.n, pruned.missing) == (6.666667, 90.5, 2, 0)
    # 90 and 91 stand half a point from their mean: sqrt((0.25 + 0.25) / 1).
    assert pruned.spread == pytest.approx(0.5**0.5)
    assert (pruned.spread_over, pruned.stage_ids) == ("transfer seeds", ("s0", "s1"))
    assert [(seed.seed, seed.value, seed.stage_id) for seed in pruned.seeds] == [(0, 90.0, "s0"), (1, 91.0, "s1")]
    assert (int8.bits, int8.compression) == (8, 26.666667)


def test_the_dense_level_is_the_dense_methods_fp32_value_and_no_controls() -> None:
    """Controls without sparsity, and dense at 8 bits, are points like any other."""
    controls = [
        replace(DENSE, method="dense-kd", transfer_kd="yes", value=99.0, stage_id="k0"),
        replace(DENSE, method="dense-prepared", value=98.0, stage_id="p0"),
        replace(DENSE, bits=8, value=97.0, stage_id="i0"),
    ]
    (panel,) = charts(aggregate([*controls, DENSE, BASE]))[0].panels
    assert panel.dense == 93.0
    assert {(point.method, point.compression) for point in panel.points if point.sparsity == 0} == {
        ("dense", 1),
        ("dense", 4),
        ("dense-kd", 1),
        ("dense-prepared", 1),
    }
    assert charts(aggregate(controls))[0].panels[0].dense is None


def test_two_methods_that_share_their_evaluations_have_cells_of_their_own() -> None:
    """As an encoder with random weights, whose preparation is its pre-training, and the control that starts from it."""
    (chart,) = charts(aggregate([DENSE, replace(DENSE, method="dense-prepared")]))
    assert (chart.cells, chart.missing) == (2, 0)


def test_the_papers_numbers_are_points_where_they_stand_in_the_table() -> None:
    rows = aggregate([BASE, DENSE])
    assert [point.from_paper for point in charts(rows)[0].panels[0].points] == [False, False]
    points = charts(aggregate(map(comparable, [BASE, DENSE])))[0].panels[0].points
    # Table 1, BERT-Base, SST-2: reference 92.13, Prune OFA at 85 % 91.46.
    assert [(point.method, point.compression, point.value) for point in points if point.from_paper] == [
        ("dense", 1, 92.13),
        ("prune-ofa", 6.666667, 91.46),
    ]


@pytest.mark.parametrize(
    "change",
    [{"model": "minilm-l6"}, {"task": "cola"}, {"metric": "f1"}, {"sparsity": 0.8}, {"transfer_kd": "no"}],
    ids=str,
)
def test_what_the_paper_does_not_print_has_no_point_of_it(change: dict[str, object]) -> None:
    (chart,) = charts(aggregate([comparable(replace(BASE, **change))]))  # type: ignore[arg-type]
    assert [point.from_paper for point in chart.panels[0].points] == [False]


def test_a_missing_cell_leaves_no_point_and_is_counted_once_for_all_its_metrics() -> None:
    mnli = replace(BASE, task="mnli", stage_id="m0")
    scores = [
        mnli,
        replace(mnli, task="mnli-mm"),
        replace(mnli, seed=1, value=None, stage_id="m1"),
        replace(mnli, task="mnli-mm", seed=1, value=None, stage_id="m1"),
        replace(mnli, bits=8, value=None, stage_id="m2"),
        replace(mnli, task="mnli-mm", bits=8, value=None, stage_id="m2"),
    ]
    (chart,) = charts(aggregate(scores))
    assert (chart.cells, chart.missing) == (3, 2)
    for panel in chart.panels:
        assert [(point.bits, point.n, point.missing) for point in panel.points] == [(32, 1, 1)]
        assert panel.dense is None


def test_with_all_missing_the_panel_stays_and_the_papers_number_stands_where_ours_belongs() -> None:
    missing = replace(BASE, value=None)
    assert charts(aggregate([missing]))[0].panels[0].points == ()
    (point,) = charts(aggregate([comparable(missing)]))[0].panels[0].points
    assert point == Point(
        method="prune-ofa", bits=32, sparsity=0.85, compression=6.666667, x=6.666667, value=91.46, from_paper=True
    )


def test_a_chart_per_model_and_panels_in_the_papers_order() -> None:
    scores = [
        replace(BASE, model=model, task=task, metric=metric, stage_id=f"{model}/{task}")
        for model in ("distilbert", "minilm-l6", "bert-base")
        for task, metric in (("qqp", "f1"), ("sst2", "accuracy"), ("squad", "f1"), ("squad", "exact_match"))
    ]
    found = charts(aggregate(scores))
    assert [(chart.subject, chart.cells) for chart in found] == [("bert-base", 3), ("distilbert", 3), ("minilm-l6", 3)]
    order = [("squad", "exact_match"), ("squad", "f1"), ("sst2", "accuracy"), ("qqp", "f1")]
    assert all([(panel.task, panel.metric) for panel in chart.panels] == order for chart in found)


def test_a_row_without_a_place_on_the_axis_is_left_out() -> None:
    (chart,) = charts(aggregate([BASE, DENSE]), axis="stored", place=lambda row: 2.5 if row.sparsity else None)
    assert [(point.method, point.x, point.compression) for point in chart.panels[0].points] == [
        ("prune-ofa", 2.5, 6.666667)
    ]


def test_the_pareto_front_holds_what_no_other_point_beats() -> None:
    def at(x: float, value: float, *, from_paper: bool = False) -> Point:
        return Point(method="m", bits=32, sparsity=0, compression=x, x=x, value=value, from_paper=from_paper)

    beaten = [at(4, 80), at(6, 84), at(10, 70)]  # by (6, 85) with more of both; by its like; at its compression
    kept = [at(1, 90), at(6, 85), at(10, 75), at(40, 60)]
    paper = at(40, 95, from_paper=True)
    panel = Panel(task="sst2", metric="accuracy", points=(*beaten, paper, *kept), dense=None)
    assert panel.front == tuple(kept)
    assert Panel(task="sst2", metric="accuracy", points=(), dense=None).front == ()
