"""The key of a chart: a method by colour and marker, then what fillings and lines mean. Only what occurs is named."""

from __future__ import annotations

from collections.abc import Mapping

from paper_tables.figures.look import (
    BAND,
    BASELINE_LINES,
    BASELINES,
    DENSE_LINE,
    FRONT_LINE,
    PALE_INK,
    PRECISIONS,
    SEED_MARK,
    Look,
    level_line,
    line,
    mark,
)
from paper_tables.figures.page import Key
from paper_tables.figures.points import Chart
from paper_tables.figures.scale import scales
from paper_tables.numbers.rows import method_title

_ANY = Look(PALE_INK, "o")


def chart_keys(chart: Chart, looks: Mapping[str, Look]) -> list[Key]:
    """In the order of the tables: methods, precisions, then marks and lines."""
    methods = dict.fromkeys(point.method for panel in chart.panels for point in panel.points)
    keys = [
        Key({**mark(looks[method], 32), **line(looks[method], 32), "alpha": 1}, method_title(method))
        for method in methods
    ]
    front = any(len(panel.front) > 1 for panel in chart.panels)
    return [*keys, *_mark_keys(chart), *_reference_keys(chart, looks), *_line_keys(chart, front=front)]


def ranking_keys(chart: Chart) -> list[Key]:
    """Where each method has a line of its own, with its name."""
    return [*_mark_keys(chart), *_line_keys(chart, front=False)]


def _mark_keys(chart: Chart) -> list[Key]:
    points = [point for panel in chart.panels for point in panel.points]
    keys = []
    if any(point.bits == 8 for point in points):
        keys += [
            Key(mark(_ANY, bits), name)
            for bits, name in PRECISIONS.items()
            if any(point.bits == bits for point in points)
        ]
    if any(point.from_paper for point in points):
        keys.append(Key(mark(_ANY, 32, "paper"), "hollow: the paper (arXiv 2111.05754)"))
    if any(point.missing for point in points):
        keys.append(Key(mark(_ANY, 32, "short of seeds"), "pale: some seeds missing"))
    if any(point.n > 1 for point in points):
        keys.append(Key({**SEED_MARK, "color": PALE_INK}, "small: single seeds"))
    if any(point.interval for point in points):
        bar = {"marker": "|", "markersize": 6, "markeredgewidth": 0.9, "linestyle": "none", "color": PALE_INK}
        keys.append(Key(bar, "bar: 95 % interval (bootstrap)"))
    return keys


def _reference_keys(chart: Chart, looks: Mapping[str, Look]) -> list[Key]:
    found = [each for panel in chart.panels for each in panel.references]
    keys = [
        Key({**level_line(looks[method])}, f"{method_title(method)}, pruned on the task")
        for method in dict.fromkeys(each.method for each in found)
    ]
    if any(each.interval for each in found):
        band = {"color": PALE_INK, "alpha": BAND["alpha"], "linewidth": 6, "linestyle": "-", "solid_capstyle": "butt"}
        keys.append(Key(band, "band: its 95 % interval (bootstrap)"))
    return keys


def _line_keys(chart: Chart, *, front: bool) -> list[Key]:
    keys = []
    if any(panel.dense is not None for panel in chart.panels):
        keys.append(Key(dict(DENSE_LINE), "dense fp32"))
    if front:
        keys.append(Key(dict(FRONT_LINE), "Pareto front of the means"))
    shown = zip(chart.panels, scales(chart.panels), strict=True)
    kinds = dict.fromkeys(
        baseline.kind
        for panel, scale in shown
        for baseline in panel.baselines
        if panel.points and scale.low <= baseline.value <= scale.high
    )
    return [*keys, *(Key(dict(BASELINE_LINES[kind]), BASELINES[kind]) for kind in kinds)]
