"""Legible: text from elsewhere as a page shows it. What would not be seen, or would turn other text round, is spelled.

This is about people. That text runs nothing is the concern of who embeds it: the template escapes, `embedded` too.
"""

from __future__ import annotations

import unicodedata

NAME, LINE = 80, 400  # letters that are shown of a name, and of a line of text
# Controls, format characters (those of direction among them), surrogates, private use, line and paragraph separators.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def legible(text: object, most: int = NAME) -> str:
    """The text in one line, at most `most` letters of it, and how many there are where some were left out."""
    whole = str(text)
    shown = whole[:most]
    shown = shown if shown.isprintable() else "".join(map(_spelled, shown))
    return shown if len(whole) <= most else f"{shown}.. ({len(whole):,} letters)"


def _spelled(letter: str) -> str:
    return f"\\u{ord(letter):04x}" if unicodedata.category(letter) in _UNSEEN else letter
