"""Every method on a line of its own, best mean first, a panel for each sparsity: for more methods than curves can tell.

What is ranked is the average over tasks relative to dense (`averages`); intervals say how much of the order is noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from paper_tables.figures import text
from paper_tables.figures.draw import bar_notes, counts, out_of_sight, tick_text
from paper_tables.figures.keys import ranking_keys
from paper_tables.figures.look import BASELINE_LINES, DENSE_LINE, PALE_INK, SEED_MARK, Filling, Look, mark
from paper_tables.figures.page import MARGIN, MOST_NOTE_LINES, ROOM, Caption, Page, new_page, write_header, write_notes
from paper_tables.figures.points import Chart, Panel, Point
from paper_tables.figures.scale import Scale, scales, ticks
from paper_tables.numbers.rows import method_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW, _GAP, _AFTER_NAME = 0.115, 0.05, 0.06  # inches
_WIDEST_NAME = 1.3


def draw_ranking(chart: Chart, caption: Caption, looks: Mapping[str, Look]) -> Figure:
    """chart: of one panel, an average. The paper's own numbers are not in it: they are of other rows each."""
    (panel,) = chart.panels
    (scale,) = scales(chart.panels)
    ranking = panel.ranking
    ours = [point for ranked in ranking.values() for point in ranked]
    names = {point.row: text.wrapped(_name(point), _WIDEST_NAME) for point in ours}
    left = MARGIN + max(text.width(line) for lines in names.values() for line in lines) + _AFTER_NAME
    with new_page() as page:
        write_header(
            page,
            f"{chart.subject}: methods by their average",
            [f"study {caption.study}, preset {caption.preset}; {counts(chart)}", panel.title],
        )
        for sparsity, ranked in ranking.items():
            page.write(f"{100 * sparsity:.4g} % zeros" if sparsity else "dense", bold=True)
            _write_block(page, panel, ranked, names, looks, scale, left)
        _write_x_labels(page, scale, left)
        page.keys(ranking_keys(chart))
        write_notes(
            page,
            [*bar_notes(ours), *out_of_sight([(panel, scale)]), *chart.notes, *caption.notes],
            most=MOST_NOTE_LINES,
        )
        return page.finished()


def _write_block(
    page: Page,
    panel: Panel,
    ranked: Sequence[Point],
    names: Mapping[tuple[str, float, int], Sequence[str]],
    looks: Mapping[str, Look],
    scale: Scale,
    left: float,
) -> None:
    middles, height = [], 0.0
    for point in ranked:
        lines = names[point.row]
        room = _ROW + (len(lines) - 1) * text.height()
        for line_number, line in enumerate(lines):
            top = page.top + height + _ROW / 2 + line_number * text.height()
            page.put(line, MARGIN, top, valign="center_baseline")
        middles.append(height + room / 2)
        height += room
    axes = page.axes(left, page.top, MARGIN + ROOM - left, height)
    axes.set_xlim(scale.low, scale.high)
    axes.set_ylim(height, 0)
    axes.set_xticks(ticks(scale.low, scale.high), [])
    axes.set_yticks([])
    if panel.dense is not None:
        axes.axvline(panel.dense, **DENSE_LINE, zorder=1)
    for baseline in panel.baselines:
        if scale.low <= baseline.value <= scale.high:
            axes.axvline(baseline.value, **BASELINE_LINES[baseline.kind], zorder=1)
    for point, middle in zip(ranked, middles, strict=True):
        _draw_point(axes, point, looks[point.method], middle)
    page.skip(height + _GAP)


def _draw_point(axes: Axes, point: Point, look: Look, middle: float) -> None:
    filling: Filling = "short of seeds" if point.missing else "ours"
    if point.interval is not None:
        ends = [point.interval.low, point.interval.high]
        axes.plot(ends, [middle, middle], color=look.color, linewidth=0.9, solid_capstyle="butt", zorder=3)
    if point.n > 1:
        values = [seed.value for seed in point.seeds if seed.value is not None]
        axes.plot(values, [middle + 0.3 * _ROW] * len(values), **SEED_MARK, color=look.color, alpha=0.75, zorder=4)
    axes.plot([point.value], [middle], **mark(look, point.bits, filling), clip_on=False)


def _write_x_labels(page: Page, scale: Scale, left: float) -> None:
    """Under the last panel, for all of them."""
    page.skip(0.02 - _GAP)
    width = MARGIN + ROOM - left
    for tick in ticks(scale.low, scale.high):
        where = left + width * (tick - scale.low) / (scale.high - scale.low)
        page.put(tick_text(tick), where, page.top, align="center", color=PALE_INK)
    page.skip(text.height() + 0.05)


def _name(point: Point) -> str:
    """The method as tables call it; its bits where they are fewer, its zeros where these are an outcome."""
    said = [f"int{point.bits}"] if point.bits != 32 else []
    said += [f"{100 * point.reached:.3g} %"] if point.reached is not None else []
    return " ".join([method_title(point.method), *([f"({', '.join(said)})"] if said else [])])
