"""What is the case in a scene: a few people, one value each for every trait, and who does what for whom.

A fact names its relation by the relation's name. What follows from a fact is decided here, and nowhere by words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from harness.synthetic.draw import Draw
from harness.synthetic.words import CLASSES, PEOPLE, RELATIONS, TIES, TRAITS, Relation

ENTAILMENT, NEUTRAL, CONTRADICTION = 0, 1, 2  # the order of mnli's labels on the hub
_BY_NAME = {relation.name: relation for relation in RELATIONS}


@dataclass(frozen=True)
class Fact:
    """`subject` stands in `relation` to `value`; `denied`: it does not."""

    subject: str
    relation: str
    value: str
    denied: bool = False

    @cached_property
    def kind(self) -> Relation:
        return _BY_NAME[self.relation]

    @property
    def people(self) -> tuple[str, ...]:
        return (self.subject,) if self.kind.exclusive else (self.subject, self.value)


def verdict(premise: Sequence[Fact], hypothesis: Fact) -> int:
    """ENTAILMENT, NEUTRAL or CONTRADICTION: what the premise's facts imply for the hypothesis."""
    for fact in premise:
        if (fact.subject, fact.relation) != (hypothesis.subject, hypothesis.relation):
            continue
        implied = _implied(fact, hypothesis.value)
        if implied is not None:
            return CONTRADICTION if implied == hypothesis.denied else ENTAILMENT
    return NEUTRAL


def _implied(fact: Fact, value: str) -> bool | None:
    """Whether a fact implies that its subject has this value (True) or has not (False); None: neither."""
    known, claimed = CLASSES.get(fact.value, (fact.value,)), CLASSES.get(value, (value,))
    if fact.denied:
        return False if set(claimed) <= set(known) else None
    if set(known) <= set(claimed):
        return True
    return False if fact.kind.exclusive and not set(known) & set(claimed) else None


def draw_scene(draw: Draw, num_people: int, *, num_ties: int = 2) -> list[Fact]:
    """All facts of a scene: every trait of every person, then ties, no two between the same people."""
    people = draw.some(PEOPLE, num_people)
    traits = list[Fact]()
    for relation in TRAITS:
        values = draw.some(relation.values, num_people)
        traits += [Fact(person, relation.name, value) for person, value in zip(people, values, strict=True)]
    pairs = [(a, b) for i, a in enumerate(people) for b in people[i + 1 :]]
    ties = []
    for pair in draw.some(pairs, min(num_ties, len(pairs))):
        subject, value = draw.some(pair, 2)
        ties.append(Fact(subject, draw.one(TIES).name, value))
    return traits + ties


def denial(fact: Fact, draw: Draw) -> Fact:
    """Something that is not so because the fact is: another value denied, or for a tie the other direction."""
    if fact.kind.exclusive:
        return replace(fact, value=draw.other(fact.kind.values, fact.value), denied=True)
    return replace(fact, subject=fact.value, value=fact.subject, denied=True)
