"""Charts as pictures: accuracy over nominal compression, a panel per metric, as PNG and SVG.

The same charts give the same bytes with the same matplotlib: its own font, no date, no setting of the user's.
Numbers are decided in `points`; nothing is computed here but places on the page, in inches.
"""

from __future__ import annotations

import colorsys
import hashlib
import io
import itertools
import math
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.wording import counted
from paper_tables.figures.points import Chart, Panel, Point
from paper_tables.numbers.rows import method_title

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

ImageFormat = Literal["png", "svg"]
DOTS_PER_INCH = 150

# Distinct for people who do not see red and green as two colours: seaborn's "colorblind", then Tol's "muted".
_COLORS_OF_KNOWN = {
    "dense": "#4d4d4d",
    "finetune-pruning": "#de8f05",
    "prune-ofa": "#0173b2",
    "prune-ofa-no-kd": "#029e73",
}
_COLORS_OF_OTHERS = ("#cc3311", "#cc78bc", "#56b4e9", "#8c5a2b", "#332288", "#882255", "#999933")

_MARKERS = {32: "o", 8: "s"}
_PRECISIONS = {32: "fp32 (32 bits)", 8: "int8 (8 bits)"}
_METRICS = {"exact_match": "exact match", "f1": "F1", "accuracy": "accuracy"}
_TASKS = {"mnli": "mnli (matched)", "mnli-mm": "mnli (mismatched)"}

_X_LABEL = "nominal encoder compression (32-bit dense = 1×)"

_MARKER_SIZE, _RING_SIZE = 6.5, 9.5  # points: the paper's ring shows round a marker of the same value
_SIDE_STEP = 0.05  # decades: about a marker's width
_KEY_LETTERS = 28
_KEY_STYLE: Mapping[str, Any] = {
    "alignment": "left",
    "borderaxespad": 0.0,
    "borderpad": 0.0,
    "frameon": False,
    "handlelength": 1.6,
    "loc": "upper left",
}
_MOST_NOTE_LINES = 4

# Inches.
_MARGIN, _LINE, _GAP = 0.14, 0.18, 0.12
_PANEL_HEIGHT, _ABOVE_PANEL, _BELOW_PANEL = 1.95, 0.32, 0.3
_SLOT_HEIGHT = _ABOVE_PANEL + _PANEL_HEIGHT + _BELOW_PANEL
_LEFT_OF_PANEL, _RIGHT_OF_PANEL, _Y_LABEL = 0.62, 0.1, 0.54
_WIDTH_OF_COLUMNS = {1: 5.6, 2: 7.4, 3: 11.0}  # three fill an A4 page on its side
_LETTERS_PER_INCH = {12: 9.0, 9: 14.5, 8: 16.5}  # by font size, on the safe side of the font's mean

_Place = tuple[float, str, int]  # compression, method, bits
_Look = Literal["filled", "half", "hollow"]


@dataclass(frozen=True, kw_only=True)
class Caption:
    """What is written round the panels. notes: what a reader must know before using a number, one sentence or more."""

    study: str
    preset: str
    notes: Sequence[str] = ()


def method_colors(methods: Collection[str]) -> dict[str, str]:
    """A colour for each method: the same in every figure for the shipped ones, and for others as far as names allow.

    Another method's colour follows from its name; only where two want one colour does the later name take the next
    free one. More methods than colours get evenly spaced hues, distinct but no longer safe for everyone.
    """
    colors = {method: color for method, color in _COLORS_OF_KNOWN.items() if method in methods}
    free = list(_COLORS_OF_OTHERS)
    others = sorted(set(methods) - set(colors))
    crowded = max(1, len(others) - len(free))
    for number, method in enumerate(others):
        if free:
            wanted = int.from_bytes(hashlib.sha256(method.encode()).digest()[:4], "big") % len(_COLORS_OF_OTHERS)
            color = next(c for c in (*_COLORS_OF_OTHERS[wanted:], *_COLORS_OF_OTHERS) if c in free)
            free.remove(color)
        else:
            hue = (number - len(_COLORS_OF_OTHERS)) / crowded
            color = "#{:02x}{:02x}{:02x}".format(*(round(255 * c) for c in colorsys.hls_to_rgb(hue, 0.4, 0.8)))
        colors[method] = color
    return colors


