"""Pictures: what is drawn, that it can be read, and that the same numbers give the same bytes."""

from __future__ import annotations

import itertools
import re
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from paper_tables.figures.draw import Caption, draw, images, method_colors
from paper_tables.figures.points import Chart, Panel, Point, nominal_compression
from paper_tables.numbers.published import PAPER_COLUMNS

CAPTION = Caption(study="mine", preset="reduced", notes=("Data are subsets of the public tasks.",))
SHIPPED = ("dense", "finetune-pruning", "prune-ofa-no-kd", "prune-ofa")


def point(method: str = "prune-ofa", value: float = 80.0, **fields: object) -> Point:
    where = {"bits": 32, "sparsity": 0.0 if method == "dense" else 0.85, "n": 1, **fields}
    compression = nominal_compression(where["bits"], where["sparsity"])  # type: ignore[arg-type]
    return Point(method=method, value=value, compression=compression, **where)  # type: ignore[arg-type]


def chart(points: Sequence[Point], panels: int = 1, model: str = "tiny", missing: int = 0) -> Chart:
    dense = next((p.value for p in points if p.method == "dense" and not p.from_paper), None)
    drawn = [Panel(task=t, metric=m, points=tuple(points), dense=dense) for t, m in PAPER_COLUMNS[:panels]]
    return Chart(model=model, panels=tuple(drawn), cells=14, missing=missing)


def drawn(of: Chart, caption: Caption = CAPTION) -> Figure:
    return draw(of, caption, method_colors({p.method for panel in of.panels for p in panel.points}))


def texts(figure: Figure) -> list[Text]:
    found = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


PAPERS = [
    *(point(method, 90 + n / 5, n=2, spread=0.4, spread_over="transfer seeds") for n, method in enumerate(SHIPPED)),
    point(sparsity=0.9, n=2),
    point(bits=8, n=1, missing=1),
    point(sparsity=0.9, bits=8),
    *(point(method, 90.0, n=0, from_paper=True) for method in SHIPPED),
]
LONG = "sparse-from:" + "a-name-that-somebody-gave-to-a-checkpoint-" * 3
MANY = [
    point(method, value=60.0 + s, bits=bits, sparsity=s / 100)
    for method in (*SHIPPED[1:], LONG, "sparse-from:lottery", "sparse-from:other")
    for s in (50, 80, 85, 90, 95)
    for bits in (32, 8)
]
LARGEST = chart(MANY, panels=7, model="a/model $with$ a name that takes more than one line " * 3)
AWKWARD = {
    "the paper's rows": chart(PAPERS, panels=8, model="bert-base"),
    "one point": chart([point()]),
    "all missing": chart([], panels=2, missing=14),
    "one method": chart([point(sparsity=s / 10, value=float(s)) for s in range(9)], panels=3),
    "6 methods, 7 metrics": LARGEST,
    "identical values": chart([point(method, 100.0) for method in SHIPPED], panels=4),
    "ends of the scale": chart([point(value=0.0), point("dense", 100.0, spread=3.0)], panels=2),
}


@pytest.mark.parametrize(
    "awkward",
    [pytest.param(of, id=name, marks=[pytest.mark.slow] * (of is LARGEST)) for name, of in AWKWARD.items()],
)
def test_every_text_is_on_the_page_large_enough_and_clear_of_every_other(awkward: Chart) -> None:
    figure = drawn(awkward)
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts(figure)]
    boxes = [(text, box) for text, box in boxes if box.width > 0]
    assert len(boxes) > 5
    for text, box in boxes:
        assert box.x0 >= 0 <= box.y0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
    shown = [(text, box) for text, box in boxes if not _is_hidden_tick(figure, text, box)]
    assert [(a, b) for (a, one), (b, two) in itertools.combinations(shown, 2) if one.overlaps(two)] == []
    assert all(text.get_fontsize() >= 8 for text in texts(figure))


def _is_hidden_tick(figure: Figure, text: str, box: object) -> bool:
    """Matplotlib makes labels also for ticks outside the limits, and does not draw them."""
    ticks = re.fullmatch(r"[−0-9.]+", text)
    inside = [a.bbox.y0 - 1 <= (box.y0 + box.y1) / 2 <= a.bbox.y1 + 1 for a in figure.axes]  # type: ignore[attr-defined]
    return bool(ticks) and not any(inside)


def test_the_dense_reference_is_a_dashed_line_and_hollow_means_the_paper() -> None:
    points = [point("dense", 92.0), point(value=90.0), point(value=91.46, n=0, from_paper=True)]
    (axes,) = drawn(chart(points)).axes
    (reference,) = [line for line in axes.lines if line.is_dashed()]
    assert set(reference.get_ydata()) == {92.0}
    hollow = {line.get_ydata()[0] for line in axes.lines if line.get_markerfacecolor() == "none"}
    assert hollow == {91.46}


