"""A reader of the synthetic world's texts that knows nothing of how they are written: sentences to facts, to answers.

It is typed in independently of `harness.synthetic`: patterns here, templates there.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Said(NamedTuple):
    """relation: home, trade, pet, game, or one of the ties."""

    who: str
    relation: str
    what: str


class Held(NamedTuple):
    """Whether somebody has something of a kind: yes, no, or open."""

    who: str
    kind: str
    so: str


KIND = {
    "houses": "home",
    "cities": "home",
    "jobs": "trade",
    "trades": "trade",
    "pets": "pet",
    "animals": "pet",
    "games": "game",
    "sports": "game",
}
SO = {
    **dict.fromkeys(("true", "certain", "clear", "right", "sure", "proven"), "yes"),
    **dict.fromkeys(("false", "untrue", "wrong", "unsound", "denied", "absurd"), "no"),
    **dict.fromkeys(("unclear", "open", "moot"), "open"),
}
WORD = {"some": "yes", "no": "no", "perhaps": "open"}
IS_ASKED = {
    **dict.fromkeys(("asked", "wondered", "probed", "disputed", "queried", "pondered"), True),
    **dict.fromkeys(("known", "settled", "stated", "fixed", "shown", "agreed"), False),
}
# W is who, V is what.
CLAUSES = {
    "home": ["W lives in V", "V is home to W"],
    "trade": ["W earns by V", "V is work for W"],
    "pet": ["W looks after V", "V are kept by W"],
    "game": ["W competes at V", "V is played by W"],
    "teaches": ["W teaches V", "W gives lessons to V", "V learns from W", "V is a pupil of W"],
    "employs": ["W employs V", "W gives work to V", "V works for W", "V is paid by W"],
    "lends": ["W lends to V", "W is owed by V", "V borrows from W", "V owes W"],
    "leads": ["W leads V", "W goes ahead of V", "V follows W", "V walks behind W"],
}
OPENING = r"^(in fact|today|so far) "


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub("V", r"(?P<what>\\w+)", re.sub("W", r"(?P<who>\\w+)", template)), re.IGNORECASE)


def _clauses_of(sentence: str) -> list[str]:
    assert sentence[-1] in ".?", sentence
    return re.split(" and | while ", re.sub(OPENING, "", sentence[:-1], flags=re.IGNORECASE))


def read_clause(text: str) -> Said:
    found = []
    for relation, templates in CLAUSES.items():
        for template in templates:
            match = _pattern(template).fullmatch(text)
            if match:
                found.append(Said(match["who"].lower(), relation, match["what"].lower()))
    assert len(found) == 1, (text, found)
    return found[0]


def read_sentence(text: str) -> list[Said]:
    """The facts of a sentence."""
    return [read_clause(part) for part in _clauses_of(text)]


def read_judged(text: str) -> list[Held]:
    """What a sentence says to be so, or not, or open: that somebody has something, or a fact."""
    return [_read_judged(part) for part in _clauses_of(text)]


def _read_judged(text: str) -> Held:
    match = re.fullmatch(r"it is (\w+) now that (.+)", text, re.IGNORECASE)
    assert match, text
    had = re.fullmatch(r"(\w+) has (\w+)", match[2])
    if had:
        return Held(had[1].lower(), KIND[had[2]], SO[match[1]])
    fact = read_clause(match[2])
    return Held(fact.who, fact.relation, SO[match[1]])


def read_stated(text: str) -> Held:
    (clause,) = _clauses_of(text)
    match = re.fullmatch(r"(\w+) has (some|no|perhaps) (\w+)", clause)
    assert match, text
    return Held(match[1].lower(), KIND[match[3]], WORD[match[2]])


def inference(premise: list[Held], hypothesis: Held) -> str:
    """entailment, neutral or contradiction."""
    assert hypothesis.so == "yes", hypothesis
    for held in premise:
        if (held.who, held.kind) == (hypothesis.who, hypothesis.kind):
            return {"yes": "entailment", "no": "contradiction", "open": "neutral"}[held.so]
    return "neutral"


def read_wish(text: str) -> tuple[str, str]:
    """Who, and what kind of thing, a question asks of."""
    match = re.fullmatch(r"Are some (\w+) with (\w+)\?", text)
    assert match, text
    return match[2].lower(), KIND[match[1]]


def read_inquiry(text: str) -> dict[tuple[str, str], bool]:
    """Who and what kind of thing -> whether it is asked."""
    found = {}
    for clause in _clauses_of(text):
        match = re.fullmatch(r"it is (\w+) now if (\w+) has (\w+)", clause, re.IGNORECASE)
        assert match, text
        found[match[2].lower(), KIND[match[3]]] = IS_ASKED[match[1]]
    return found


def read_question(text: str) -> tuple[str, str, str]:
    """(relation, the side that is given: who or what, the name that is given)."""
    match = re.fullmatch(r"(?:Which of the|What) (\w+) has (\w+)\?", text)
    if match:
        return KIND[match[1]], "who", match[2].lower()
    assert text.startswith("Who "), text
    found = []
    for relation, templates in CLAUSES.items():
        for template in templates:
            match = _pattern(template).fullmatch(f"Unknown{text[3:-1]}")
            if match:
                (side,) = (name for name, value in match.groupdict().items() if value != "Unknown")
                found.append((relation, side, match[side].lower()))
    assert len(found) == 1, (text, found)
    return found[0]


def answer(facts: list[Said], question: tuple[str, str, str]) -> str | None:
    """The other side of the fact that answers; None where no fact does. There is at most one."""
    relation, side, name = question
    found = [
        fact.what if side == "who" else fact.who
        for fact in facts
        if fact.relation == relation and name == (fact.who if side == "who" else fact.what)
    ]
    assert len(found) <= 1, (facts, question)
    return found[0] if found else None


GOOD = {"good", "great", "lovely", "bright", "charming", "fresh", "funny", "clever"}
BAD = {"bad", "awful", "dull", "boring", "clumsy", "stale", "weak", "silly"}
FLIPS = {"not", "hardly", "far from", "never"}
KEEPS = {"very", "truly", "rather", "quite"}


def is_praise(text: str) -> bool:
    """Whether the verdict of an opinion is good."""
    text = text.lower().rstrip(".")
    for word in (" but the ", " yet the "):
        if word in text and "," in text:
            return _clause_is_praise("the " + text.split(word)[1])
    if text.startswith("although "):
        return _clause_is_praise(text.split(", ")[1])
    return _clause_is_praise(text.split(", although ")[0])


def _clause_is_praise(text: str) -> bool:
    tail = "all along|as ever|to me|once more"
    match = re.fullmatch(rf"the \w+ (?:was|is|seemed|felt) (.*) (\w+) (?:{tail})", text)
    assert match, text
    before, adjective = match.groups()
    assert (adjective in GOOD) != (adjective in BAD), text
    assert (before in FLIPS) != (before in KEEPS), text
    return (adjective in GOOD) != (before in FLIPS)
