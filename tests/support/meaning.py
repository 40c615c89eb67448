"""A reader of the synthetic world's texts that knows nothing of how they are written: sentences to facts, to answers.

It is typed in independently of `harness.synthetic`: patterns here, templates there.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Said(NamedTuple):
    """relation: home, trade, pet, instrument, teaches or helps."""

    who: str
    relation: str
    what: str
    true: bool


BIRDS = {"parrot", "goose", "hen", "duck", "falcon"}
MAMMALS = {"dog", "cat", "horse", "goat", "rabbit"}
KINDS = {"bird": BIRDS, "mammal": MAMMALS}
ONE_EACH = {"home", "trade", "pet", "instrument"}
# Each clause once asserted, once denied; W is who, V is what.
CLAUSES = {
    "home": ["W lives in V|W does not live in V", "V is home to W|V is not home to W"],
    "trade": ["W works as a V|W does not work as a V", "W is a V by trade|W is not a V by trade"],
    "pet": ["W keeps a V|W does not keep a V", "the pet of W is a V|the pet of W is not a V"],
    "instrument": ["W plays the V|W does not play the V", "the V is played by W|the V is not played by W"],
    "teaches": ["W teaches V|W does not teach V", "V is taught by W|V is not taught by W"],
    "helps": ["W helps V|W does not help V", "V is helped by W|V is not helped by W"],
}
# A question and what it asks for: ? is the unknown side.
QUESTIONS = {
    "where does W live": "home",
    "which city is home to W": "home",
    "what does W work as": "trade",
    "what is W by trade": "trade",
    "which animal does W keep": "pet",
    "what is the pet of W": "pet",
    "what does W play": "instrument",
    "what is played by W": "instrument",
    "whom does W teach": "teaches",
    "who is taught by W": "teaches",
    "who teaches V": "teaches",
    "by whom is V taught": "teaches",
    "whom does W help": "helps",
    "who is helped by W": "helps",
    "who helps V": "helps",
    "by whom is V helped": "helps",
}


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub("V", r"(?P<what>\\w+)", re.sub("W", r"(?P<who>\\w+)", template)), re.IGNORECASE)


def read_clause(text: str) -> Said:
    found = []
    for relation, pairs in CLAUSES.items():
        for pair in pairs:
            for true, template in zip((True, False), pair.split("|"), strict=True):
                match = _pattern(template).fullmatch(text)
                if match:
                    found.append(Said(match["who"].lower(), relation, match["what"].lower(), true))
    assert len(found) == 1, (text, found)
    return found[0]


def read_sentence(text: str) -> list[Said]:
    """The facts of a sentence."""
    assert text.endswith("."), text
    text = re.sub(r"^(in fact|today|so far) ", "", text[:-1], flags=re.IGNORECASE)
    return [read_clause(part) for part in re.split(" and | while ", text)]


def read_question(text: str) -> tuple[str, str, str]:
    """(relation, the side that is given: who or what, the name that is given)."""
    assert text.endswith("?"), text
    text = re.sub(r"^(tell me|so|please say), ", "", text[:-1], flags=re.IGNORECASE)
    found = []
    for template, relation in QUESTIONS.items():
        match = _pattern(template).fullmatch(text)
        if match:
            side = "who" if "W" in template else "what"
            found.append((relation, side, match[side].lower()))
    assert len(found) == 1, (text, found)
    return found[0]


def answer(facts: list[Said], question: tuple[str, str, str]) -> str | None:
    """The other side of the fact that answers; None where no fact does. There is at most one."""
    relation, side, name = question
    found = [
        fact.what if side == "who" else fact.who
        for fact in facts
        if fact.true and fact.relation == relation and name == (fact.who if side == "who" else fact.what)
    ]
    assert len(found) <= 1, (facts, question)
    return found[0] if found else None


def inference(premise: list[Said], hypothesis: Said) -> str:
    """entailment, neutral or contradiction; for premises that assert."""
    for fact in premise:
        assert fact.true
        if (fact.who, fact.relation) != (hypothesis.who, hypothesis.relation):
            continue
        same = fact.what == hypothesis.what or fact.what in KINDS.get(hypothesis.what, set())
        if same or fact.relation in ONE_EACH:
            return "entailment" if same == hypothesis.true else "contradiction"
    return "neutral"


GOOD = {
    "good",
    "great",
    "lovely",
    "bright",
    "brilliant",
    "charming",
    "fresh",
    "funny",
    "gripping",
    "moving",
    "clever",
    "splendid",
}
BAD = {"bad", "awful", "dull", "boring", "clumsy", "dreary", "stale", "tedious", "weak", "silly", "shallow", "grim"}
FLIPS = {"not", "not at all", "hardly", "far from", "anything but", "never"}
KEEPS = {"", "very", "truly", "always", "nothing but", "never less than"}


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
    match = re.fullmatch(r"the \w+ (?:was|is|seemed|felt) ?(.*) (\w+)", text) or re.fullmatch(
        r"the \w+ (?:was|is|seemed|felt)()\s(\w+)", text
    )
    assert match, text
    before, adjective = match.groups()
    assert (adjective in GOOD) != (adjective in BAD), text
    assert (before in FLIPS) != (before in KEEPS), text
    return (adjective in GOOD) != (before in FLIPS)
