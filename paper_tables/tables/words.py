"""Numbers and names as text. Nothing is computed here but rounding."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from paper_tables.numbers.metrics import METRIC_LABELS
from paper_tables.numbers.noise import exceeds_noise
from paper_tables.numbers.published import PublishedNumber
from paper_tables.numbers.rows import Row
from paper_tables.statistics.intervals import Interval

NOT_IN_STUDY = "-"
OF_PAPER = "paper, Δ"  # the line below one of ours
BEYOND_NOISE = "†"
MOST_LETTERS = 30  # of a name in a table; the whole of a longer one stands in a footnote
_MARKDOWN = re.compile(r"[\\`*\[\]|~<>&]")


def column_title(task: str, metric: str) -> str:
    return f"{task} {METRIC_LABELS.get(metric, metric)}"


def usual_seeds(rows: Iterable[Row]) -> int:
    """How many seeds most numbers are of; a cell of another number says so itself."""
    counts = Counter(row.n for row in rows if row.value is not None and not row.missing)
    return max(counts, key=lambda n: (counts[n], n), default=0)


def cell_text(row: Row, seeds: int) -> str:
    """One cell, as 81.25±0.21, and (3) behind it where it is of another number of seeds than `seeds`.

    With seeds missing it counts them, as 81.25 (1 of 2); with no value at all it says "missing".
    """
    if row.value is None:
        return "missing"
    spread = "" if row.spread is None else f"±{two_decimals(row.spread)}"
    count = f" ({row.n} of {row.n + row.missing})" if row.missing else "" if row.n == seeds else f" ({row.n})"
    return f"{two_decimals(row.value)}{spread}{count}"


def paper_text(row: Row | None, number: PublishedNumber | None = None) -> str:
    """The paper's number and how far ours is above it, as 81.10 +0.15; empty where the paper's does not stand here.

    number: what the paper prints, where it stands beside ours whether or not the two compare.
    """
    if row is None or row.published is None or row.difference is None:
        printed = number.value if number is not None else None if row is None else row.published
        return two_decimals(printed)
    return f"{row.published:.2f} {signed(row.difference)}{BEYOND_NOISE if exceeds_noise(row) else ''}"


def signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}"  # + 0.0 turns -0.0 into 0.0


def interval_text(interval: Interval) -> str:
    return f"{signed(interval.low)} to {signed(interval.high)}"


def two_decimals(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def sparsity_texts(sparsities: Iterable[float]) -> dict[float, str]:
    """Each sparsity with two decimals, or as many as it needs, six at most: 0.85, 0.90, 0.975.

    Those that would read alike, or as zero, are written in full: whatever was trained apart is told apart.
    """
    texts = {sparsity: _six_decimals(sparsity) for sparsity in sparsities}
    shared = Counter(texts.values())
    return {
        sparsity: repr(sparsity)
        if sparsity != round(sparsity, 6) and (shared[text] > 1 or float(text) in (0.0, 1.0))
        else text
        for sparsity, text in texts.items()
    }


def _six_decimals(sparsity: float) -> str:
    whole, decimals = f"{sparsity:.6f}".split(".")
    return f"{whole}.{decimals.rstrip('0'):0<2}"


def numbers_text(numbers: Iterable[int]) -> str:
    """Whole numbers in order, as "0 to 4" where they leave out none, else "0, 1, 5"."""
    found = sorted(set(numbers))
    if len(found) > 2 and found[-1] - found[0] == len(found) - 1:
        return f"{found[0]} to {found[-1]}"
    return ", ".join(map(str, found))


def printable(text: str) -> str:
    """A name on one line, harmless in a terminal: what controls one, or orders text otherwise, is spelled \\x1b."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character)[0] in "CZM" and character != " "
        else character
        for character in text
    )


def shortened(text: str, most: int = MOST_LETTERS) -> str:
    """A name as it stands in a table, where it takes at most so many columns, escaped."""
    return text if width(escaped(text)) <= most else f"{_beginning(text, most - 2)}.."


def escaped(text: str) -> str:
    """Harmless in Markdown: no markup, no HTML, no other cell. An underscore within a word is no markup."""
    return _MARKDOWN.sub(r"\\\g<0>", text)


def width(text: str) -> int:
    """Columns of a terminal that it takes."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _beginning(text: str, most: int) -> str:
    text = text[:most]
    while width(escaped(text)) > most:
        text = text[:-1]
    return text


def mark(number: int) -> str:
    """Of the footnote with that number, from 0: a, b, .., z, aa, ab, .."""
    letters = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return letters