def images(chart: Chart, caption: Caption, colors: Mapping[str, str]) -> dict[str, bytes]:
    """The chart's picture as PNG and as SVG (its text kept as text)."""
    figure = draw(chart, caption, colors)
    return {"png": _encoded(figure, "png"), "svg": _encoded(figure, "svg")}


def draw(chart: Chart, caption: Caption, colors: Mapping[str, str]) -> Figure:
    """The chart on a page of its own, as high as it needs. colors: of every method, see `method_colors`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 2 if len(chart.panels) == 4 else min(len(chart.panels), 3)
    page = _Page(width=_WIDTH_OF_COLUMNS[columns], columns=columns)
    with _style():
        figure = Figure(figsize=(page.width, page.width), dpi=DOTS_PER_INCH)
        FigureCanvasAgg(figure)  # measures text
        header, footer = _header(chart, caption, page), _footer(chart, caption, page)
        keys, sizes = _fitting_keys(figure, chart, colors, page)
        keys_height = max((height for _, height in sizes), default=0.0)
        panels_height = math.ceil(len(chart.panels) / columns) * _SLOT_HEIGHT
        head, foot = sum(line.height for line in header), sum(line.height for line in footer)
        height = head + panels_height + _LINE + keys_height + foot + 2 * _MARGIN + 2 * _GAP
        figure.set_size_inches(page.width, height)

        top = _write(figure, header, height - _MARGIN)
        _draw_panels(figure, chart, colors, page, top)
        top = _write(figure, [_Line(_X_LABEL, x=0.5, align="center")], top - panels_height) - _GAP
        left = _MARGIN
        for key, (width, _) in zip(keys, sizes, strict=True):
            key.set_loc("upper left")
            key.set_bbox_to_anchor((left / page.width, top / height), transform=figure.transFigure)
            left += width + 2 * _GAP
        _write(figure, footer, top - keys_height - _GAP)
    return figure


@dataclass(frozen=True, kw_only=True)
class _Page:
    """Of `columns` panels side by side. Everything in inches."""

    width: float
    columns: int

    @property
    def slot_width(self) -> float:
        return (self.width - 2 * _MARGIN) / self.columns

    @property
    def panel_width(self) -> float:
        return self.slot_width - _LEFT_OF_PANEL - _RIGHT_OF_PANEL

    def wrapped(self, text: str, size: int) -> list[str]:
        """Lines that fit the page; a name longer than a line is broken, not cut off."""
        return textwrap.wrap(text, int((self.width - 2 * _MARGIN) * _LETTERS_PER_INCH[size]))


@dataclass(frozen=True)
class _Line:
    """One line of text. x: share of the width, None for the left margin."""

    text: str
    size: int = 9
    weight: str = "normal"
    color: str = "#262626"
    x: float | None = None
    align: str = "left"

    @property
    def height(self) -> float:
        return self.size / 9 * _LINE


def _write(figure: Figure, lines: Sequence[_Line], top: float) -> float:
    """Lines under each other from `top` (inches above the page's foot); returns where they end."""
    width, height = figure.get_size_inches()
    for line in lines:
        figure.text(
            _MARGIN / width if line.x is None else line.x,
            top / height,
            line.text,
            fontsize=line.size,
            fontweight=line.weight,
            color=line.color,
            ha=line.align,
            va="top",
        )
        top -= line.height
    return float(top)


@contextmanager
def _style() -> Iterator[None]:
    """Matplotlib as it comes, with seaborn's grid, whatever the user's settings say; the font is matplotlib's own."""
    import matplotlib.style
    import seaborn

    settings: dict[str, Any] = {
        **seaborn.axes_style("whitegrid"),
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],  # it comes with matplotlib; rest: for SVG
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.labelsize": 9,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 9,
        "legend.title_fontsize": 9,
        "axes.edgecolor": "#888888",
        "axes.linewidth": 0.8,
        "grid.color": "#e6e6e6",
        "text.parse_math": False,  # a dollar in a name is a dollar
        "svg.fonttype": "none",
        "svg.hashsalt": "encoder-compression-harness",
    }
    with matplotlib.style.context(["default", settings], after_reset=True):
        yield


