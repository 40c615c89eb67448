"""Sparsity maps as a picture: layers down, kinds of matrices across, a small map for each pruned row of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.wording import counted
from paper_tables.figures import text
from paper_tables.figures.look import INK, PALE_INK
from paper_tables.figures.page import MARGIN, ROOM, Caption, Page, new_page, write_header, write_notes
from paper_tables.figures.sparsity_map import SparsityChart, SparsityMap
from paper_tables.numbers.rows import method_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

COLORS = "cividis"  # lightness alone tells it, whatever colours somebody sees
_LEAST_SPAN = 0.02
_COLUMNS, _GAP, _LEFT = 2, 0.14, 0.16  # inches
_ROW, _LOW_ROW = 0.12, 0.055
_MOST_NUMBERED = 12  # layers whose cells have room for their number
_KINDS = "Q, K, V: query, key, value; O: attention output; F1, F2: feed-forward. Layers from 0, counted zeros in %."


def draw_map(chart: SparsityChart, caption: Caption) -> Figure:
    """The chart on a page of its own, as high as it needs."""
    from matplotlib.colors import Normalize

    low, high = min(m.lowest for m in chart.maps), max(m.highest for m in chart.maps)
    if high - low < _LEAST_SPAN:
        low, high = max(0.0, low - _LEAST_SPAN / 2), min(1.0, high + _LEAST_SPAN / 2)
    norm = Normalize(low, high)
    width = (ROOM - (_COLUMNS - 1) * _GAP) / _COLUMNS - _LEFT
    with new_page() as page:
        write_header(
            page,
            f"{chart.subject}: zeros by layer and matrix",
            [f"study {caption.study}, preset {caption.preset}"],
        )
        for first in range(0, len(chart.maps), _COLUMNS):
            _write_row(page, chart, chart.maps[first : first + _COLUMNS], width, norm)
        _write_bar(page, norm)
        write_notes(page, [_KINDS, *chart.notes, *caption.notes])
        return page.finished()


def _write_row(page: Page, chart: SparsityChart, maps: Sequence[SparsityMap], width: float, norm: Normalize) -> None:
    titles = [text.wrapped(_title(found), width) for found in maps]
    page.skip(max(map(len, titles)) * text.height() + 0.03)
    layers = len(maps[0].shares)
    row = _ROW if layers <= _MOST_NUMBERED else _LOW_ROW
    for column, (found, title) in enumerate(zip(maps, titles, strict=True)):
        left = MARGIN + column * (width + _LEFT + _GAP) + _LEFT
        for number, line in enumerate(reversed(title)):
            page.put(line, left, page.top - (number + 1) * text.height() - 0.01)
        axes = page.axes(left, page.top, width, row * layers)
        _fill(axes, found, norm)
        every = 1 if row == _ROW else 4
        for layer in range(0, layers, every):
            middle = page.top + (layer + 0.5) * row
            page.put(str(layer), left - 0.03, middle, align="right", valign="center_baseline")
            if row == _ROW:
                _write_numbers(page, found.shares[layer], left, middle, width, norm)
        for number, kind in enumerate(chart.kinds):
            middle = left + (number + 0.5) * width / len(chart.kinds)
            page.put(kind, middle, page.top + row * layers + 0.02, align="center")
    page.skip(row * layers + text.height() + 0.07)


def _fill(axes: Axes, found: SparsityMap, norm: Normalize) -> None:
    axes.grid(visible=False)
    axes.pcolormesh(found.shares, cmap=COLORS, norm=norm, edgecolors="white", linewidth=0.3)
    axes.invert_yaxis()


def _write_numbers(
    page: Page, shares: Sequence[float], left: float, middle: float, width: float, norm: Normalize
) -> None:
    for number, share in enumerate(shares):
        where = left + (number + 0.5) * width / len(shares)
        color = "white" if norm(share) < 0.55 else INK
        page.put(f"{100 * share:.1f}", where, middle, align="center", valign="center_baseline", color=color)


def _title(found: SparsityMap) -> str:
    bits = "" if found.bits == 32 else f", int{found.bits}"
    return f"{method_title(found.method)}, {100 * found.sparsity:.4g} %{bits}: mean of {counted(found.models, 'model')}"


def _write_bar(page: Page, norm: Normalize) -> None:
    """The colours from the lowest share to the highest."""
    low, high = float(norm.vmin or 0.0), float(norm.vmax or 1.0)
    ends = [f"{100 * low:.1f} %", f"{100 * high:.1f} %"]
    left = MARGIN + text.width(ends[0]) + 0.04
    width = ROOM - text.width(ends[0]) - text.width(ends[1]) - 0.08
    axes = page.axes(left, page.top, width, 0.07)
    axes.grid(visible=False)
    axes.pcolormesh([[low + (high - low) * i / 63 for i in range(64)]], cmap=COLORS, norm=norm)
    page.put(ends[0], MARGIN, page.top + 0.035, valign="center_baseline", color=PALE_INK)
    page.put(ends[1], left + width + 0.04, page.top + 0.035, valign="center_baseline", color=PALE_INK)
    page.skip(0.1)
