"""A chart as a picture: averages over the width of the page, then a small panel per metric, keys and notes.

Numbers are decided in `points` and its neighbours, places in `scale`; here they become marks and lines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.wording import counted
from paper_tables.figures import text
from paper_tables.figures.keys import chart_keys
from paper_tables.figures.look import (
    BAND,
    BASELINE_LINES,
    BASELINES,
    DENSE_LINE,
    FRONT_LINE,
    PALE_INK,
    SEED_MARK,
    Filling,
    Look,
    level_line,
    line,
    mark,
)
from paper_tables.figures.page import (
    MARGIN,
    MOST_NOTE_LINES,
    ROOM,
    Caption,
    Page,
    new_page,
    write_header,
    write_notes,
)
from paper_tables.figures.points import Chart, Panel, Point
from paper_tables.figures.scale import Places, Scale, by_method, by_row, places, scales, ticks
from paper_tables.numbers.pairs import condition

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TITLES = {
    "nominal": "accuracy against nominal compression",
    "stored": "accuracy against compression as stored",
    "tokens": "accuracy against pre-training tokens",
    "speed": "accuracy against measured speed-up",
}
_X_LABELS = {
    "nominal": "nominal encoder compression (log scale{cut}), share of zeros",
    "stored": "bytes of dense over bytes stored (log scale{cut}), share of zeros",
    "tokens": "tokens that pruning has seen (log scale{cut})",
    "speed": "time of dense fp32 in torch over time of the fastest runtime (log scale{cut}), share of zeros",
}
_METRICS = {
    "exact_match": "exact match",
    "f1": "F1",
    "accuracy": "accuracy",
    "matthews": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
}
_TASKS = {"mnli": "mnli (matched)", "mnli-mm": "mnli (mismatched)"}

_TIMES_AS_MANY_NOTES = {"nominal": 1, "stored": 1, "speed": 2, "tokens": 3}

# Inches.
_LARGE, _MIDDLE, _SMALL, _LOW = 1.45, 1.1, 0.86, 0.52
_TICK_GAP, _COLUMN_GAP, _BELOW, _LEADER = 0.03, 0.12, 0.09, 0.02
_LEAST_STEP = 0.05  # between markers: with less, panels get the whole width
_TALL_PAGE = 6  # panels in one column, from which on they are low


def draw(chart: Chart, caption: Caption, looks: Mapping[str, Look]) -> Figure:
    """The chart on a page of its own, as high as it needs. looks: of every method, see `look.method_looks`."""
    drawn = _Drawing(chart, looks)
    with new_page() as page:
        write_header(
            page,
            f"{chart.subject}: {_TITLES[chart.axis]}",
            [f"study {caption.study}, preset {caption.preset}; {counts(chart)}"],
        )
        large = [n for n, panel in enumerate(chart.panels) if panel.is_average and chart.axis != "tokens"]
        small = [n for n in range(len(chart.panels)) if n not in large]
        columns = drawn.columns(len(small))
        tall = columns == 1 and len(small) >= _TALL_PAGE
        if large:
            _write_grid(page, drawn, large, 1, _LARGE if len(large) == 1 and not tall else _MIDDLE)
        if small:
            _write_grid(page, drawn, small, columns, _LOW if tall else _SMALL)
        page.skip(0.03)
        page.keys(chart_keys(chart, looks))
        write_notes(
            page,
            [*drawn.notes(), *chart.notes, *caption.notes],
            most=_TIMES_AS_MANY_NOTES[chart.axis] * MOST_NOTE_LINES,
        )
        return page.finished()


@dataclass(frozen=True)
class _Drawing:
    """A chart with the scales of its panels."""

    chart: Chart
    looks: Mapping[str, Look]

    @property
    def scales(self) -> list[Scale]:
        return scales(self.chart.panels)

    @property
    def points(self) -> list[Point]:
        return [point for panel in self.chart.panels for point in panel.points]

    @property
    def left(self) -> float:
        """Room for the widest label of a y axis."""
        labels = [tick_text(tick) for scale in self.scales for tick in ticks(scale.low, scale.high)]
        return max(map(text.width, labels)) + 2 * _TICK_GAP

    def columns(self, panels: int) -> int:
        """Two where the markers have room side by side, else one."""
        return 2 if panels > 1 and self.places(self.width(2)).step >= _LEAST_STEP else 1

    def places(self, width: float) -> Places:
        """Of the x axis that all panels have."""
        return places(self.points, width, by_method if self.chart.axis == "tokens" else by_row)

    def width(self, columns: int) -> float:
        return (ROOM - (columns - 1) * _COLUMN_GAP) / columns - self.left

    def notes(self) -> list[str]:
        """What the panels alone do not tell: an axis of its own, a baseline out of sight, and what a bar is."""
        found = []
        panels = list(zip(self.chart.panels, self.scales, strict=True))
        sharing: dict[str, dict[Scale, list[str]]] = {}
        for panel, scale in panels:
            sharing.setdefault(scale.family, {}).setdefault(scale, []).append(_name(panel))
        if apart := [names for of_family in sharing.values() if len(of_family) > 1 for names in of_family.values()]:
            axes = "; ".join(", ".join(names) for names in apart)
            found.append(f"y axes, where a shared one would flatten a panel: {axes}.")
        found += out_of_sight(panels)
        return [*found, *bar_notes(self.points)]


def bar_notes(points: Sequence[Point]) -> list[str]:
    """What the bars of averages say, where there are any."""
    bars = [point for point in points if point.interval]
    if not bars:
        return []
    return [f"Bars: {_drawn_again(bars)} drawn again within each task; dense's mean is taken as given."]


def out_of_sight(panels: Sequence[tuple[Panel, Scale]]) -> list[str]:
    """Baselines that are beyond either end of their panel's axis."""
    found: dict[str, list[str]] = {"Below": [], "Above": []}
    for panel, scale in panels:
        for baseline in panel.baselines if panel.points else ():
            if not scale.low <= baseline.value <= scale.high:
                named = f"{_name(panel)} {baseline.value:.3g} ({BASELINES[baseline.kind]})"
                found["Below" if baseline.value < scale.low else "Above"].append(named)
    return [f"{where} the axis: {', '.join(named)}." for where, named in found.items() if named]


