"""Pictures: what is drawn, that it can be read in print, and that the same numbers give the same bytes."""

from __future__ import annotations

import io
import itertools
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from harness.store.store import Store
from paper_tables.figures import text as words
from paper_tables.figures.averages import average_of, joint, with_average
from paper_tables.figures.baselines import Baseline
from paper_tables.figures.curve import LearningCurve
from paper_tables.figures.draw import draw
from paper_tables.figures.draw_curve import draw_curve
from paper_tables.figures.draw_map import draw_map
from paper_tables.figures.draw_ranking import draw_ranking
from paper_tables.figures.look import method_looks
from paper_tables.figures.page import Caption, images, svg
from paper_tables.figures.pictures import FIGURE_KINDS, study_pictures
from paper_tables.figures.points import Chart, Panel, Point, moved
from paper_tables.figures.sparsity_map import KINDS, SparsityChart, SparsityMap
from paper_tables.numbers.compression import nominal_compression
from paper_tables.numbers.published import PAPER_COLUMNS
from paper_tables.numbers.rows import SeedValue
from paper_tables.numbers.study_numbers import StudyNumbers, read_numbers
from paper_tables.statistics.intervals import Interval
from paper_tables.tables.ranking_page import ranking_page

RESULTS = Path(__file__).parents[2] / "results"
CAPTION = Caption(study="mine", preset="reduced", notes=("Data are subsets of the public tasks.",))
SHIPPED = ("dense", "finetune-pruning", "prune-ofa-no-kd", "prune-ofa")
# One that is averaged first.
COLUMNS = sorted(PAPER_COLUMNS, key=lambda column: column != ("sst2", "accuracy"))
PRINTED_INCHES, SMALLEST_POINTS = 8 / 2.54, 6


def point(method: str = "prune-ofa", value: float = 80.0, *, seeds: Sequence[float] = (), **fields: object) -> Point:
    where = {"bits": 32, "sparsity": 0.0 if method == "dense" else 0.85, "n": len(seeds) or 1, **fields}
    x = nominal_compression(where["bits"], where["sparsity"])  # type: ignore[arg-type]
    values = tuple(SeedValue(n, None, seed, None) for n, seed in enumerate(seeds))
    return Point(method=method, value=value, compression=x, x=x, seeds=values, **where)  # type: ignore[arg-type]


def chart(points: Sequence[Point], panels: int = 1, subject: str = "tiny", missing: int = 0) -> Chart:
    dense = next((p.value for p in points if p.method == "dense" and not p.from_paper), None)
    chance = (Baseline("chance", 50.0, "here"), Baseline("shallow", 66.0, "here"))
    found = [Panel(task=t, metric=m, points=tuple(points), dense=dense, baselines=chance) for t, m in COLUMNS[:panels]]
    return with_average(Chart(subject=subject, panels=tuple(found), cells=14, missing=missing))


def drawn(of: Chart, caption: Caption = CAPTION) -> Figure:
    return draw(of, caption, method_looks(set(of.methods)))


def texts(figure: Figure) -> list[Text]:
    found = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def ranked(of: Chart, caption: Caption = CAPTION) -> Figure:
    average = average_of(of)
    assert average is not None
    return draw_ranking(average, caption, method_looks(set(of.methods)))


HOSTILE = "sparse-from:" + "<script>alert(1)</script>|$\\frac{a}{b}$&\n\x1b[31mred_" + "WWWW" * 20
PAPERS = [
    *(point(method, 90 + n, seeds=[89.0 + n, 91.0 + n]) for n, method in enumerate(SHIPPED)),
    point(sparsity=0.9, seeds=[79, 81]),
    point(bits=8, missing=1),
    point(sparsity=0.9, bits=8),
    *(point(method, 90.0, n=0, from_paper=True) for method in SHIPPED),
]
# As a study of the paper would be: six methods, two sparsities, two precisions, five seeds, eight metrics.
PAPER_LIKE = [
    point(method, 70.0 + n + 5 * (bits == 32) - 100 * (s - 0.85), bits=bits, sparsity=s, seeds=[70, 72, 80, 81, 65])
    for n, method in enumerate((*SHIPPED[1:], "sparse-from:lottery", "sparse-from:movement", "sparse-from:oBERT"))
    for s in (0.85, 0.9)
    for bits in (32, 8)
]
CROWD = [
    point(method, value=60.0 + s, bits=bits, sparsity=s / 100)
    for method in (*SHIPPED[1:], HOSTILE, "sparse-from:lottery", "sparse-from:other")
    for s in (50, 80, 85, 90, 95)
    for bits in (32, 8)
]
DENSE = point("dense", 93.0, seeds=[92, 93, 94, 93, 93])


