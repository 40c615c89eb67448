"""Text of a figure: cleaned of what no page shows, measured and wrapped by the font's own widths, in inches."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font

FONT = "DejaVu Sans"  # it comes with matplotlib
SMALL, TITLE = 6.0, 7.5  # points: the smallest that is read in print, and the title
LINE = 1.28  # heights of a line by its size
_AIR = 1.03  # of widths: another renderer may round letters up


def clean(text: str) -> str:
    """One line of visible characters: what ends a line, steers a terminal or turns text round becomes a space; a
    letter that the font lacks becomes a question mark."""
    known = _font(False).get_charmap()
    shown = (" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in text)
    return " ".join("".join(letter if ord(letter) in known else "?" for letter in shown).split())


@lru_cache(maxsize=8192)
def width(text: str, size: float = SMALL, *, bold: bool = False) -> float:
    """In inches, of one cleaned line."""
    from matplotlib.ft2font import LoadFlags

    font = _font(bold)
    font.set_size(size, 72)
    font.set_text(text, 0.0, flags=LoadFlags.NO_HINTING)
    return float(_AIR * font.get_width_height()[0] / 64 / 72)


def height(size: float = SMALL) -> float:
    """Of one line with its air, in inches."""
    return LINE * size / 72


def wrapped(text: str, room: float, size: float = SMALL, *, bold: bool = False) -> list[str]:
    """Lines no wider than `room` inches; a word longer than a line is broken, not cut off."""
    lines: list[str] = []
    current = ""
    for word in clean(text).split():
        if current and width(f"{current} {word}", size, bold=bold) <= room:
            current = f"{current} {word}"
            continue
        if current:
            lines.append(current)
        while width(word, size, bold=bold) > room:
            fitting = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or width(word[:n], size, bold=bold) <= room)
            lines.append(word[:fitting])
            word = word[fitting:]
        current = word
    return [*lines, current] if current else lines


def shortened(lines: list[str], most: int) -> list[str]:
    """The first lines, ending with an ellipsis where there are more."""
    return lines if len(lines) <= most else [*lines[: most - 1], f"{lines[most - 1][:-2].rstrip()} …"]


@lru_cache(maxsize=2)
def _font(bold: bool) -> FT2Font:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return get_font(findfont(FontProperties(family=FONT, weight="bold" if bold else "normal")))