def _drawn_again(bars: Sequence[Point]) -> str:
    """What varies in these intervals, and what they are conditional on."""
    of_prunings = [point for point in bars if point.spread_over == "pruning seeds"]
    of_transfers = [point for point in bars if point not in of_prunings]
    given = condition(of_transfers)
    said = [f"transfer seeds{f', conditional on {given},' if given else ''}"] if of_transfers else []
    return " and ".join([*(["pruning seeds"] if of_prunings else []), *said])


def _write_grid(page: Page, drawn: _Drawing, numbers: Sequence[int], columns: int, height: float) -> None:
    """Panels left to right and down; ticks of the x axis are labelled under the last panel of each column."""
    width, panels = drawn.width(columns), drawn.chart.panels
    where = drawn.places(width)
    labels = _TickLabels(drawn.chart, where)
    for first in range(0, len(numbers), columns):
        row = numbers[first : first + columns]
        titles = [text.wrapped(_title(panels[n]), width) for n in row]
        page.skip(0.02 + max(map(len, titles)) * text.height())
        deepest = 0
        for column, number in enumerate(row):
            left = MARGIN + column * (width + drawn.left + _COLUMN_GAP) + drawn.left
            for line_number, words in enumerate(reversed(titles[column])):
                page.put(words, left, page.top - (line_number + 1) * text.height() - 0.005)
            scale = drawn.scales[number]
            axes = page.axes(left, page.top, width, height)
            _draw_panel(axes, panels[number], drawn.looks, where, scale)
            _write_y_labels(page, scale, left, height)
            if not panels[number].points:
                page.put("no result yet", left + width / 2, page.top + height / 2, align="center", color=PALE_INK)
            if first + column + columns >= len(numbers):
                labels.write(page, left, page.top + height)
                deepest = max(deepest, labels.levels)
            if where.cut is not None:
                _write_cut(page, left + where.cut, page.top + height)
        page.skip(height + (_BELOW if deepest == 0 else 0.04 + deepest * labels.height))
    if 0 in numbers:  # once a page
        cut = ", cut at //" if where.cut is not None else ""
        page.write(_X_LABELS[drawn.chart.axis].format(cut=cut), color=PALE_INK)
    page.skip(0.02)


