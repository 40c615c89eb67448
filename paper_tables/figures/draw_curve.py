"""A learning curve as a picture: loss, then the pruning ramp, then the learning rate, over the same steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_tables.figures import text
from paper_tables.figures.curve import Curve, LearningCurve
from paper_tables.figures.look import PALE_INK
from paper_tables.figures.page import MARGIN, ROOM, Caption, Page, new_page, write_header, write_notes
from paper_tables.figures.scale import ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOSS, _SPARSITY, _RATE = "#332288", "#0173b2", "#cc3311"
_HEIGHTS = (1.1, 0.65)  # inches: of the loss, and of what is below it
_TICK_GAP = 0.03


def draw_curve(curve: LearningCurve, caption: Caption) -> Figure:
    """The curve on a page of its own. What the record does not tell has no panel, and a sentence says so."""
    with new_page() as page:
        write_header(
            page,
            f"{curve.label}: learning curve",
            [f"stage {curve.stage_id}", f"study {caption.study}, preset {caption.preset}"],
        )
        panels = [("training loss, mean since the mark before", curve.loss, _LOSS)]
        if curve.sparsity:
            panels.append(("scheduled share of zeros, a step for each mask update, %", _percent(curve), _SPARSITY))
        if curve.learning_rate:
            rewound = ", rewound while the ramp runs" if curve.rewinding else ""
            panels.append((f"learning rate{rewound}", curve.learning_rate, _RATE))
        limits = [_limits(points) for _, points, _ in panels]
        left = MARGIN + max(text.width(_number(t)) for low, high in limits for t in ticks(low, high)) + 2 * _TICK_GAP
        width = MARGIN + ROOM - left - text.width(f"{curve.steps:,}") / 2
        for number, (title, points, color) in enumerate(panels):
            height = _HEIGHTS[min(number, 1)]
            page.skip(0.03)
            page.put(title, left, page.top)
            page.skip(text.height() + 0.01)
            axes = page.axes(left, page.top, width, height)
            _draw(axes, points, color, curve, limits[number], steps=curve.sparsity != () and number == 1)
            _write_y(page, limits[number], left, height)
            page.skip(height + 0.03)
        _write_x(page, curve, left, width)
        told = [] if curve.learning_rate else [f"A {curve.stage_kind} record does not tell its learning rate."]
        write_notes(page, [*told, *caption.notes])
        return page.finished()


def _percent(curve: LearningCurve) -> Curve:
    """From the first step, without zeros, to the last."""
    masked = [(step, 100 * share) for step, share in curve.sparsity]
    return ((0, 0.0), *masked, (curve.steps, masked[-1][1]))


def _draw(
    axes: Axes, points: Curve, color: str, curve: LearningCurve, limits: tuple[float, float], *, steps: bool
) -> None:
    axes.set_xlim(0, curve.steps)
    axes.set_ylim(*limits)
    axes.set_xticks(_x_ticks(curve), [])
    axes.set_yticks(ticks(*limits), [])
    xs, ys = zip(*points, strict=True)
    mark = "o" if points == curve.loss else None
    drawn = "steps-post" if steps else "default"
    axes.plot(xs, ys, color=color, linewidth=0.9, marker=mark, markersize=2.2, drawstyle=drawn, clip_on=False)


def _limits(points: Curve) -> tuple[float, float]:
    values = [value for _, value in points]
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.5 * abs(high) or 1.0
    return (0.0 if 0 <= low < 0.3 * high else low - room), high + room


def _x_ticks(curve: LearningCurve) -> list[float]:
    return [tick for tick in ticks(0, curve.steps, 6) if tick == int(tick)]


def _write_x(page: Page, curve: LearningCurve, left: float, width: float) -> None:
    for tick in _x_ticks(curve):
        page.put(f"{tick:,.0f}", left + width * tick / curve.steps, page.top, align="center")
    page.skip(text.height() + 0.02)
    page.put("optimizer step", left + width / 2, page.top, align="center", color=PALE_INK)
    page.skip(text.height())


def _write_y(page: Page, limits: tuple[float, float], left: float, height: float) -> None:
    low, high = limits
    for tick in ticks(low, high):
        top = page.top + height * (high - tick) / (high - low)
        page.put(_number(tick), left - _TICK_GAP, top, align="right", valign="center_baseline")


def _number(value: float) -> str:
    return f"{value:.6g}".replace("e-0", "e-").replace("-", "−")
