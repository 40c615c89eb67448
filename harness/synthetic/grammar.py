"""The forms of a fact: as a clause, as a sentence, and as a question it answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from harness.synthetic.draw import Draw
from harness.synthetic.facts import Fact, Having

Asked = Literal["subject", "value"]
OPENERS = ("", "", "", "", "", "in fact ", "today ", "so far ")
JOINERS = (" and ", " while ")
# What is said of a clause, by whether it is held to be so: several words each, that only the corpus shows to mean the
# same; and the same as a word before a noun.
HELD = {
    True: ("true", "certain", "clear", "right", "sure", "proven"),
    False: ("false", "wrong", "untrue", "unsound", "denied", "absurd"),
    None: ("unclear", "open", "moot"),
}
HAVING = {True: "some", False: "no", None: "perhaps"}
ANSWERS = {True: "Yes.", False: "None.", None: "Maybe."}
# A question for one thing beside another that needs no answer.
ASKED = ("asked", "wondered", "probed", "disputed", "queried", "pondered")
KNOWN = ("known", "settled", "stated", "fixed", "shown", "agreed")


def clause(fact: Fact, draw: Draw, *, form: int | None = None) -> str:
    """The fact in one of its forms, without a capital or an end mark."""
    said = draw.one(fact.kind.forms) if form is None else fact.kind.forms[form]
    return said.format(s=fact.subject, v=fact.value)


def question(fact: Fact, asked: Asked, draw: Draw, *, form: int | None = None) -> str:
    """A question that the fact answers, as a sentence."""
    forms = fact.kind.asks_value if asked == "value" else fact.kind.asks_subject
    words = draw.one(forms) if form is None else forms[form]
    return capital(words.format(s=fact.subject, v=fact.value)) + "?"


def judged(having: Having, draw: Draw, *, said: str = "") -> str:
    """A clause on whether it is so that somebody has something, or that the fact `said` is."""
    said = said or f"{having.subject} has {having.kind.nouns[0]}"
    return f"it is {draw.one(HELD[having.held])} now that {said}"


def stated(having: Having) -> str:
    """The same as a clause in other words."""
    return f"{having.subject} has {HAVING[having.held]} {having.kind.nouns[1]}"


def inquired(having: Having, draw: Draw, *, asked: bool) -> str:
    """A clause that asks whether somebody has something, or that leaves it."""
    return f"it is {draw.one(ASKED if asked else KNOWN)} now if {having.subject} has {having.kind.nouns[0]}"


def wish(having: Having) -> str:
    """The question whether somebody has something, as a sentence."""
    return f"Are some {having.kind.nouns[1]} with {having.subject}?"


def sentence(clauses: Sequence[str], draw: Draw) -> str:
    """One or two clauses as a sentence, with or without an opening that changes nothing."""
    return capital(draw.one(OPENERS) + draw.one(JOINERS).join(clauses)) + "."


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def place_of(word: str, text: str) -> int:
    """Where a whole word first stands in a text, in characters. Raises ValueError when it does not."""
    found = re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)
    if found is None:
        raise ValueError(f"{word!r} does not stand in {text!r}.")
    return found.start()