def a_map(method: str, layers: int) -> SparsityMap:
    shares = tuple(tuple(0.8 + 0.01 * i + 0.001 * layer for i in range(6)) for layer in range(layers))
    return SparsityMap(
        method=method, sparsity=0.85, bits=8, shares=shares, lowest=0.8, highest=0.874, models=3, stage_ids=("s",)
    )


def a_map_chart(layers: int) -> SparsityChart:
    maps = tuple(a_map(method, layers) for method in ("prune-ofa", HOSTILE, "finetune-pruning"))
    return SparsityChart(subject="bert", kinds=KINDS, sizes=(1,) * 6, maps=maps)


CURVE = LearningCurve(
    stage_id="0123456789abcdef" * 2,
    label=f"student_pruning {HOSTILE}",
    stage_kind="student_pruning",
    steps=100_000,
    loss=((50_000, 1234.5), (100_000, 0.001)),
    sparsity=((1, 0.0), (50_001, 0.9)),
    learning_rate=((1, 0.0), (100_000, 1.7e-5)),
    rewinding=True,
)


def over_tokens(of: Chart, *references: Point) -> Chart:
    """The chart's average over tokens, three budgets of it, beside levels of other methods at each of them."""
    average = average_of(of)
    assert average is not None
    budgets = (300_000.0, 1_000_000.0, 5_000_000.0)
    panels = tuple(
        replace(
            panel,
            title=f"{of.subject}, 85 % zeros: % of dense",
            points=tuple(moved(p, x) for x in budgets for p in panel.points if p.method != "dense"),
            references=tuple(moved(each, x) for x in budgets for each in references),
        )
        for panel in average.panels * 3
    )
    return replace(average, axis="tokens", panels=panels)


LEVELS = (
    point("finetune-pruning", 85.0, interval=Interval(83.0, 87.0)),
    point("finetune-pruning-no-kd", 40.0),
    point(HOSTILE, 130.0, interval=Interval(120.0, 140.0)),
)


JOINED = joint([chart([DENSE, *PAPER_LIKE], 2, subject) for subject in ("a", "b", HOSTILE)], "all models")
assert JOINED is not None

AWKWARD = {
    "the paper's rows": lambda: drawn(chart(PAPERS, panels=8, subject="bert-base")),
    "as the paper's study": lambda: drawn(chart([DENSE, *PAPER_LIKE], panels=8, subject="bert-large")),
    "hostile and crowded": lambda: drawn(
        chart(CROWD, panels=3, subject=HOSTILE), Caption(study="m" * 100, preset=HOSTILE, notes=[HOSTILE * 9])
    ),
    "all models": lambda: drawn(JOINED),
    "one point": lambda: drawn(chart([point()])),
    "all missing": lambda: drawn(chart([], panels=2, missing=14)),
    "one method": lambda: drawn(chart([point(sparsity=s / 10, value=float(s)) for s in range(9)], panels=2)),
    "identical values": lambda: drawn(chart([point(method, 100.0) for method in SHIPPED], panels=4)),
    "ends of the scale": lambda: drawn(chart([point(value=0.0), point("dense", 100.0)], panels=2)),
    "over speed-up": lambda: drawn(
        replace(chart([DENSE, *PAPER_LIKE], panels=1), axis="speed", notes=("A machine of many words, " * 9,))
    ),
    "as stored": lambda: drawn(replace(chart([DENSE, point(value=80)], panels=2), axis="stored")),
    "over tokens": lambda: drawn(replace(chart([DENSE, *PAPER_LIKE], panels=1), axis="tokens")),
    "over tokens beside levels": lambda: drawn(over_tokens(chart([DENSE, *PAPER_LIKE], subject=HOSTILE), *LEVELS)),
    "a line a method": lambda: ranked(chart([DENSE, *PAPER_LIKE, *PAPERS[-4:]], panels=3, subject=HOSTILE)),
    "a line a method, hostile": lambda: ranked(
        chart([DENSE, *CROWD, point(HOSTILE, sparsity=0.7, reached=0.7345, missing=2)]),
        Caption(study="m" * 100, preset=HOSTILE, notes=[HOSTILE * 9]),
    ),
    "maps of 6 layers": lambda: draw_map(a_map_chart(6), CAPTION),
    "maps of 24 layers": lambda: draw_map(a_map_chart(24), CAPTION),
    "curve": lambda: draw_curve(CURVE, CAPTION),
    "curve without a rate": lambda: draw_curve(replace(CURVE, sparsity=(), learning_rate=()), CAPTION),
}


