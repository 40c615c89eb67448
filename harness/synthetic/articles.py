"""The corpus: articles of a few paragraphs about scenes and works, in the words and the grammar of the tasks.

An article repeats its facts in other words, as questions and as answers, so that the context determines a masked word:
learning to fill it in is learning which forms mean the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.synthetic.draw import Draw
from harness.synthetic.facts import Fact, denial, draw_scene
from harness.synthetic.grammar import Asked, clause, question, sentence
from harness.synthetic.opinions import opinion, remark
from harness.synthetic.words import CLASSES, PARTS, SUBJECTS

SHARE_OF_REVIEWS = 0.45
SHARE_OF_TWO_PEOPLE = 0.6  # of the others, which are on one
PARAGRAPHS = 3
WAYS = ("asked", "asked", "beside another", "widened", "denied")


def article(draw: Draw) -> tuple[str, str]:
    """Title and text; a line is a paragraph."""
    if draw.chance(SHARE_OF_REVIEWS):
        return _review(draw)
    scene = draw_scene(draw, 2, num_ties=1)
    people = [scene[0].subject, scene[1].subject][: 2 if draw.chance(SHARE_OF_TWO_PEOPLE) else 1]
    facts = [fact for fact in scene if fact.subject in people or fact.value in people]
    paragraphs = []
    for _ in range(PARAGRAPHS):
        paragraphs.append(" ".join(_paragraph(draw.some(facts, 4), draw)))
    return " and ".join(people), "\n".join(paragraphs)


def _paragraph(facts: Sequence[Fact], draw: Draw) -> list[str]:
    """A paragraph's sentences: each of four facts once, two of them again in another way."""
    sentences: list[str] = []
    for fact in facts:
        sentences.append(sentence([clause(fact, draw)], draw))
    for fact in draw.some(facts, 2):
        sentences += _again(fact, facts, draw)
    return sentences


def _again(fact: Fact, facts: Sequence[Fact], draw: Draw) -> list[str]:
    """The fact in another way: asked and answered, restated beside another, widened, or its opposite denied."""
    way = draw.one(WAYS)
    if way == "asked":
        asked: Asked = "subject" if fact.kind.asks_subject and draw.chance(0.5) else "value"
        return [question(fact, asked, draw), sentence([clause(fact, draw)], draw)]
    if way == "beside another":
        return [sentence([clause(fact, draw), clause(draw.other(facts, fact), draw)], draw)]
    if way == "widened":
        wider = [name for name, members in CLASSES.items() if fact.value in members]
        said = replace(fact, value=wider[0]) if wider else fact
        return [sentence([clause(said, draw)], draw)]
    return [sentence([clause(denial(fact, draw), draw)], draw)]


def _review(draw: Draw) -> tuple[str, str]:
    """A review of one work, named at the start; every sentence has the same verdict."""
    positive, subject = draw.chance(0.5), draw.one(SUBJECTS)
    paragraphs = []
    for number in range(PARAGRAPHS):
        first, *others = (f"the {part}" for part in draw.some(PARTS, 3))
        said = [opinion(positive, draw, subject=first if number else f"the {subject}")]
        paragraphs.append(" ".join(said + [remark(positive, part, draw) for part in others]))
    return f"The {subject}", "\n".join(paragraphs)
