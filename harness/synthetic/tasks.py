"""Rows of the five tasks: a label follows from the stated facts; each maker takes the label its row is to have.

A pair of texts that does not match has all that a matching pair has: as many people, each as often, in the same forms,
so that the label follows only from who, what and how they belong together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.synthetic.draw import Draw
from harness.synthetic.facts import ENTAILMENT, NEUTRAL, Fact, draw_scene, verdict
from harness.synthetic.grammar import Asked, clause, place_of, question, sentence
from harness.synthetic.opinions import opinion
from harness.synthetic.words import BLAME, CLASSES, PEOPLE, PRAISE, TIES, TRAITS, Relation

Row = dict[str, Any]
ABSENT = 0.5  # share of the pairs that do not belong together whose matter is somebody's of whom the other is silent
OTHERWISE = 0.2  # share of the questions without an answer that ask something else of the right person
MUTUAL = 0.15  # share of qqp's pairs on who does what for whom: the hardest to distinguish
DENIED = 0.35  # share of mnli's hypotheses that deny, the same in every class
WIDENED = 0.25  # share of mnli's facts about pets that name a wider class on one side
FACTS_OF_A_CONTEXT = 4


def sst2(label: int, draw: Draw) -> Row:
    """label: 0 negative, 1 positive."""
    return {"sentence": opinion(label == 1, draw), "label": label}


def qnli(label: int, draw: Draw) -> Row:
    """A question and a sentence of two facts. label: 0 the sentence answers it, 1 it does not."""
    asked = _fact(draw.one(TRAITS), draw.some(PEOPLE, 2), draw)
    if label == 0:
        stated, _ = _beside_a_tie(asked, draw, silent=False)
    elif draw.chance(OTHERWISE):
        stated, _ = _beside_a_tie(asked, draw, silent=False)
        asked = replace(asked, relation=draw.other(TRAITS, asked.kind).name)
    else:
        stated, somebody = _beside_a_tie(asked, draw, silent=draw.chance(ABSENT))
        asked = replace(asked, subject=somebody)
    return {"question": question(asked, "value", draw), "sentence": _said(stated, draw), "label": label}


def qqp(label: int, draw: Draw) -> Row:
    """Two questions. label: 1 they ask the same, 0 they do not."""
    relation = draw.one(TIES if draw.chance(MUTUAL) else TRAITS)
    fact = _fact(relation, draw.some(PEOPLE, 2), draw)
    asked = _asked(fact, draw)
    said = question(fact, asked, draw)
    if label == 1:
        other = fact
    elif not fact.kind.exclusive:  # the same words the other way round: who helps Anna, whom does Anna help
        other = replace(fact, subject=fact.value, value=fact.subject)
        asked = "value" if asked == "subject" else "subject"
    elif draw.chance(0.5):
        other = replace(fact, subject=draw.other(PEOPLE, fact.subject))
    else:
        relation = draw.other(TRAITS, fact.kind)
        other = Fact(fact.subject, relation.name, draw.one(relation.values))
    return {"question1": said, "question2": question(other, asked, draw), "label": label}


def mnli(label: int, draw: Draw) -> Row:
    """A premise of two facts, and a hypothesis. label: as `harness.synthetic.facts`."""
    about = _fact(draw.one(TRAITS), draw.some(PEOPLE, 2), draw)
    premise, somebody = _beside_a_tie(about, draw, silent=label == NEUTRAL and draw.chance(ABSENT))
    denied = draw.chance(DENIED)
    same_value = draw.chance(0.5) if label == NEUTRAL else (label == ENTAILMENT) != denied
    value = about.value if same_value else draw.other(about.kind.values, about.value)
    hypothesis = replace(about, value=value, denied=denied)
    if label == NEUTRAL:
        hypothesis = replace(hypothesis, subject=somebody)
    elif draw.chance(WIDENED):
        hypothesis = _widened(hypothesis, about)
    assert verdict(premise, hypothesis) == label, (premise, hypothesis)
    return {"premise": _said(premise, draw), "hypothesis": sentence([clause(hypothesis, draw)], draw), "label": label}


def squad(_: int, draw: Draw) -> Row:
    """A context of four facts, and a question that one answers; another states the same relation of somebody else."""
    facts = draw_scene(draw, 2)
    fact = draw.one(facts)
    context_facts = [fact, *(f for f in facts if f.relation == fact.relation and f != fact)]
    others = [f for f in facts if f not in context_facts]
    context_facts += draw.some(others, FACTS_OF_A_CONTEXT - len(context_facts))
    draw.shuffle(context_facts)
    asked = _asked(fact, draw)
    answer = fact.subject if asked == "subject" else fact.value
    context, start = "", -1
    for each in context_facts:
        said = sentence([clause(each, draw)], draw)
        context += " " if context else ""
        if each is fact:
            start = len(context) + place_of(answer, said)
        context += said
    return {
        "title": " and ".join(sorted({f.subject for f in facts})),
        "context": context,
        "question": question(fact, asked, draw),
        "answers": {"text": [answer], "answer_start": [start]},
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
    "qqp": frozenset(PEOPLE[-6:]),
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


def _fact(relation: Relation, people: Sequence[str], draw: Draw) -> Fact:
    """Of the first person; the second is at its other end where the relation is between people."""
    subject, somebody = people
    return Fact(subject, relation.name, draw.one(relation.values) if relation.exclusive else somebody)


def _beside_a_tie(trait: Fact, draw: Draw, *, silent: bool) -> tuple[list[Fact], str]:
    """The trait and a tie, in any order, and somebody whose trait they do not state.

    That is one of the tie's, and the tie's other end somebody new; or (silent) neither mentions that person, and the
    tie's other end is the trait's person. So people are named equally often with the second text, whoever it is on.
    """
    one, new = draw.some([person for person in PEOPLE if person != trait.subject], 2)
    ends = draw.some((one, trait.subject if silent else new), 2)
    facts = [trait, Fact(ends[0], draw.one(TIES).name, ends[1])]
    draw.shuffle(facts)
    return facts, new if silent else one


def _said(facts: list[Fact], draw: Draw) -> str:
    return sentence([clause(fact, draw) for fact in facts], draw)


def _widened(hypothesis: Fact, about: Fact) -> Fact:
    """A hypothesis on a pet's class instead, where that leaves it as true as it was."""
    wider = {member: name for name, members in CLASSES.items() for member in members}
    if hypothesis.value not in wider or (
        hypothesis.value != about.value and wider[hypothesis.value] == wider[about.value]
    ):
        return hypothesis
    return replace(hypothesis, value=wider[hypothesis.value])


def _asked(fact: Fact, draw: Draw) -> Asked:
    return "subject" if fact.kind.asks_subject and draw.chance(0.5) else "value"
