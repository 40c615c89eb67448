"""Page: a figure 8 cm wide, a column of print, written from the top down; and its bytes as PNG and SVG.

The same numbers give the same bytes with the same matplotlib: its own font, no date, no setting of the user's.
All lengths are in inches.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from paper_tables.figures import text
from paper_tables.figures.look import INK, PALE_INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ImageFormat = Literal["png", "svg"]
WIDTH = 8 / 2.54
MARGIN = 0.07
ROOM = WIDTH - 2 * MARGIN
DOTS_PER_INCH = 300
_HANDLE, _AFTER_HANDLE, _BETWEEN_KEYS = 0.17, 0.05, 0.14
MOST_NOTE_LINES = 12


@dataclass(frozen=True, kw_only=True)
class Caption:
    """What is written round the panels. notes: what a reader must know before using a number, one sentence or more."""

    study: str
    preset: str
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Key:
    """One entry under the panels: how something is drawn, by matplotlib's words for a line, and what it is."""

    style: dict[str, Any]
    label: str


@dataclass
class Page:
    """What is written goes under what was written before; `top` is where that ends, measured down from the edge.

    `Page.finished` cuts the page to the height that was used, so that places are told from the top until then.
    """

    figure: Figure
    top: float = MARGIN
    _axes: list[tuple[Axes, float, float, float, float]] = field(default_factory=list)
    _texts: list[tuple[Any, float, float]] = field(default_factory=list)
    _lines: list[tuple[Any, list[float], list[float]]] = field(default_factory=list)

    def skip(self, inches: float) -> None:
        self.top += inches

    def write(
        self, words: str, *, size: float = text.SMALL, bold: bool = False, color: str = INK, most: int = 99
    ) -> None:
        """A paragraph over the width of the page."""
        for line in text.shortened(text.wrapped(words, ROOM, size, bold=bold), most):
            self.put(line, MARGIN, self.top, size=size, bold=bold, color=color)
            self.top += text.height(size)

    def put(
        self,
        words: str,
        left: float,
        top: float,
        *,
        align: str = "left",
        valign: str = "top",
        size: float = text.SMALL,
        bold: bool = False,
        color: str = INK,
    ) -> None:
        """One line of cleaned words at a place."""
        made = self.figure.text(
            0, 0, words, fontsize=size, fontweight="bold" if bold else "normal", color=color, ha=align, va=valign
        )
        self._texts.append((made, left, top))

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """An empty panel. Its labels are written by `put`, so that their places are known."""
        made = self.figure.add_axes((0, 0, 1, 1), label=f"panel {len(self._axes)}")
        made.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
        made.set_axisbelow(True)
        self._axes.append((made, left, top, width, height))
        return made

    def stroke(self, xs: Sequence[float], tops: Sequence[float], **style: Any) -> None:
        """A line or marker anywhere on the page."""
        from matplotlib.lines import Line2D

        made = Line2D([0.0] * len(xs), [0.0] * len(xs), transform=self.figure.transFigure, **style)
        self.figure.add_artist(made)
        self._lines.append((made, list(xs), list(tops)))

    def keys(self, keys: Sequence[Key]) -> None:
        """Entries from left to right, as many to a line as it takes."""
        left, lines_of_row = MARGIN, 1
        most = ROOM - _HANDLE - _AFTER_HANDLE
        for key in keys:
            lines = text.wrapped(key.label, most)
            wide = _HANDLE + _AFTER_HANDLE + max(map(text.width, lines), default=0.0)
            if left > MARGIN and left + wide > MARGIN + ROOM:
                left, self.top, lines_of_row = MARGIN, self.top + lines_of_row * text.height(), 1
            middle = self.top + text.height() / 2 - 0.01
            is_line = key.style.get("linestyle", "none") != "none"
            xs = [left, left + _HANDLE] if is_line else [left + _HANDLE / 2]
            self.stroke(xs, [middle] * len(xs), **({**key.style, "marker": None} if is_line else key.style))
            if is_line and key.style.get("marker"):
                self.stroke([left + _HANDLE / 2], [middle], **{**key.style, "linestyle": "none", "alpha": None})
            for number, line in enumerate(lines):
                self.put(line, left + _HANDLE + _AFTER_HANDLE, self.top + number * text.height())
            lines_of_row = max(lines_of_row, len(lines))
            left += wide + _BETWEEN_KEYS
        if keys:
            self.top += lines_of_row * text.height()

    def finished(self) -> Figure:
        """The figure, as high as what was written."""
        high = self.top + MARGIN
        self.figure.set_size_inches(WIDTH, high)
        for axes, left, top, width, height in self._axes:
            axes.set_position((left / WIDTH, 1 - (top + height) / high, width / WIDTH, height / high))
        for words, left, top in self._texts:
            words.set_position((left / WIDTH, 1 - top / high))
        for line, xs, tops in self._lines:
            line.set_data([x / WIDTH for x in xs], [1 - top / high for top in tops])
        return self.figure


@contextmanager
def new_page() -> Iterator[Page]:
    """A page in the style of all figures; drawn on within the block."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(WIDTH, WIDTH), dpi=DOTS_PER_INCH)
        FigureCanvasAgg(figure)
        yield Page(figure)


def write_header(page: Page, title: str, lines: Sequence[str]) -> None:
    page.write(title, size=text.TITLE, bold=True)
    for line in lines:
        page.write(line)
    page.skip(0.04)


def write_notes(page: Page, notes: Sequence[str], most: int = MOST_NOTE_LINES) -> None:
    """most: lines, of which the last ends with an ellipsis where there is more to say."""
    page.skip(0.05)
    page.write(" ".join(notes), color=PALE_INK, most=most)


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib as it comes, with seaborn's grid, whatever the user's settings say; the font is matplotlib's own."""
    import matplotlib.style
    import seaborn

    settings: dict[str, Any] = {
        **seaborn.axes_style("whitegrid"),
        "font.family": "sans-serif",
        "font.sans-serif": [text.FONT, "Verdana", "Arial", "sans-serif"],  # the first with matplotlib; rest: for SVG
        "font.size": text.SMALL,
        "axes.edgecolor": "#888888",
        "axes.linewidth": 0.5,
        "grid.color": "#e6e6e6",
        "grid.linewidth": 0.5,
        "text.parse_math": False,  # a dollar in a name is a dollar
        "svg.fonttype": "none",
        "svg.hashsalt": "encoder-compression-harness",
    }
    with matplotlib.style.context(["default", settings], after_reset=True):
        yield


def images(figure: Figure) -> dict[ImageFormat, bytes]:
    """The picture as PNG, 300 dots to the inch, and as SVG, its text kept as text."""
    return {"png": _encoded(figure, "png"), "svg": _encoded(figure, "svg")}


def svg(figure: Figure) -> str:
    """The picture as text of an SVG document."""
    return _encoded(figure, "svg").decode()


def _encoded(figure: Figure, form: ImageFormat) -> bytes:
    content = io.BytesIO()
    with style():
        if form == "svg":
            figure.savefig(content, format="svg", dpi=DOTS_PER_INCH, metadata={"Date": None, "Creator": None})
        else:
            import numpy as np
            from PIL import Image  # comes with matplotlib

            figure.canvas.draw()
            whole = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")  # type: ignore[attr-defined]
            # A palette of 128 colours: a third of the bytes, and no difference to the eye.
            palette = whole.quantize(128, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
            palette.save(content, format="png", dpi=(DOTS_PER_INCH, DOTS_PER_INCH))
    return content.getvalue()