def test_precision_is_the_marker_and_the_method_the_colour() -> None:
    figure = drawn(chart([point(value=90.0), point(value=89.0, bits=8), point("finetune-pruning", 85.0)]))
    (axes,) = figure.axes
    marks = {float(line.get_ydata()[0]): (line.get_marker(), line.get_color()) for line in axes.lines}
    colors = method_colors(SHIPPED)
    assert marks == {
        90.0: ("o", colors["prune-ofa"]),
        89.0: ("s", colors["prune-ofa"]),
        85.0: ("o", colors["finetune-pruning"]),
    }


def test_markers_at_one_compression_stand_side_by_side_in_one_order_and_near_it() -> None:
    (axes,) = drawn(chart([point(method, 90.0) for method in SHIPPED[1:]])).axes
    places = [float(line.get_xdata()[0]) for line in axes.lines]
    assert places == sorted(places)
    assert len(set(places)) == 3
    assert places[1] == pytest.approx(1 / 0.15)
    assert all(abs(place / places[1] - 1) < 0.13 for place in places)


def test_error_bars_are_the_spread() -> None:
    (axes,) = drawn(chart([point(value=90.0, n=3, spread=1.5, spread_over="transfer seeds")])).axes
    (bar,) = [c.get_segments()[0] for c in axes.collections]
    assert [y for _, y in bar] == [88.5, 91.5]


@pytest.mark.parametrize(
    ("points", "missing", "expected"),
    [
        ([point()], 0, "no cell of 14 missing; each point is one seed"),
        ([point(n=2), point(bits=8, n=2)], 2, "2 of 14 cells missing; each point is the mean over n = 2 seeds"),
        ([point(n=3), point(bits=8, n=1)], 2, "2 of 14 cells missing; each point is the mean over n = 1 to 3 seeds"),
        ([], 14, "14 of 14 cells missing"),
    ],
)
def test_missing_cells_and_seeds_are_counted_under_the_title(points: list[Point], missing: int, expected: str) -> None:
    assert expected in [text.get_text() for text in texts(drawn(chart(points, missing=missing)))]


def test_the_legend_names_only_marks_that_occur() -> None:
    def key(of: list[Point]) -> set[str]:
        return {text.get_text() for legend in drawn(chart(of)).legends for text in legend.get_texts()}

    assert key([point()]) == {"prune-ofa", "fp32 (32 bits)"}
    assert key([point(bits=8, missing=1), point("dense", spread=1.0, spread_over="pruning seeds")]) == {
        "prune-ofa",
        "dense",
        "fp32 (32 bits)",
        "int8 (8 bits)",
        "half filled: some seeds missing",
        "dense fp32, for reference",
        "± standard deviation over pruning seeds",
    }
    assert "hollow: the paper (arXiv 2111.05754)" in key([point(from_paper=True)])


def test_colours_are_distinct_and_do_not_depend_on_who_else_is_shown() -> None:
    crowd = [*SHIPPED, *(f"sparse-from:{n}" for n in range(20))]
    assert len(set(method_colors(crowd).values())) == len(crowd)
    alone = method_colors(["prune-ofa"]) | method_colors(["sparse-from:mine"])
    assert method_colors([*SHIPPED, "sparse-from:mine"]).items() >= alone.items()


def test_the_same_numbers_give_the_same_bytes_whatever_the_users_settings() -> None:
    import matplotlib

    colors = method_colors(SHIPPED)
    first = images(chart(PAPERS), CAPTION, colors)
    with matplotlib.rc_context({"font.size": 20, "savefig.dpi": 30, "svg.fonttype": "path", "axes.grid": False}):
        assert images(chart(PAPERS), CAPTION, colors) == first
    assert b"date" not in first["svg"].lower()


def test_a_png_is_as_large_as_said_and_an_svg_holds_its_text_as_text() -> None:
    of = chart(PAPERS, model="bert-base & <co> $x$")
    figure = drawn(of)
    found = images(of, CAPTION, method_colors(SHIPPED))
    assert found["png"][:8] == b"\x89PNG\r\n\x1a\n"
    inches = figure.get_size_inches()
    assert struct.unpack(">II", found["png"][16:24]) == (int(inches[0] * 150), int(inches[1] * 150))
    root = ElementTree.fromstring(found["svg"])
    written = {"".join(text.itertext()).strip() for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert written >= {*SHIPPED, "squad, exact match", "6.7×", "10×", "27×", "40×", "percent"}
    assert any(text.startswith("bert-base & <co> $x$: accuracy against") for text in written)
