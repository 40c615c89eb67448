"""Where numbers stand on a figure: limits of y axes, ticks, and places along the x axis."""

from __future__ import annotations

import itertools
import math

import pytest

from paper_tables.figures.baselines import Baseline
from paper_tables.figures.points import Panel, Point
from paper_tables.figures.scale import places, scales, ticks
from paper_tables.numbers.compression import nominal_compression


def point(value: float = 80.0, method: str = "prune-ofa", sparsity: float = 0.85, bits: int = 32) -> Point:
    x = nominal_compression(bits, sparsity)
    return Point(method=method, bits=bits, sparsity=sparsity, compression=x, x=x, value=value)


def panel(task: str, low: float, high: float, metric: str = "accuracy", chance: float | None = None) -> Panel:
    baselines = () if chance is None else (Baseline("chance", chance, "here"),)
    return Panel(task=task, metric=metric, points=(point(low), point(high)), dense=None, baselines=baselines)


def test_panels_of_a_family_share_their_axis_and_families_do_not() -> None:
    shared = [panel("sst2", 60, 90), panel("qnli", 70, 85), panel("mnli", 65, 80)]
    found = scales(
        [*shared, panel("squad", 10, 20, "f1"), panel("squad", 5, 9, "exact_match"), panel("qqp", 40, 90, "f1")]
    )
    assert [(scale.low, scale.high) for scale in found[:3]] == [(pytest.approx(57.6), pytest.approx(92.4))] * 3
    assert found[3] == found[4]
    assert found[3].low == pytest.approx(5 - 0.08 * 15)
    assert len({found[0], found[3], found[5]}) == 3


def test_a_panel_that_would_use_less_than_a_quarter_of_the_height_gets_an_axis_of_its_own() -> None:
    # All together 50 to 90: a quarter are 10 points.
    wide, just, flat = panel("sst2", 50, 90), panel("qqp", 75, 85), panel("qnli", 86, 88)
    found = scales([wide, just, flat])
    assert found[0] == found[1] != found[2]
    assert found[2].low == pytest.approx(86 - 0.16)
    assert scales([wide, panel("qqp", 75, 84.9), flat])[1].high < 86


def test_panels_far_apart_share_nothing() -> None:
    found = scales([panel("sst2", 10, 13), panel("qnli", 90, 93)])
    assert found[0].high < found[1].low


def test_a_baseline_is_in_sight_where_the_numbers_still_use_half_of_the_height() -> None:
    (seen,) = scales([panel("sst2", 70, 90, chance=50)])
    assert seen.low < 50
    (hidden,) = scales([panel("sst2", 71, 90, chance=50)])
    assert hidden.low > 50


def test_equal_values_get_two_points_of_percent() -> None:
    (found,) = scales([panel("sst2", 100, 100)])
    assert (found.low, found.high) == (pytest.approx(98.84), pytest.approx(101.16))


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (49, 93, 5, [50, 60, 70, 80, 90]),
        (85.8, 89.4, 5, [86, 87, 88, 89]),
        (0, 3000, 6, [0, 1000, 2000, 3000]),
        (-0.5, 0.5, 5, [-0.4, -0.2, 0, 0.2, 0.4]),
        (0, 0.0017, 5, [0, 0.0005, 0.001, 0.0015]),
    ],
)
def test_ticks_are_round_and_few(low: float, high: float, most: int, expected: list[float]) -> None:
    assert ticks(low, high, most) == pytest.approx(expected)


@pytest.mark.parametrize("width", [1.15, 2.6])
def test_places_are_logarithmic_within_the_edges(width: float) -> None:
    found = places([point(sparsity=s, bits=bits) for s in (0.5, 0.75, 0.9) for bits in (32, 8)], width)
    centres = [
        found.centres[nominal_compression(bits, s)]
        for s, bits in ((0.5, 32), (0.75, 32), (0.5, 8), (0.75, 8), (0.9, 8))
    ]
    # Compressions 2, 4, 8, 16 and 40: equal steps for doubling.
    steps = [after - before for before, after in itertools.pairwise(centres)]
    assert steps[:3] == pytest.approx([steps[0]] * 3)
    assert steps[3] == pytest.approx(steps[0] * math.log2(2.5))
    assert found.cut is None
    assert centres[0] > 0.05
    assert centres[-1] < width - 0.05


def test_the_empty_stretch_behind_dense_is_cut_out() -> None:
    found = places([point(method="dense", sparsity=0), point(), point(sparsity=0.9), point(sparsity=0.9, bits=8)], 2.6)
    dense, first, second, last = (found.centres[x] for x in (1.0, 6.666667, 10.0, 40.0))
    assert found.cut is not None
    assert dense < found.cut < first
    assert first - dense == pytest.approx(0.3)
    # Behind the cut it is logarithmic.
    assert (second - first) / (last - first) == pytest.approx(math.log(1.5) / math.log(6), rel=1e-5)


def test_markers_at_one_place_stand_side_by_side_in_order_and_neighbours_stay_apart() -> None:
    methods = ("finetune-pruning", "prune-ofa", "other")
    points = [point(method=method, sparsity=s) for s in (0.85, 0.9) for method in methods]
    found = places(points, 1.15)
    xs = [found.of(each) for each in points]
    assert xs == sorted(xs)
    assert min(after - before for before, after in itertools.pairwise(xs)) >= found.step * 0.999
    assert found.of(points[1]) == pytest.approx(found.centres[6.666667])


def test_places_of_almost_one_value_are_one() -> None:
    stored = [
        Point(method=m, bits=32, sparsity=0.9, compression=10, x=x, value=1) for m, x in (("a", 1.0), ("b", 1.001))
    ]
    found = places(stored, 2.0)
    assert found.centres[1.0] == found.centres[1.001] == 1.0
    assert found.of(stored[0]) < 1.0 < found.of(stored[1])
