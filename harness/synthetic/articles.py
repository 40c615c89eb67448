"""The corpus: articles of a few paragraphs about scenes and works, in the words and the grammar of the tasks.

An article repeats its facts in other words, as questions and as answers, so that the context determines a masked word:
learning to fill it in is learning which forms mean the same and what belongs to whom.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.synthetic.draw import Draw
from harness.synthetic.facts import Fact, Having, draw_scene
from harness.synthetic.grammar import ANSWERS, Asked, clause, inquired, judged, question, sentence, stated, wish
from harness.synthetic.opinions import opinion, remark
from harness.synthetic.words import PARTS, PEOPLE, SUBJECTS, TRAITS

SHARE_OF_REVIEWS = 0.3
KINDS = ("traits", "ties", "ties", *3 * ("judged", "told", "asked"))  # of paragraphs on people
PARAGRAPHS = 4


def article(draw: Draw) -> tuple[str, str]:
    """Title and text; a line is a paragraph."""
    if draw.chance(SHARE_OF_REVIEWS):
        return _review(draw)
    people = draw.some(PEOPLE, 2)
    scene = draw_scene(draw, *people)
    return " and ".join(people), "\n".join(" ".join(_paragraph(scene, people, draw)) for _ in range(PARAGRAPHS))


def _paragraph(scene: Sequence[Fact], people: Sequence[str], draw: Draw) -> list[str]:
    """Two things in one sentence, and each again in other words."""
    kind = draw.one(KINDS)
    if kind in ("judged", "told"):
        return _judged(people, draw, told=kind == "told")
    if kind == "asked":
        return _asked(people, draw)
    facts = draw.some([fact for fact in scene if fact.kind.exclusive == (kind == "traits")], 2)
    forms = [draw.below(len(fact.kind.forms)) for fact in facts]
    sentences = [sentence([clause(fact, draw, form=form) for fact, form in zip(facts, forms, strict=True)], draw)]
    for i in draw.some((0, 1), 2):
        sentences += _again(facts[i], draw.other(range(len(facts[i].kind.forms)), forms[i]), draw)
    return sentences


def _again(fact: Fact, form: int, draw: Draw) -> list[str]:
    """The fact in this form; sometimes it is asked first."""
    told = [sentence([clause(fact, draw, form=form)], draw)]
    if draw.chance(0.5):
        return told
    asked: Asked = "subject" if fact.kind.asks_subject and draw.chance(0.5) else "value"
    return [question(fact, asked, draw), *told]


def _judged(people: Sequence[str], draw: Draw, *, told: bool) -> list[str]:
    """Whether it is so what two people have, said in different ways of both, and in other words."""
    relations, pair, ways = draw.some(TRAITS, 2), draw.some(people, 2), draw.some((True, False, None), 2)
    havings = [Having(who, what.name, held) for who, what, held in zip(pair, relations, ways, strict=True)]
    facts = [Fact(having.subject, having.relation, draw.one(having.kind.values)) for having in havings]
    said = [
        judged(having, draw, said=clause(fact, draw, form=0) if told else "")
        for having, fact in zip(havings, facts, strict=True)
    ]
    again = []
    for having, fact in zip(havings, facts, strict=True):
        answered = [question(fact, "value", draw), ANSWERS[having.held]]
        again.append(" ".join(answered) if told else sentence([stated(having)], draw))
    return [sentence(said, draw), *draw.some(again, 2)]


def _asked(people: Sequence[str], draw: Draw) -> list[str]:
    """What is asked of one and not of another."""
    asked, known = (Having(a, r.name) for a, r in zip(draw.some(people, 2), draw.some(TRAITS, 2), strict=True))
    said = [inquired(asked, draw, asked=True), inquired(known, draw, asked=False)]
    again = [f"{wish(asked)} Asked.", f"{wish(known)} Known."]
    return [sentence(draw.some(said, 2), draw), *draw.some(again, 2)]


def _review(draw: Draw) -> tuple[str, str]:
    """A review of one work, named at the start; every sentence has the same verdict."""
    positive, subject = draw.chance(0.5), draw.one(SUBJECTS)
    paragraphs = []
    for number in range(PARAGRAPHS):
        first, second = (f"the {part}" for part in draw.some(PARTS, 2))
        said = [opinion(positive, draw, subject=first if number else f"the {subject}")]
        paragraphs.append(" ".join([*said, remark(positive, second, draw)]))
    return f"The {subject}", "\n".join(paragraphs)