@pytest.mark.parametrize("name", AWKWARD)
def test_every_text_is_on_the_page_and_clear_of_every_other_in_print(name: str) -> None:
    check_readable(AWKWARD[name]())


@pytest.mark.parametrize("store", ["quick", "reduced"])
@pytest.mark.parametrize("kind", [kind for kind in FIGURE_KINDS if kind != "speed"])  # measured nowhere yet
def test_every_figure_of_the_committed_studies_can_be_read_in_print(store: str, kind: str) -> None:
    found = study_pictures(committed(store), [kind])
    assert found.found
    assert found.left_out == []
    for picture in found.found[:: max(1, len(found.found) - 1)]:  # the first and the last
        check_readable(picture.draw())


@cache
def committed(store: str) -> StudyNumbers:
    return read_numbers(Store(RESULTS / store), store)


def check_readable(figure: Figure) -> None:
    """At 8 cm: no text under 6 points, none off the page, no two that touch."""
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    shrunk = PRINTED_INCHES / figure.get_size_inches()[0]
    assert all(text.get_fontsize() * shrunk >= SMALLEST_POINTS - 1e-9 for text in texts(figure))
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts(figure)]
    assert len(boxes) > 5
    for text, box in boxes:
        assert box.x0 >= 0 <= box.y0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
    assert [(a, b) for (a, one), (b, two) in itertools.combinations(boxes, 2) if overlap(one, two)] == []
    for axes in figure.axes:
        assert 0 <= axes.get_position().y0 < axes.get_position().y1 <= 1
        assert 0 <= axes.get_position().x0 < axes.get_position().x1 <= 1


def overlap(one: object, two: object) -> bool:
    """Whether boxes share more than a hair; a box has room for letters with and without descenders."""
    wide = min(one.x1, two.x1) - max(one.x0, two.x0)  # type: ignore[attr-defined]
    high = min(one.y1, two.y1) - max(one.y0, two.y0)  # type: ignore[attr-defined]
    return wide > 0.5 and high > 1.5


def test_the_check_sees_texts_that_touch_run_off_the_page_or_are_small() -> None:
    for spoil in (
        lambda figure: figure.text(0.5, 0.5, "x" * 200),
        lambda figure: [figure.text(0.3, 0.5, "over"), figure.text(0.3, 0.5, "each other")],
        lambda figure: figure.text(0.01, 0.999, "small", fontsize=5),
    ):
        figure = drawn(chart([point()]))
        spoil(figure)
        with pytest.raises(AssertionError):
            check_readable(figure)


# -- what is drawn


def test_the_average_stands_first_and_is_the_largest() -> None:
    figure = drawn(chart([DENSE, point()], panels=4))
    sizes = [axes.get_position().width * axes.get_position().height for axes in figure.axes]
    assert len(sizes) == 5
    assert sizes[0] >= 2 * max(sizes[1:])
    assert figure.axes[0].get_position().y0 > max(axes.get_position().y1 for axes in figure.axes[1:])


def test_a_failed_seed_is_a_point_of_its_own_beside_the_mean_and_no_bar() -> None:
    failed = point(value=70.0, seeds=[82.0, 81.0, 83.0, 34.0])
    axes = drawn(chart([failed])).axes[0]
    (seeds,) = [line for line in axes.lines if len(line.get_ydata()) == 4]
    assert list(seeds.get_ydata()) == [82.0, 81.0, 83.0, 34.0]
    (mean,) = [line for line in axes.lines if list(line.get_ydata()) == [70.0] and line.get_markersize() > 3]
    assert seeds.get_markersize() < mean.get_markersize() / 2
    assert 0 < min(seeds.get_xdata()) - mean.get_xdata()[0] < 0.05
    assert not axes.collections