def _draw_panel(axes: Axes, panel: Panel, looks: Mapping[str, Look], where: Places, scale: Scale) -> None:
    axes.set_xlim(0, where.width)
    axes.set_ylim(scale.low, scale.high)
    axes.set_xticks(sorted(set(where.centres.values())), [])
    axes.set_yticks(ticks(scale.low, scale.high), [])
    if not panel.points:
        axes.grid(visible=False)
        return
    if panel.dense is not None:
        axes.axhline(panel.dense, **DENSE_LINE, zorder=1)
    for baseline in panel.baselines:
        if scale.low <= baseline.value <= scale.high:
            axes.axhline(baseline.value, **BASELINE_LINES[baseline.kind], zorder=1)
    _draw_references(axes, panel, looks, where)
    _draw_front(axes, panel, where)
    series: dict[tuple[str, int], list[Point]] = {}
    for point in panel.points:
        _draw_point(axes, point, looks[point.method], where)
        if not point.from_paper:
            series.setdefault((point.method, point.bits), []).append(point)
    for (method, bits), points in series.items():
        joined = sorted(points, key=lambda point: (point.x, point.sparsity))
        xs, ys = [where.of(point) for point in joined], [point.value for point in joined]
        if len(joined) > 1:
            axes.plot(xs, ys, **line(looks[method], bits), zorder=2)


def _draw_point(axes: Axes, point: Point, look: Look, where: Places) -> None:
    x = where.of(point)
    filling: Filling = "paper" if point.from_paper else "short of seeds" if point.missing else "ours"
    if point.interval is not None:
        ends = [point.interval.low, point.interval.high]
        axes.plot([x, x], ends, color=look.color, linewidth=0.9, solid_capstyle="butt", zorder=3)
    if point.n > 1:
        values = [seed.value for seed in point.seeds if seed.value is not None]
        beside = [x + min(0.04, 0.48 * where.step)] * len(values)
        axes.plot(beside, values, **SEED_MARK, color=look.color, alpha=0.75, zorder=4, clip_on=False)
    axes.plot([x], [point.value], **mark(look, point.bits, filling), clip_on=False)


def _draw_references(axes: Axes, panel: Panel, looks: Mapping[str, Look], where: Places) -> None:
    """A level over the width of the panel, straight between two places where they differ; its interval as a band.

    Its method's marker is at the right end, for whom colours do not tell levels apart.
    """
    for method in dict.fromkeys(each.method for each in panel.references):
        own = sorted((each for each in panel.references if each.method == method), key=lambda each: each.x)
        xs = [0.0, *(where.centres[each.x] for each in own), where.width]
        own = [own[0], *own, own[-1]]
        look, ends = looks[method], {"clip_on": False, "markevery": [len(xs) - 1], "gid": "reference"}
        axes.plot(xs, [each.value for each in own], **{**level_line(look), **ends}, zorder=1.8)
        lows = [each.interval.low if each.interval else math.nan for each in own]
        highs = [each.interval.high if each.interval else math.nan for each in own]
        axes.fill_between(xs, lows, highs, **BAND, color=look.color, zorder=1.2)


