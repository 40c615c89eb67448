"""What is the case in a scene: two people, one value each for every trait, and who does what for whom.

A fact names its relation by the relation's name. What follows from a fact is decided here, and nowhere by words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from harness.synthetic.draw import Draw
from harness.synthetic.words import RELATIONS, TIES, TRAITS, Relation

ENTAILMENT, NEUTRAL, CONTRADICTION = 0, 1, 2  # the order of mnli's labels on the hub
_BY_NAME = {relation.name: relation for relation in RELATIONS}


@dataclass(frozen=True)
class Fact:
    """`subject` stands in `relation` to `value`."""

    subject: str
    relation: str
    value: str

    @cached_property
    def kind(self) -> Relation:
        return _BY_NAME[self.relation]

    @property
    def people(self) -> tuple[str, ...]:
        return (self.subject,) if self.kind.exclusive else (self.subject, self.value)

    def reversed(self) -> Fact:
        """The other way round: its value stands in the relation to its subject."""
        return replace(self, subject=self.value, value=self.subject)


@dataclass(frozen=True)
class Having:
    """Whether a person has something of a trait's kind at all. held: that it is so, that it is not, None: open."""

    subject: str
    relation: str
    held: bool | None = True

    @cached_property
    def kind(self) -> Relation:
        return _BY_NAME[self.relation]


def verdict(premise: Sequence[Having], hypothesis: Having) -> int:
    """ENTAILMENT, NEUTRAL or CONTRADICTION: what the premise implies for the hypothesis, which is not open."""
    for said in premise:
        if (said.subject, said.relation) == (hypothesis.subject, hypothesis.relation) and said.held is not None:
            return ENTAILMENT if said.held == hypothesis.held else CONTRADICTION
    return NEUTRAL


def draw_scene(draw: Draw, one: str, other: str) -> list[Fact]:
    """All facts of a scene of two people: every trait of both, and every tie between them, one way."""
    facts = list[Fact]()
    for relation in TRAITS:
        values = draw.some(relation.values, 2)
        facts += [Fact(person, relation.name, value) for person, value in zip((one, other), values, strict=True)]
    for relation in TIES:
        subject, value = draw.some((one, other), 2)
        facts.append(Fact(subject, relation.name, value))
    return facts