@pytest.mark.parametrize(("prunings", "conditional"), [([0, 0, 0], True), ([0, 0, 1], False), ([None] * 3, False)])
def test_a_bar_over_transfer_seeds_is_told_to_be_conditional_on_one_pruning(
    prunings: list[int | None], conditional: bool
) -> None:
    pruned = point(value=75.0, seeds=[74, 75, 76], spread_over="transfer seeds")
    seeds = tuple(seed._replace(pruning_seed=found) for seed, found in zip(pruned.seeds, prunings, strict=True))
    figure = drawn(chart([point("dense", seeds=[90, 91, 92]), replace(pruned, seeds=seeds)]))
    said = " ".join(text.get_text() for text in texts(figure))
    assert "drawn again within each task; dense's mean is taken as given." in said
    assert ("transfer seeds, conditional on one pruning, drawn" in said) == conditional


def test_levels_over_tokens_are_named_in_the_key_within_the_axis_and_apart_from_each_other() -> None:
    figure = drawn(over_tokens(chart([DENSE, *PAPER_LIKE]), *LEVELS[:2]))
    written = [text.get_text() for text in texts(figure)]
    assert written.count("finetune-pruning, pruned on the task") == 1
    assert written.count("finetune-pruning-no-kd, pruned on the task") == 1
    assert written.count("band: its 95 % interval (bootstrap)") == 1
    lines = [line for line in figure.axes[0].lines if line.get_gid() == "reference"]
    assert [set(line.get_ydata()) for line in lines] == [{85.0}, {40.0}]
    assert len({line.get_color() for line in lines}) == 2
    assert len({line.get_marker() for line in lines}) == 2
    low, high = figure.axes[0].get_ylim()
    assert low < 40.0
    assert high > 87.0


def test_over_tokens_a_marker_stands_at_its_budget_whatever_other_panels_have() -> None:
    """One method in each of two panels: each at its budget's line, not beside it."""
    found = over_tokens(chart([DENSE, point(seeds=[79, 80, 81])]))
    other = replace(found.panels[1], points=tuple(replace(p, sparsity=0.9) for p in found.panels[1].points))
    figure = drawn(replace(found, panels=(found.panels[0], other)))
    for axes in figure.axes:
        marks = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o" and line.get_markersize() > 3]
        assert marks == pytest.approx(axes.get_xticks())


def test_a_line_a_method_stands_under_its_sparsity_the_best_mean_first() -> None:
    """Of dense 80: 60 is 75 % of it, 72 is 90 %, 76 is 95 %. What the paper has is of other rows."""
    given = [
        point("dense", 80.0, seeds=[79, 81]),
        point("gordon", 60.0, seeds=[50, 60, 70], interval=None),
        point("prune-ofa", 76.0, bits=8, seeds=[75, 76, 77]),
        point("prune-ofa", 72.0, missing=1),
        point("soft-movement", 64.0, sparsity=0.9, reached=0.9273),
        point("finetune-pruning", 90.0, n=0, from_paper=True),
    ]
    figure = ranked(chart(given))
    said = [text.get_text() for text in sorted(texts(figure), key=lambda text: -text.get_position()[1])]
    where = ["dense", "dense", "85 % zeros", "prune-ofa (int8)", "prune-ofa", "gordon", "90 % zeros"]
    first = said.index("dense")
    assert said[first : first + 8] == [*where, "soft-movement (92.7 %)"]
    assert not any("finetune-pruning" in text for text in said)
    means = [
        [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1 and line.get_markersize() > 2]
        for axes in figure.axes
    ]
    assert means == [[100.0], pytest.approx([95.0, 90.0, 75.0]), pytest.approx([80.0])]
    (seeds,) = [line for line in figure.axes[1].lines if list(line.get_xdata()) == pytest.approx([62.5, 75.0, 87.5])]
    (mean,) = [line for line in figure.axes[1].lines if list(line.get_xdata()) == pytest.approx([75.0])]
    assert 0 < seeds.get_ydata()[0] - mean.get_ydata()[0] < 0.06  # inches below it, on its line
    assert {axes.get_xlim() for axes in figure.axes} == {figure.axes[0].get_xlim()}
    assert all(low > high for low, high in (axes.get_ylim() for axes in figure.axes))


