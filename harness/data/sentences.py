"""An English sentence splitter without a model or a download: regular expressions and a few word lists.

It takes the place of Punkt in the authors' release. The data of a pre-training run depend on it, so its `NAME` is
a parameter of the stage: change a rule, change the name.
"""

from __future__ import annotations

import re

NAME = "regex-en-1"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OPENERS = "\"'“‘«([{"
_CLOSERS = "\"'”’»)]}"

# An end mark, closing quotes or brackets, footnote marks like [12], then white space.
_CANDIDATE = re.compile(rf"[.!?…]+[{re.escape(_CLOSERS)}]*(?:\[\d+\])*(?=\s)")
_LAST_WORD = re.compile(r"[^\W_](?:[\w.&'’-]*[^\W_])?$")
_NEXT_WORD = re.compile(rf"\s+([{re.escape(_OPENERS)}]*)([^\W_][\w'’-]*)")

# Never the end of a sentence, whatever follows.
_ALWAYS_JOINED = _words(
    "mr mrs ms mx dr prof rev fr gen col maj capt cmdr lt sgt cpl adm gov sen rep pres hon mt ft st messrs mme mlle "
    "e.g i.e viz cf vs v ca c.f al approx dept univ assn bros"
)
# Not the end when a number follows: "No. 5", "pp. 3-7", "Sept. 11", "c. 1480".
_JOINED_TO_NUMBER = _words(
    "no nos vol vols p pp fig figs eq eqs sec ch chap art op jan feb mar apr jun jul aug sep sept oct nov dec c b d fl "
    "r ed est pop"
)
# May end a sentence ("in the U.S. He left", "at 5 p.m. The"), and do so only before a word that usually opens one.
_MAY_END = _words("jr sr inc ltd co corp etc esq a.m p.m b.c a.d ph.d m.d d.c bc ad")
_SENTENCE_OPENERS = _words(
    "the a an this that these those he she it they we you i his her its their our my there here in on at by for from "
    "with after before during since when while as if although though however but and or so then thus also most many "
    "some all both each one two other another under over until upon what who which where why how to no not"
)


def clean_article(text: str) -> str:
    """The article on one line: lines stripped, blank ones dropped, joined by a space (the authors' release)."""
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def split_sentences(text: str) -> list[str]:
    """The sentences of `text` in order, without surrounding white space; an empty list for blank text.

    Nothing but white space between sentences is lost: joined without white space, sentences equal the text without
    white space. A boundary is an end mark followed by white space and a capital letter or digit, unless the word
    before it is an abbreviation, an initial or an acronym that the next word continues.
    """
    sentences = []
    start = 0
    for candidate in _CANDIDATE.finditer(text):
        if _is_boundary(text, candidate):
            sentences.append(text[start : candidate.end()].strip())
            start = candidate.end()
    sentences.append(text[start:].strip())
    return [sentence for sentence in sentences if sentence]


def _is_boundary(text: str, candidate: re.Match[str]) -> bool:
    following = _NEXT_WORD.match(text, candidate.end())
    if following is None or following[2][0].islower():
        return False
    mark = candidate[0]
    if not mark.startswith(".") or mark.startswith(".."):
        return True
    window = text[max(0, candidate.start() - 40) : candidate.start()]
    last = _LAST_WORD.search(window)
    if last is None:
        return True
    word, following_word = last[0], following[2]
    lowered = word.lower()
    if lowered in _ALWAYS_JOINED:
        return False
    if following_word[0].isdigit() and lowered in _JOINED_TO_NUMBER:
        return False
    if _is_initial_or_acronym(word) or lowered in _MAY_END:
        return following_word.lower() in _SENTENCE_OPENERS and not _is_initial(text, following)
    return True


def _is_initial_or_acronym(word: str) -> bool:
    """Letters one by one, as in J, U.S or J.R.R. A lone digit or lower-case letter is an ordinary word."""
    parts = word.split(".")
    return all(len(part) == 1 and part.isupper() for part in parts)


def _is_initial(text: str, following: re.Match[str]) -> bool:
    """The next word is itself an initial, as in "J. A. Smith"."""
    return len(following[2]) == 1 and text[following.end() : following.end() + 1] == "."
