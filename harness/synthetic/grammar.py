"""The forms of a fact: as a clause, as a sentence, and as a question it answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from harness.synthetic.draw import Draw
from harness.synthetic.facts import Fact

Asked = Literal["subject", "value"]
OPENERS = ("", "", "", "", "", "in fact ", "today ", "so far ")
ASKERS = ("", "", "", "tell me, ", "so, ", "please say, ")
JOINERS = (" and ", " while ")


def clause(fact: Fact, draw: Draw, *, form: int | None = None) -> str:
    """The fact in one of its forms, without a capital or an end mark."""
    said, denied = draw.one(fact.kind.forms) if form is None else fact.kind.forms[form]
    return (denied if fact.denied else said).format(s=fact.subject, v=fact.value)


def question(fact: Fact, asked: Asked, draw: Draw, *, form: int | None = None) -> str:
    """A question that the fact answers, as a sentence."""
    forms = fact.kind.asks_value if asked == "value" else fact.kind.asks_subject
    words = draw.one(forms) if form is None else forms[form]
    return capital(draw.one(ASKERS) + words.format(s=fact.subject, v=fact.value)) + "?"


def sentence(clauses: Sequence[str], draw: Draw) -> str:
    """One or two clauses as a sentence, with or without an opening that changes nothing."""
    return capital(draw.one(OPENERS) + draw.one(JOINERS).join(clauses)) + "."


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def place_of(word: str, text: str) -> int:
    """Where a whole word first stands in a text, in characters. Raises ValueError when it does not."""
    found = re.search(rf"\b{re.escape(word)}\b", text)
    if found is None:
        raise ValueError(f"{word!r} does not stand in {text!r}.")
    return found.start()
