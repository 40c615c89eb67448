"""The page of examples is the world as it is now."""

from __future__ import annotations

from pathlib import Path

from harness.synthetic.page import chance_levels, page
from harness.synthetic.source import SPLITS

PAGE = Path(__file__).parents[2] / "docs" / "synthetic-world.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m harness.synthetic.page > docs/synthetic-world.md"


def test_it_shows_ten_examples_of_each_task() -> None:
    sections = PAGE.read_text(encoding="utf-8").split("\n## ")
    for task in SPLITS:
        (section,) = (text for text in sections if text.startswith(f"{task}\n"))
        assert section.count("\n- ") == 10


def test_chance_is_a_class_s_share_and_a_guess_among_the_words_that_could_answer() -> None:
    levels = chance_levels()
    assert (levels["sst2"], levels["qnli"], levels["qqp"], levels["mnli"]) == (0.5, 0.5, 0.5, 1 / 3)
    assert levels["squad"] == 0.5  # two values, or three people of whom one is asked of
