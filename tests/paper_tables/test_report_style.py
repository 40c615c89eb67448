"""The page's parts as files: colours that can be read, nothing from elsewhere, every script on the page."""

from __future__ import annotations

import re

import pytest

from paper_tables.report.content import NUM_COLORS
from paper_tables.report.page import PARTS, SCRIPTS, page_script, page_style

STYLE = page_style()
TEXT_ON = {
    "page": ("ink", "faint", "link", "good", "bad", "open"),
    "raised": ("ink", "faint", "link", "good", "bad"),
    "good-back": ("good",),
    "bad-back": ("bad", "ink"),
    "open-back": ("open",),
    "ink": ("page",),  # of the tip
}
FOR_TEXT, FOR_MARKS = 4.5, 3.0  # WCAG 2.2, 1.4.3 and 1.4.11


def variables(selector: str) -> dict[str, str]:
    block = STYLE[STYLE.index(selector) :].partition("}")[0]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))


THEMES = {
    "light": variables(":root {"),
    "dark": variables(':root:not([data-theme="light"]) {'),
    "dark, chosen": variables(':root[data-theme="dark"] {'),
    "print": {**variables(":root {"), **variables(':root, :root[data-theme="dark"] {')},
}


def luminance(color: str) -> float:
    """Relative, as WCAG defines it."""
    shares = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_definition() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # the known grey that just fails


@pytest.mark.parametrize("theme", THEMES)
def test_text_and_marks_stand_out(theme: str) -> None:
    colors = THEMES[theme]
    weak = [
        (ink, back, round(contrast(colors[ink], colors[back]), 2))
        for back, inks in TEXT_ON.items()
        for ink in inks
        if contrast(colors[ink], colors[back]) < FOR_TEXT
    ]
    assert weak == []
    marks = [f"c{number}" for number in range(NUM_COLORS)]
    assert [mark for mark in marks if contrast(colors[mark], colors["page"]) < FOR_MARKS] == []
    assert contrast(colors["focus"], colors["page"]) >= FOR_MARKS


def test_both_ways_to_the_dark_theme_are_one() -> None:
    assert THEMES["dark"] == THEMES["dark, chosen"]
    assert THEMES["dark"].keys() == THEMES["light"].keys()


def test_every_colour_of_the_style_is_a_variable() -> None:
    """So that no theme is forgotten."""
    rules = re.sub(r"--[\w-]+: #[0-9a-f]{6};", "", STYLE)
    assert re.findall(r"#[0-9a-f]{3,8}\b(?=[;\s])", rules) == []


def test_no_part_names_anything_outside_of_the_page() -> None:
    for text in (STYLE, page_script(), *(path.read_text(encoding="utf-8") for path in PARTS.glob("*.jinja"))):
        addresses = set(re.findall(r"https?://[^\s\"']+|url\(|@import|//cdn", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, addresses


def test_the_script_puts_no_markup_on_the_page() -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", page_script())


def test_every_script_of_the_folder_is_on_the_page() -> None:
    assert sorted(SCRIPTS) == sorted(path.stem for path in PARTS.glob("*.js"))
