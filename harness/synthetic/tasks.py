"""Rows of the five tasks: a label follows from the facts that are said; each maker takes the label its row is to have.

Where a pair of texts does not match, both say what a matching pair could say: as many people, each as often, in the
same forms, so that only who, what and how they belong together tells the label.
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
MUTUAL = 0.15  # share of qqp's pairs on who does what for whom: the hardest to tell apart
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
        told, _ = _beside_a_tie(asked, draw, silent=False)
    elif draw.chance(OTHERWISE):
        told, _ = _beside_a_tie(asked, draw, silent=False)
        asked = replace(asked, relation=draw.other(TRAITS, asked.kind).name)
    else:
        told, somebody = _beside_a_tie(asked, draw, silent=draw.chance(ABSENT))
        asked = replace(asked, subject=somebody)
    return {"question": question(asked, "value", draw), "sentence": _said(told, draw), "label": label}


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
    """A context of four facts, and a question that one of them answers; another tells the same of somebody else."""
    facts = draw_scene(draw, 2)
    fact = draw.one(facts)
    told = [fact, *(f for f in facts if f.relation == fact.relation and f != fact)]
    told += draw.some([f for f in facts if f not in told], FACTS_OF_A_CONTEXT - len(told))
    draw.shuffle(told)
    asked = _asked(fact, draw)
    answer = fact.subject if asked == "subject" else fact.value
    context, start = "", -1
    for each in told:
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
# Words that no training row of a task holds and its validation rows do: only the corpus tells what they are about.
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
    """The trait and a tie, in any order, and somebody whose trait they do not tell.

    That is one of the tie's, and the tie's other end somebody new; or (silent) neither tells of that person at all, and
    the tie's other end is the trait's person. So people are named equally often with the second text, whoever it is on.
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
