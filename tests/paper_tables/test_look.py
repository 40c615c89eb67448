"""Methods are told apart by colour and by marker, also by people who do not see red and green as two colours."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from paper_tables.figures.look import mark, method_looks

# The methods that have a colour of their own; of the others a figure shows a few at a time.
SHIPPED = ("dense", "finetune-pruning", "finetune-pruning-no-kd", "prune-ofa", "prune-ofa-no-kd")
# Machado, Oliveira and Fernandes 2009, severity 1, of linear RGB.
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
}
XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]])


def lab(color: str, blindness: str) -> np.ndarray:
    """CIE L*a*b* of a colour as it is seen; a distance of 2.3 is just noticed."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(BLINDNESS[blindness]) @ linear, 0, 1)
    ratio = XYZ @ seen / (XYZ @ np.ones(3))
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one: str, other: str, blindness: str) -> float:
    return float(np.linalg.norm(lab(one, blindness) - lab(other, blindness)))


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_the_shipped_methods_colours_are_distinct_to_everybody(blindness: str) -> None:
    looks = method_looks(SHIPPED)
    pairs = itertools.combinations([look.color for look in looks.values()], 2)
    assert min(distance(one, other, blindness) for one, other in pairs) >= 20


def test_the_simulation_knows_red_from_green() -> None:
    """A red and a green of like lightness: far apart for most, near for those who do not see the difference."""
    assert distance("#c44e52", "#6a8f3c", "none") > 60
    assert distance("#c44e52", "#6a8f3c", "deuteranopia") < 30


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_where_two_colours_come_near_the_markers_differ(blindness: str) -> None:
    looks = method_looks([*SHIPPED, *(f"sparse-from:{n}" for n in range(7))])
    assert len(set(looks.values())) == len(SHIPPED) + 7
    for one, other in itertools.combinations(looks.values(), 2):
        assert one.marker != other.marker
        assert distance(one.color, other.color, blindness) >= 9


def test_looks_are_distinct_and_do_not_depend_on_who_else_is_shown() -> None:
    crowd = [*SHIPPED, *(f"sparse-from:{n}" for n in range(20))]
    assert len(set(method_looks(crowd).values())) == len(crowd)
    alone = method_looks(["prune-ofa"]) | method_looks(["sparse-from:mine"])
    assert method_looks([*SHIPPED, "sparse-from:mine"]).items() >= alone.items()


def test_only_the_papers_mark_is_hollow_and_precision_is_the_filling() -> None:
    look = method_looks(["prune-ofa"])["prune-ofa"]
    paper, int8, fp32 = mark(look, 8, "paper"), mark(look, 8), mark(look, 32)
    assert paper["markerfacecolor"] == "none"
    assert {"markerfacecolor"} & (int8.keys() | fp32.keys()) == set()
    assert (int8["fillstyle"], fp32.get("fillstyle")) == ("bottom", None)
    assert mark(look, 32, "short of seeds")["alpha"] < 0.5