def _draw_front(axes: Axes, panel: Panel, where: Places) -> None:
    """Steps: at a compression, the best of what is compressed as much or more."""
    front = panel.front
    if len(front) > 1:
        xs, ys = [where.of(point) for point in front], [point.value for point in front]
        axes.plot(xs, ys, **FRONT_LINE, drawstyle="steps-pre", zorder=1.5, gid="front")


def _write_y_labels(page: Page, scale: Scale, left: float, height: float) -> None:
    for tick in ticks(scale.low, scale.high):
        top = page.top + height * (scale.high - tick) / (scale.high - scale.low)
        page.put(tick_text(tick), left - _TICK_GAP, top, align="right", valign="center_baseline")


def _write_cut(page: Page, x: float, top: float) -> None:
    """Two strokes across the x axis."""
    page.stroke([x - 0.02, x + 0.02], [top, top], color="white", linewidth=1.5, zorder=6)
    for side in (-0.02, 0.02):
        page.stroke([x + side - 0.015, x + side + 0.015], [top + 0.03, top - 0.03], color="#888888", linewidth=0.6)


class _TickLabels:
    """Labels under an x axis: of every place, on as few levels as keep them apart; a third level is not begun.

    A label has a line for compression or tokens, and under nominal compression one for the share of zeros.
    """

    def __init__(self, chart: Chart, where: Places) -> None:
        points = [point for panel in chart.panels for point in panel.points]
        sparsities: dict[float, dict[float, None]] = {}
        values: dict[float, float] = {}
        for point in sorted(points, key=lambda point: (point.x, point.zeros)):
            sparsities.setdefault(where.centres[point.x], {})[point.zeros] = None
            values.setdefault(where.centres[point.x], point.x)
        self._placed: list[tuple[float, int, list[str]]] = []
        ends = [-math.inf, -math.inf]
        for centre, value in values.items():
            lines = [_million(value) if chart.axis == "tokens" else _times(value)]
            if chart.axis != "tokens":
                lines.append(_zeros(list(sparsities[centre])))
            half = max(map(text.width, lines)) / 2 + 0.02
            level = next((level for level, end in enumerate(ends) if centre - half >= end), None)
            if level is not None:
                ends[level] = centre + half
                self._placed.append((centre, level, lines))
        self.levels = max((level + 1 for _, level, _ in self._placed), default=0)
        self.height = max((len(lines) for _, _, lines in self._placed), default=0) * text.height() + 0.02

    def write(self, page: Page, left: float, top: float) -> None:
        for centre, level, lines in self._placed:
            start = top + _LEADER + level * self.height
            if level:
                page.stroke([left + centre] * 2, [top, start], color="#c8c8c8", linewidth=0.5, zorder=0)
            for number, words in enumerate(lines):
                page.put(words, left + centre, start + number * text.height(), align="center")


def _title(panel: Panel) -> str:
    return panel.title or f"{_name(panel)}, %"


def _name(panel: Panel) -> str:
    """In a sentence; the average of the one model, or of a model among others."""
    if panel.is_average:
        return panel.task
    return f"{_TASKS.get(panel.task, panel.task)} {_METRICS.get(panel.metric, panel.metric)}"


def tick_text(tick: float) -> str:
    return f"{tick:.10g}".replace("-", "−")


def _times(compression: float) -> str:
    """1×, 6.7×, 27×, 0.83×."""
    if compression < 1:
        return f"{compression:.2f}×"
    return f"{compression:.1f}".removesuffix(".0") + "×" if compression < 10 else f"{compression:.0f}×"


def _zeros(sparsities: Sequence[float]) -> str:
    return f"{'/'.join(dict.fromkeys(f'{100 * sparsity:.3g}' for sparsity in sparsities))} %"


def _million(tokens: float) -> str:
    """950, 335 k, 1.45 M, 12 G."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if tokens >= limit:
            return f"{tokens / limit:.3g}{unit}"
    return f"{tokens:.3g}"


def counts(chart: Chart) -> str:
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
    return f"{cells}; marks are means over n = {n} seeds"