def _encoded(figure: Figure, form: ImageFormat) -> bytes:
    content = io.BytesIO()
    metadata = {"Software": None} if form == "png" else {"Date": None, "Creator": None}
    with _style():
        figure.savefig(content, format=form, dpi=DOTS_PER_INCH, metadata=metadata)
    return content.getvalue()


def _header(chart: Chart, caption: Caption, page: _Page) -> list[_Line]:
    title = page.wrapped(f"{chart.model}: accuracy against nominal compression", 12)
    below = [f"study {caption.study}, preset {caption.preset}", _counts(chart)]
    return [
        *(_Line(line, size=12, weight="bold") for line in title),
        *(_Line(line) for text in below for line in page.wrapped(text, 9)),
    ]


def _counts(chart: Chart) -> str:
    """How many cells are missing, and the seeds behind a point."""
    cells = (
        f"{chart.missing} of {counted(chart.cells, 'cell')} missing"
        if chart.missing
        else f"no cell of {chart.cells} missing"
    )
    seeds = {point.n for panel in chart.panels for point in panel.points if not point.from_paper}
    if not seeds:
        return cells
    if seeds == {1}:
        return f"{cells}; each point is one seed"
    n = f"{max(seeds)}" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
    return f"{cells}; each point is the mean over n = {n} seeds"


def _footer(chart: Chart, caption: Caption, page: _Page) -> list[_Line]:
    found = []
    if any(offset for offset in _offsets(chart).values()):
        found.append("Points at one compression stand side by side.")
    lines = page.wrapped(" ".join([*found, *caption.notes]), 8)
    if len(lines) > _MOST_NOTE_LINES:
        lines = [*lines[: _MOST_NOTE_LINES - 1], f"{lines[_MOST_NOTE_LINES - 1][:-2].rstrip()} …"]
    return [_Line(line, size=8, color="#4d4d4d") for line in lines]


def _draw_panels(figure: Figure, chart: Chart, colors: Mapping[str, str], page: _Page, top: float) -> None:
    """All panels, left to right and down, under `top` (inches above the page's foot); they share the x axis."""
    offsets = _offsets(chart)
    compressions = sorted({point.compression for panel in chart.panels for point in panel.points}) or [1.0]
    room = 0.07 + max((abs(offset) for offset in offsets.values()), default=0.0)
    low, high = math.log10(compressions[0]) - room, math.log10(compressions[-1]) + room
    if len(compressions) == 1:
        low, high = low - 0.3, high + 0.3
    labelled = _labelled(compressions, (high - low) / page.panel_width)
    height = figure.get_size_inches()[1]
    for number, panel in enumerate(chart.panels):
        line, column = divmod(number, page.columns)
        left = _MARGIN + column * page.slot_width + _LEFT_OF_PANEL
        foot = top - line * _SLOT_HEIGHT - _ABOVE_PANEL - _PANEL_HEIGHT
        axes = figure.add_axes(
            (left / page.width, foot / height, page.panel_width / page.width, _PANEL_HEIGHT / height)
        )
        axes.set_xscale("log")
        axes.set_xlim(10**low, 10**high)
        axes.set_xticks(labelled, [_times(compression) for compression in labelled])
        axes.set_xticks([c for c in compressions if c not in labelled], [], minor=True)
        axes.set_title(f"{_TASKS.get(panel.task, panel.task)}, {_METRICS.get(panel.metric, panel.metric)}", loc="left")
        if column == 0:
            axes.set_ylabel("percent")
            axes.yaxis.set_label_coords(-_Y_LABEL / page.panel_width, 0.5)
        _draw_panel(axes, panel, colors, offsets)