def test_the_page_of_methods_has_the_numbers_of_the_figure_the_best_mean_first() -> None:
    given = [
        point("dense", 80.0, seeds=[79, 81]),
        point("gordon", 60.0, seeds=[58, 60, 62]),
        point("prune-ofa", 76.0, bits=8),
        point("soft-movement", 64.0, sparsity=0.9, reached=0.92731),
        point("finetune-pruning", 90.0, n=0, from_paper=True),
    ]
    average = average_of(chart(given))
    assert average is not None
    page = ranking_page(average)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    found = {tuple(line[:4]): line[4:] for line in lines if line[1] in ("8", "32")}
    assert list(found) == [
        ("dense", "32", "0 %", "100.00"),
        ("prune-ofa", "8", "85 %", "95.00"),
        ("gordon", "32", "85 %", "75.00"),
        ("soft-movement", "32", "92.73 %", "80.00"),
    ]
    assert [rest[1] for rest in found.values()] == ["2", "1", "3", "1"]
    low, _, high = found["gordon", "32", "85 %", "75.00"][0].partition(" to ")
    assert 72.5 <= float(low) < 75.0 < float(high) <= 77.5  # no mean of draws is outside of 58 and 62 of 80
    assert found["prune-ofa", "8", "85 %", "95.00"][0] == "-"


def test_an_averages_bar_is_its_interval() -> None:
    found = chart([point("dense", seeds=[90, 91, 92]), point(value=75.0, seeds=[74, 75, 76])])
    interval = found.panels[0].points[1].interval
    assert interval is not None
    bars = [list(line.get_ydata()) for line in drawn(found).axes[0].lines]
    assert [interval.low, interval.high] in bars


def test_dense_is_a_dashed_line_hollow_means_the_paper_and_baselines_are_lines() -> None:
    points = [point("dense", 92.0), point(value=70.0), point(value=91.46, n=0, from_paper=True)]
    axes = drawn(chart(points)).axes[1]
    flat = {line.get_ydata()[0] for line in axes.lines if line.is_dashed()}
    assert flat == {92.0, 50.0, 66.0}
    hollow = {line.get_ydata()[0] for line in axes.lines if line.get_markerfacecolor() == "none"}
    assert hollow == {91.46}


def test_the_pareto_front_steps_through_its_points() -> None:
    points = [point("dense", 92.0), point(value=80.0), point("finetune-pruning", 70.0), point(bits=8, value=79.0)]
    axes = drawn(chart(points)).axes[1]
    (front,) = [line for line in axes.lines if line.get_drawstyle() == "steps-pre"]
    assert list(front.get_ydata()) == [92.0, 80.0, 79.0]


def test_a_baseline_out_of_sight_and_an_axis_that_is_not_shared_are_told_in_words() -> None:
    flat, wide = [point(value=89.0), point("dense", 90.0)], [point(value=60.0), point("dense", 90.0)]
    panels = [chart(points, panels=2).panels[1] for points in (flat, wide)]
    panels[1] = replace(panels[1], task="qnli")
    figure = drawn(Chart(subject="tiny", panels=tuple(panels), cells=1, missing=0))
    said = " ".join(text.get_text() for text in texts(figure))
    assert "y axes, where a shared one would flatten a panel: sst2 accuracy; qnli accuracy." in said
    assert "Below the axis: sst2 accuracy 50 (chance), sst2 accuracy 66 (shallow features, at most)." in said


def test_a_baseline_that_no_model_reaches_is_told_to_be_above() -> None:
    """A model that has learnt nothing: what shallow features reach is no floor that it stands on."""
    figure = drawn(chart([point(value=40.0), point("dense", 41.0)]))
    said = " ".join(text.get_text() for text in texts(figure))
    assert "Above the axis: " in said
    assert "sst2 accuracy 66 (shallow features, at most)" in said.partition("Above the axis: ")[2]
    assert "Below the axis" not in said


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        ("nominal", {"6.7×", "85 %", "1×", "0 %"}),
        ("stored", {"6.7×", "85 %", "1×", "0 %"}),
        ("tokens", {"6.67", "1"}),
    ],
)
def test_ticks_tell_compression_and_zeros_and_the_axis_says_that_it_is_logarithmic(
    axis: str, expected: set[str]
) -> None:
    figure = drawn(replace(chart([DENSE, point()]), axis=axis))  # type: ignore[type-var]
    written = {text.get_text() for text in texts(figure)}
    assert expected <= written
    assert any("(log scale" in text for text in written)


def test_an_axis_with_a_stretch_cut_out_says_so() -> None:
    points = [DENSE, point(), point(bits=8), point(sparsity=0.9)]
    assert any("(log scale, cut at //)" in text.get_text() for text in texts(drawn(chart(points))))


