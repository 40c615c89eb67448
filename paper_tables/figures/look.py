"""How methods and precisions look: a colour and a marker for each method, a filling for each precision."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

INK, PALE_INK, GREY = "#262626", "#4d4d4d", "#8c8c8c"


@dataclass(frozen=True)
class Look:
    """marker: matplotlib's letter of it."""

    color: str
    marker: str


# Distinct for people who do not see red and green as two colours; markers tell apart what colours do not.
_KNOWN = {
    "dense": Look("#4d4d4d", "D"),
    "finetune-pruning": Look("#de8f05", "s"),
    "prune-ofa": Look("#0173b2", "o"),
    "prune-ofa-no-kd": Look("#029e73", "^"),
    "finetune-pruning-no-kd": Look("#cc3311", "v"),
}
_OTHERS = (
    Look("#cc78bc", "P"),
    Look("#56b4e9", "X"),
    Look("#8c5a2b", "<"),
    Look("#332288", ">"),
    Look("#8844ee", "p"),
    Look("#999933", "h"),
    Look("#33cc99", "*"),
)
_MARKERS = "vPX<>ph8*dH"
PRECISIONS = {32: "filled: fp32 (32 bits)", 8: "half filled: int8 (8 bits)"}

MARK, RING, SEED = 3.8, 5.4, 1.6  # points: the paper's ring shows round a marker of the same value


def method_looks(methods: Collection[str]) -> dict[str, Look]:
    """A look for each method: the same in every figure for the shipped ones, and for others as far as names allow.

    Another method's look follows from its name; only where two want one does the later name take the next free one.
    More methods than looks get evenly spaced hues, distinct but no longer safe for everyone.
    """
    looks = {method: look for method, look in _KNOWN.items() if method in methods}
    free = list(_OTHERS)
    others = sorted(set(methods) - set(looks))
    crowded = max(1, len(others) - len(free))
    for number, method in enumerate(others):
        if free:
            wanted = int.from_bytes(hashlib.sha256(method.encode()).digest()[:4], "big") % len(_OTHERS)
            look = next(look for look in (*_OTHERS[wanted:], *_OTHERS) if look in free)
            free.remove(look)
        else:
            number -= len(_OTHERS)
            red, green, blue = (round(255 * c) for c in colorsys.hls_to_rgb(number / crowded, 0.4, 0.8))
            look = Look(f"#{red:02x}{green:02x}{blue:02x}", _MARKERS[number % len(_MARKERS)])
        looks[method] = look
    return looks


BASELINES = {"chance": "chance", "shallow": "shallow features, at most"}
DENSE_LINE: Mapping[str, Any] = {"color": PALE_INK, "linestyle": (0, (4, 2.5)), "linewidth": 0.7}
FRONT_LINE: Mapping[str, Any] = {"color": "#c4c4c4", "linestyle": "-", "linewidth": 1.3}
BASELINE_LINES: Mapping[str, Mapping[str, Any]] = {
    "chance": {"color": PALE_INK, "linestyle": ":", "linewidth": 0.8},
    "shallow": {"color": PALE_INK, "linestyle": (0, (5, 1.5, 1, 1.5)), "linewidth": 0.7},
}
BAND: Mapping[str, Any] = {"alpha": 0.16, "linewidth": 0}
SEED_MARK: Mapping[str, Any] = {"marker": "o", "markersize": SEED, "markeredgewidth": 0, "linestyle": "none"}

Filling = Literal["ours", "short of seeds", "paper"]


def mark(look: Look, bits: int, filling: Filling = "ours") -> dict[str, Any]:
    """How a marker is drawn, on the axes and in the key: hollow for the paper's, pale for one short of seeds."""
    style: dict[str, Any] = {"marker": look.marker, "linestyle": "none", "color": look.color, "zorder": 5}
    if filling == "paper":
        return {**style, "markersize": RING, "markerfacecolor": "none", "markeredgewidth": 0.8, "zorder": 6}
    style |= {
        "markersize": MARK * (0.8 if look.marker == "D" else 1),
        "markeredgewidth": 0.6,
        "alpha": 0.4 if filling == "short of seeds" else None,
    }
    if bits == 8:
        style |= {"fillstyle": "bottom", "markerfacecoloralt": "white"}
    return style


def level_line(look: Look) -> Mapping[str, Any]:
    """A line over the width of a panel: what has no place on its axis."""
    return {
        "color": look.color,
        "linestyle": (0, (7, 1.2, 1.2, 1.2)),
        "linewidth": 0.9,
        "marker": look.marker,
        "markersize": 0.8 * MARK,
        "markeredgewidth": 0,
    }


def line(look: Look, bits: int) -> Mapping[str, Any]:
    """What joins the points of a method in one precision."""
    return {"color": look.color, "linewidth": 0.8, "alpha": 0.55, "linestyle": "-" if bits == 32 else (0, (3, 1.5))}