def _draw_panel(axes: Axes, panel: Panel, colors: Mapping[str, str], offsets: Mapping[_Place, float]) -> None:
    if not panel.points:
        axes.set_ylim(0, 100)
        axes.grid(visible=False)
        axes.text(0.5, 0.5, "no result yet", transform=axes.transAxes, ha="center", va="center", color="#4d4d4d")
        return
    axes.set_ylim(*_limits(panel))
    axes.locator_params(axis="y", nbins=5)
    if panel.dense is not None:
        axes.axhline(panel.dense, color=_COLORS_OF_KNOWN["dense"], linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    series: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for point in panel.points:
        x = 10 ** (math.log10(point.compression) + offsets[_place(point)])
        color = colors[point.method]
        if not point.from_paper:
            series.setdefault((point.method, point.bits), []).append((x, point.value))
        if point.spread is not None:
            axes.errorbar(
                x, point.value, yerr=point.spread, ecolor=color, elinewidth=1.2, capsize=2.5, fmt="none", zorder=3
            )
        axes.plot([x], [point.value], **_mark(point.bits, color, _look(point)))
    for (method, _), places in series.items():
        if len(places) > 1:
            axes.plot(*zip(*sorted(places), strict=True), color=colors[method], linewidth=1, alpha=0.5, zorder=2)


def _look(point: Point) -> _Look:
    return "hollow" if point.from_paper else "half" if point.missing else "filled"


def _mark(bits: int, color: str, look: _Look) -> dict[str, Any]:
    """How a marker is drawn, on the axes and in the legend: hollow for the paper's, half for one short of seeds."""
    mark = {"marker": _MARKERS[bits], "linestyle": "none", "color": color, "clip_on": False, "zorder": 5}
    if look == "hollow":
        return {**mark, "markersize": _RING_SIZE, "markerfacecolor": "none", "markeredgewidth": 1.3}
    if look == "half":
        return {**mark, "markersize": _MARKER_SIZE, "fillstyle": "bottom", "markerfacecoloralt": "white", "zorder": 4}
    return {**mark, "markersize": _MARKER_SIZE, "markeredgecolor": "white", "markeredgewidth": 0.5, "zorder": 4}


def _limits(panel: Panel) -> tuple[float, float]:
    """Of the y axis: all points with their error bars and a margin, two points of percent at least, within 0 to 100."""
    spreads = [(point.value, point.spread or 0.0) for point in panel.points]
    low = max(0.0, min(value - spread for value, spread in spreads))
    high = min(100.0, max(value + spread for value, spread in spreads))
    if high - low < 2:
        low, high = (low + high) / 2 - 1, (low + high) / 2 + 1
    span = high - low
    edge = 0.05 * span  # a marker at 0 or 100 is seen whole
    return max(-edge, low - 0.12 * span), min(100 + edge, high + 0.12 * span)


def _offsets(chart: Chart) -> dict[_Place, float]:
    """By how many decades a marker stands beside its compression, so that equal values do not cover each other.

    The same in all panels. Ours and the paper's number of a cell share a place. Neighbouring compressions stay apart.
    """
    taken: dict[float, dict[_Place, None]] = {}
    for panel in chart.panels:
        for point in panel.points:
            taken.setdefault(point.compression, {})[_place(point)] = None
    logarithms = sorted(math.log10(compression) for compression in taken)
    gap = min((after - before for before, after in itertools.pairwise(logarithms)), default=1.0)
    most = max((len(places) for places in taken.values()), default=1)
    step = min(_SIDE_STEP, gap / (most + 1))
    return {
        place: step * (number - (len(places) - 1) / 2)
        for places in taken.values()
        for number, place in enumerate(places)
    }


def _place(point: Point) -> _Place:
    return point.compression, point.method, point.bits


def _labelled(compressions: Sequence[float], decades_per_inch: float) -> list[float]:
    """Which of them get a tick label: the ends, then from the left every one whose label has room."""
    chosen = [compressions[0]]
    for compression in (compressions[-1], *compressions[1:-1]):
        if all(
            abs(math.log10(compression / other)) > (_half_width(compression) + _half_width(other)) * decades_per_inch
            for other in chosen
        ):
            chosen.append(compression)
    return sorted(chosen)


def _half_width(compression: float) -> float:
    """Of its tick label with a little air, in inches: widths of the font's digit, point and × at 8 points."""
    label = _times(compression)
    digits = sum(letter.isdigit() for letter in label)
    return (0.071 * digits + 0.035 * label.count(".") + 0.093 + 0.02) / 2


def _times(compression: float) -> str:
    """1×, 6.7×, 27×."""
    return f"{compression:.1f}".removesuffix(".0") + "×" if compression < 10 else f"{compression:.0f}×"


def _fitting_keys(
    figure: Figure, chart: Chart, colors: Mapping[str, str], page: _Page
) -> tuple[list[Legend], list[tuple[float, float]]]:
    """Two legends side by side, as low as the page's width allows, and their (width, height) in inches.

    One says what a colour means, the other what a mark means; an empty one is left out.
    """
    titled: dict[str, Sequence[Artist]] = {"method": _method_keys(chart, colors), "mark": _mark_keys(chart)}
    longest = max(len(handles) for handles in titled.values())
    for entries in range(min(3, longest), longest + 1):
        keys = [
            figure.legend(handles=handles, title=title, ncols=math.ceil(len(handles) / entries), **_KEY_STYLE)
            for title, handles in titled.items()
            if handles
        ]
        sizes = [_size(key) for key in keys]
        if sum(width + 2 * _GAP for width, _ in sizes) <= page.width - 2 * _MARGIN or entries == longest:
            return keys, sizes
        for key in keys:
            key.remove()
    return [], []


def _method_keys(chart: Chart, colors: Mapping[str, str]) -> list[Patch]:
    """In the order of the tables."""
    from matplotlib.patches import Patch

    methods = dict.fromkeys(point.method for panel in chart.panels for point in panel.points)
    names = ["\n".join(textwrap.wrap(method_title(method), _KEY_LETTERS)) for method in methods]
    return [Patch(color=colors[method], label=name) for method, name in zip(methods, names, strict=True)]


def _mark_keys(chart: Chart) -> list[Line2D]:
    """Only marks that occur."""
    from matplotlib.lines import Line2D

    points = [point for panel in chart.panels for point in panel.points]
    grey = "#4d4d4d"
    marks = [
        Line2D([], [], **_mark(bits, grey, "filled"), label=name)
        for bits, name in _PRECISIONS.items()
        if any(point.bits == bits for point in points)
    ]
    if any(_look(point) == "half" for point in points):
        marks.append(Line2D([], [], **_mark(32, grey, "half"), label="half filled: some seeds missing"))
    if any(point.from_paper for point in points):
        marks.append(Line2D([], [], **_mark(32, grey, "hollow"), label="hollow: the paper (arXiv 2111.05754)"))
    if any(panel.dense is not None for panel in chart.panels):
        marks.append(Line2D([], [], color=grey, linestyle=(0, (4, 3)), linewidth=1, label="dense fp32, for reference"))
    over = sorted({point.spread_over for point in points if point.spread_over is not None})
    if over:
        label = "\n".join(textwrap.wrap(f"± standard deviation over {', '.join(over)}", 2 * _KEY_LETTERS))
        marks.append(Line2D([], [], color=grey, linestyle="none", marker="|", markersize=11, label=label))
    return marks


def _size(key: Legend) -> tuple[float, float]:
    """Width and height of a legend, in inches."""
    extent = key.get_window_extent()
    return extent.width / DOTS_PER_INCH, extent.height / DOTS_PER_INCH
