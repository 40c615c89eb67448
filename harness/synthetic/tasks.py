"""Rows of the five tasks: a label follows from the stated facts; each maker takes the label its row is to have.

A pair of texts that does not match has all that a matching pair has: as many people, each as often, in the same forms,
so that the label follows only from who, what and how they belong together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from harness.synthetic.draw import Draw
from harness.synthetic.facts import CONTRADICTION, ENTAILMENT, Fact, Having, verdict
from harness.synthetic.grammar import (
    ASKED,
    HELD,
    KNOWN,
    Asked,
    capital,
    clause,
    inquired,
    judged,
    place_of,
    question,
    sentence,
    stated,
    wish,
)
from harness.synthetic.opinions import opinion
from harness.synthetic.words import BLAME, PEOPLE, PRAISE, TIES, TRAITS, Relation

Row = dict[str, Any]
TRAITS_ASKED = 0.25  # share of squad's questions that ask for no person


def sst2(label: int, draw: Draw) -> Row:
    """label: 0 negative, 1 positive."""
    return {"sentence": opinion(label == 1, draw), "label": label}


def qnli(label: int, draw: Draw) -> Row:
    """A question and a sentence on two people. label: 0 the sentence answers it, 1 it only denies something."""
    havings = _two_havings(draw, (True, False))
    asked = havings[label]
    said = [judged(each, draw, said=clause(_some_fact(each, draw), draw, form=0)) for each in draw.some(havings, 2)]
    return {
        "question": question(_some_fact(asked, draw), "value", draw),
        "sentence": sentence(said, draw),
        "label": label,
    }


def qqp(label: int, draw: Draw) -> Row:
    """A question of one person, and one that asks of one person and leaves another. label: 1 they ask the same."""
    asked, known = _two_havings(draw, (True, True))
    said = [inquired(asked, draw, asked=True), inquired(known, draw, asked=False)]
    return {
        "question1": wish(asked if label == 1 else known),
        "question2": capital(" and ".join(draw.some(said, 2))) + "?",
        "label": label,
    }


def mnli(label: int, draw: Draw) -> Row:
    """A premise on what two people have, and a hypothesis on one of them. label: as in `harness.synthetic.facts`."""
    held = {ENTAILMENT: True, CONTRADICTION: False}.get(label)
    about, other = _two_havings(draw, (held, draw.other((True, False, None), held)))
    hypothesis = replace(about, held=True)
    assert verdict([about, other], hypothesis) == label, (about, other)
    said = [judged(having, draw) for having in draw.some((about, other), 2)]
    return {"premise": sentence(said, draw), "hypothesis": sentence([stated(hypothesis)], draw), "label": label}


def squad(_: int, draw: Draw) -> Row:
    """A context on three people, and a question that one of its facts answers.

    Mostly it asks for a person: the one asked of stands at either end of the same relation, with somebody else each.
    """
    one, before, after = draw.some(PEOPLE, 3)
    tie, trait = draw.one(TIES).name, draw.one(TRAITS)
    facts = [Fact(before, tie, one), Fact(one, tie, after)]
    values = draw.some(trait.values, 2)
    people = (one, draw.one((before, after)))
    facts += [Fact(person, trait.name, value) for person, value in zip(people, values, strict=True)]
    fact = facts[2] if draw.chance(TRAITS_ASKED) else draw.one(facts[:2])
    asked: Asked = "subject" if fact.value == one else "value"
    form = draw.below(2)
    draw.shuffle(facts)
    context, start = "", -1
    for each in facts:
        words = clause(each, draw) if each.kind.exclusive else _otherwise(each, asked, form, draw)
        said = sentence([words], draw)
        context += " " if context else ""
        if each is fact:
            start = len(context) + place_of(fact.subject if asked == "subject" else fact.value, said)
        context += said
    length = len(fact.subject if asked == "subject" else fact.value)
    return {
        "title": " and ".join(sorted((one, before, after))),
        "context": context,
        "question": question(fact, asked, draw, form=form),
        "answers": {"text": [context[start : start + length]], "answer_start": [start]},
    }


MAKERS: Mapping[str, Callable[[int, Draw], Row]] = {
    "sst2": sst2,
    "qnli": qnli,
    "qqp": qqp,
    "mnli": mnli,
    "squad": squad,
}
# Words of a task's validation rows that are in none of its training rows: only the corpus shows what they mean.
UNTAUGHT: Mapping[str, frozenset[str]] = {
    "sst2": frozenset(PRAISE[-3:] + BLAME[-3:]),
    "qnli": frozenset(HELD[True][-2:] + HELD[False][-2:]),
    "qqp": frozenset(ASKED[-2:] + KNOWN[-2:]),
}
NUM_LABELS: Mapping[str, int] = {"sst2": 2, "qnli": 2, "qqp": 2, "mnli": 3, "squad": 1}
# The columns that make a row's text: no two rows share it.
KEYS: Mapping[str, tuple[str, ...]] = {
    "sst2": ("sentence",),
    "qnli": ("sentence",),
    "qqp": ("question1", "question2"),
    "mnli": ("premise",),
    "squad": ("context",),
}


def _trait(relation: Relation, person: str, draw: Draw) -> Fact:
    return Fact(person, relation.name, draw.one(relation.values))


def _otherwise(fact: Fact, asked: Asked, form: int, draw: Draw) -> str:
    """A tie in another form than the question after `asked` in its form `form`, of the same direction or not."""
    same, turned = ((0, 1), (2, 3)) if asked == "subject" else ((2, 3), (0, 1))
    return clause(fact, draw, form=same[1 - form] if draw.chance(0.5) else draw.one(turned))


def _two_havings(draw: Draw, held: tuple[bool | None, bool | None]) -> list[Having]:
    """Of two people and two traits."""
    rows = zip(draw.some(PEOPLE, 2), draw.some(TRAITS, 2), held, strict=True)
    return [Having(person, relation.name, held) for person, relation, held in rows]


def _some_fact(having: Having, draw: Draw) -> Fact:
    return Fact(having.subject, having.relation, draw.one(having.kind.values))