@pytest.mark.parametrize(
    ("points", "missing", "expected"),
    [
        ([point()], 0, "no cell of 14 missing; each point is one seed"),
        ([point(n=2), point(bits=8, n=2)], 2, "2 of 14 cells missing; marks are means over n = 2 seeds"),
        ([point(n=3), point(bits=8, n=1)], 2, "2 of 14 cells missing; marks are means over n = 1 to 3 seeds"),
        ([], 14, "14 of 14 cells missing"),
    ],
)
def test_missing_cells_and_seeds_are_counted_under_the_title(points: list[Point], missing: int, expected: str) -> None:
    said = " ".join(text.get_text() for text in texts(drawn(chart(points, missing=missing))))
    assert f"study mine, preset reduced; {expected}" in said


def test_the_key_names_only_what_occurs() -> None:
    names = {
        *("prune-ofa", "dense", "filled: fp32 (32 bits)", "half filled: int8 (8 bits)", "pale: some seeds missing"),
        *("hollow: the paper (arXiv 2111.05754)", "small: single seeds", "bar: 95 % interval (bootstrap)"),
        *("dense fp32", "Pareto front of the means", "chance", "shallow features, at most"),
    }

    def key(of: list[Point]) -> set[str]:
        return {text.get_text() for text in texts(drawn(chart(of)))} & names

    assert key([point()]) == {"prune-ofa"}  # at 80 alone, the baselines are out of sight
    low = point("finetune-pruning", 55.0)  # brings the baselines into sight
    everything = [DENSE, low, point(value=80, bits=8, missing=1, seeds=[79, 80, 81]), point(from_paper=True)]
    assert key(everything) == names


def test_the_studys_warning_stands_under_the_picture() -> None:
    figure = drawn(chart([DENSE, point()]))
    (warning,) = [text for text in texts(figure) if "subsets of the public tasks" in text.get_text()]
    assert warning.get_position()[1] < min(axes.get_position().y0 for axes in figure.axes)


# -- text


def test_text_is_cleaned_and_wrapped_to_the_inches_it_has() -> None:
    assert words.clean("a\x1b[31m\nb\u202ec\u4e00 ") == "a [31m b c?"
    lines = words.wrapped("one two " + "W" * 60, 1.0)
    assert lines[0] == "one two"
    assert "".join(lines[1:]) == "W" * 60
    assert all(words.width(line) <= 1.0 for line in lines)
    assert words.shortened(["one", "two", "three"], 2) == ["one", "t …"]
    assert words.wrapped(" \n ", 1.0) == []


# -- bytes


def test_the_same_numbers_give_the_same_bytes_whatever_the_users_settings() -> None:
    import matplotlib

    for draw_again in (AWKWARD["the paper's rows"], AWKWARD["maps of 6 layers"], AWKWARD["curve"]):
        first = images(draw_again())
        with matplotlib.rc_context({"font.size": 20, "savefig.dpi": 30, "svg.fonttype": "path", "axes.grid": False}):
            assert images(draw_again()) == first
        assert b"<dc:date" not in first["svg"].lower()


def test_a_png_is_eight_centimetres_at_300_dots_and_an_svg_holds_its_text_as_text() -> None:
    figure = drawn(chart(PAPERS, subject="bert-base & <co> $x$"))
    found = images(figure)
    picture = Image.open(io.BytesIO(found["png"]))
    assert picture.size == pytest.approx([300 * inches for inches in figure.get_size_inches()], abs=1)
    assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    shown = {tuple(color) for color in np.asarray(picture.convert("RGB")).reshape(-1, 3)[::7]}
    for look in method_looks(SHIPPED).values():  # the palette keeps the methods' colours
        wanted = [round(255 * part) for part in to_rgb(look.color)]
        assert min(max(abs(int(a) - b) for a, b in zip(color, wanted, strict=True)) for color in shown) <= 4
    assert svg(figure).encode() == found["svg"]
    root = ElementTree.fromstring(found["svg"])
    written = {"".join(text.itertext()).strip() for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert written >= {*SHIPPED, "sst2 accuracy, %", "6.7×", "10×", "27×", "40×", "90 %"}
    assert any(text.startswith("bert-base & <co> $x$: accuracy") for text in written)


def test_the_average_alone_is_a_column_of_its_own() -> None:
    alone = average_of(chart([DENSE, point()], panels=4))
    assert alone is not None
    figure = drawn(alone)
    assert len(figure.axes) == 1
    assert figure.get_size_inches()[0] == pytest.approx(8 / 2.54)
    assert figure.get_size_inches()[1] < 4.2
