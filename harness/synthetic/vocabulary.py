"""The WordPiece vocabulary of the synthetic world: its words, lower-cased, and letters for any other."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

from harness.synthetic import grammar, opinions, words

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def vocabulary() -> list[str]:
    """Special tokens, punctuation, the world's words in alphabetical order, letters and digits, and these inside."""
    characters = [*string.ascii_lowercase, *string.digits]
    known = {word for text in _texts() for word in re.findall(r"[a-z]+", text.lower())}
    whole = sorted(known - set(characters))
    return [*SPECIAL_TOKENS, ".", ",", "?", *whole, *characters, *(f"##{each}" for each in characters)]


def _texts() -> Iterator[str]:
    """Every piece that a text of the world is made of; what stands in braces is filled in with others of them."""
    for relation in words.RELATIONS:
        yield from relation.values
        forms = (*relation.forms, *relation.asks_value, *relation.asks_subject)
        yield from (re.sub(r"{.}", "", form) for form in forms)
        yield from relation.nouns
    yield from (*words.PEOPLE, *words.SUBJECTS, *words.PARTS, *words.PRAISE, *words.BLAME)
    yield from (*words.CHEERS, *words.JEERS)
    yield from (*grammar.OPENERS, *grammar.JOINERS, *grammar.ASKED, *grammar.KNOWN)
    yield from (*grammar.HAVING.values(), *grammar.ANSWERS.values())
    for said in grammar.HELD.values():
        yield from said
    yield from ("it is now that has if are with", "asked known")
    yield from (*opinions.PLAIN, *opinions.TURNED, *opinions.VERBS, *opinions.TAILS)
    yield from (re.sub(r"{\w+}", "", shape) for shape in (*opinions.CONTRASTS, *opinions.REMARKS))
