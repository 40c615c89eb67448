"""Ways to answer a question from its context by place and overlap: heuristics, and rankers of the words it could be.

Every one of them is given the words of the right kind, which is more than a reader has. None sees which words stand
around a candidate: whoever counts those and the question's together has read the relation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from shallow import Columns, Reached, boosted, tokens
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import MaxAbsScaler

from harness.synthetic.page import candidates


class Candidate(NamedTuple):
    """A word of the context of the answer's kind: where it stands, and in which of the sentences."""

    word: str
    place: int
    sentence: list[str]
    number: int
    offset: int


class Asked(NamedTuple):
    """A row read by its surface. named: the words of the question that stand in the context with a capital."""

    question: list[str]
    context: list[str]
    named: set[str]
    candidates: list[Candidate]
    answer: str


def read(columns: Columns) -> list[Asked]:
    return [_read(*row) for row in zip(columns["question"], columns["context"], columns["answers"], strict=True)]


def _read(question: str, context: str, answers: dict[str, Any]) -> Asked:
    kind = candidates(context, answers["text"][0], question)
    asked = tokens(question)
    found, place = [], 0
    for number, said in enumerate(re.findall(r"[^.]+\.", context)):
        sentence = tokens(said)
        found += [Candidate(word, place + i, sentence, number, i) for i, word in enumerate(sentence) if word in kind]
        place += len(sentence)
    named = {word.lower() for word in re.findall(r"[A-Z]\w+", question[1:])}
    return Asked(asked, tokens(context), named, found, answers["text"][0].lower())


def _away(row: Asked, each: Candidate) -> list[int]:
    """Signed distances to each place of a name the question asks of, nearest first."""
    return sorted((place - each.place for place, word in enumerate(row.context) if word in row.named), key=abs) or [99]


def _shared(row: Asked, each: Candidate) -> int:
    return len(set(row.question) & set(each.sentence))


HEURISTICS: Mapping[str, Callable[[Asked], Candidate]] = {
    "the first": lambda row: row.candidates[0],
    "the last": lambda row: row.candidates[-1],
    "nearest to the name": lambda row: min(row.candidates, key=lambda each: abs(_away(row, each)[0])),
    "nearest before the name": lambda row: min(
        row.candidates, key=lambda each: min((d for d in _away(row, each) if d > 0), default=99)
    ),
    "nearest behind the name": lambda row: min(
        row.candidates, key=lambda each: min((-d for d in _away(row, each) if d < 0), default=99)
    ),
    "first where most is shared": lambda row: max(row.candidates, key=lambda each: _shared(row, each)),
    "last where most is shared": lambda row: max(row.candidates[::-1], key=lambda each: _shared(row, each)),
    "where most is shared, nearest to the name": lambda row: max(
        row.candidates, key=lambda each: (_shared(row, each), -abs(_away(row, each)[0]))
    ),
}


def _surface(row: Asked, each: Candidate) -> list[float]:
    away = _away(row, each)
    rank = [other.place for other in row.candidates].index(each.place)
    here = row.named & set(each.sentence)
    return [
        _shared(row, each),
        _shared(row, each) / len(each.sentence),
        len(here),
        away[0],
        abs(away[0]),
        len(each.sentence),
        len(row.question),
        each.number,
        each.offset,
        rank,
        len(row.candidates) - rank,
        sum(other.word == each.word for other in row.candidates),
        len(row.context),
    ]


def reached(train: Columns, validation: Columns) -> list[Reached]:
    """Exact match in percent of each heuristic, and of rankers trained on the one split."""
    sides = read(train), read(validation)
    found = []
    for name, choose in HEURISTICS.items():
        right = [choose(row).word == row.answer for row in sides[1]]
        found.append(Reached(name, "none", 100 * float(np.mean(right))))
    right_words = np.array([each.word == row.answer for row in sides[0] for each in row.candidates])
    inputs = [np.array([_surface(row, each) for row in side for each in row.candidates], dtype=float) for side in sides]
    scaler = MaxAbsScaler().fit(inputs[0])
    scaled = [scaler.transform(side) for side in inputs]
    for learner, model in (("linear", LogisticRegression(max_iter=500)), ("trees", boosted(scaled[0]))):
        model.fit(scaled[0], right_words)
        scores = model.predict_proba(scaled[1])[:, 1]
        found.append(Reached("overlap and places", learner, _ranked(scores, sides[1])))
    return found


def _ranked(scores: np.ndarray, rows: list[Asked]) -> float:
    right, start = [], 0
    for row in rows:
        here = scores[start : start + len(row.candidates)]
        right.append(row.candidates[int(here.argmax())].word == row.answer)
        start += len(row.candidates)
    return 100 * float(np.mean(right))
