"""Learners that see only the surface of a row: its words and short runs of words, what two texts share, how long.

The referee of the synthetic world: what they reach on a task needs no understanding of how its words belong together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import MaxAbsScaler

from harness.tasks import TASKS

Columns = Mapping[str, list[Any]]
Features = tuple[Any, Any]  # of the training and of the validation rows, [rows, features]
TOKEN = r"\w+|[^\w\s]"
MOST_FOR_TREES = 500  # features; the most frequent, since trees take minutes over thousands
SHARED_PLACES = 3  # of so many of the shared words the places are features


class Reached(NamedTuple):
    """What one learner reached with one set of features: accuracy (squad: exact match) in percent."""

    features: str
    learner: str
    percent: float


def tokens(text: str) -> list[str]:
    return re.findall(TOKEN, text.lower())


def reached(task: str, train: Columns, validation: Columns) -> list[Reached]:
    """Every set of features with every learner, trained on the one split and scored on the other."""
    found = []
    for name, make in FEATURE_SETS.items():
        if name == "pairs of words" and len(TASKS[task].text_columns) < 2:
            continue
        inputs = make(_texts(task, train), _texts(task, validation))
        for learner, fit in LEARNERS.items():
            if (name, learner) in TOO_MANY:
                continue
            score = fit(inputs, np.array(train["label"]), np.array(validation["label"]))
            found.append(Reached(name, learner, 100 * score))
    return found


def best(task: str, train: Columns, validation: Columns) -> Reached:
    """The highest of them; for squad of the heuristics and rankers of `shallow_answers`."""
    return max(reached(task, train, validation), key=lambda each: each.percent)


# --- features -------------------------------------------------------------------------------------------------------

Texts = list[tuple[str, ...]]


def counts(longest: int) -> Callable[[Texts, Texts], Features]:
    """Of runs of 1 to `longest` words, in each text apart."""

    def make(train: Texts, validation: Texts) -> Features:
        sides: list[list[Any]] = [[], []]
        for slot in range(len(train[0])):
            counted = CountVectorizer(token_pattern=TOKEN, ngram_range=(1, longest), min_df=3)
            sides[0].append(counted.fit_transform([row[slot] for row in train]))
            sides[1].append(counted.transform([row[slot] for row in validation]))
        return sparse.hstack(sides[0]).tocsr(), sparse.hstack(sides[1]).tocsr()

    return make


def word_pairs(train: Texts, validation: Texts) -> Features:
    """A word of the first text with a word of the second."""
    counted = CountVectorizer(analyzer=lambda row: _crossed(row), min_df=5)
    return counted.fit_transform(train), counted.transform(validation)


def overlap(train: Texts, validation: Texts) -> Features:
    """How much and what the two texts share, where it stands in them, and how long they are."""
    shared = CountVectorizer(analyzer=lambda row: sorted(_shared(row)), min_df=3)
    first = shared.fit_transform(train), shared.transform(validation)
    return tuple(
        sparse.hstack([words, sparse.csr_matrix(np.array([_surface(row) for row in rows], dtype=float))]).tocsr()
        for words, rows in zip(first, (train, validation), strict=True)
    )  # type: ignore[return-value]


def joined(*makers: Callable[[Texts, Texts], Features]) -> Callable[[Texts, Texts], Features]:
    def make(train: Texts, validation: Texts) -> Features:
        parts = [maker(train, validation) for maker in makers]
        return sparse.hstack([part[0] for part in parts]).tocsr(), sparse.hstack([part[1] for part in parts]).tocsr()

    return make


FEATURE_SETS: Mapping[str, Callable[[Texts, Texts], Features]] = {
    "words": counts(1),
    "runs of words": counts(3),
    "pairs of words": word_pairs,
    "overlap and length": overlap,
    "words, overlap and length": joined(overlap, counts(1)),
    "runs of words, overlap and length": joined(overlap, counts(3)),
}
TOO_MANY = {("pairs of words", "trees")}


def _texts(task: str, columns: Columns) -> Texts:
    return [*zip(*(columns[name] for name in TASKS[task].text_columns), strict=True)]


def _crossed(row: Sequence[str]) -> Iterator[str]:
    first, second = (sorted(set(tokens(text))) for text in row)
    return (f"{one} {two}" for one in first for two in second)


def _runs(words: Sequence[str], size: int) -> set[tuple[str, ...]]:
    return set(zip(*(words[i:] for i in range(size)), strict=False))


def _shared(row: Sequence[str]) -> set[str]:
    return set.intersection(*(set(tokens(text)) for text in row))


def _surface(row: Sequence[str]) -> list[float]:
    """Lengths; for two texts also shares of like words and runs, places of the shared, and whether in one order."""
    sides = [tokens(text) for text in row]
    found: list[float] = [*(len(side) for side in sides), *(len(text) for text in row)]
    if len(sides) < 2:
        return found
    first, second = sides
    for size in (1, 2, 3):
        one, two = _runs(first, size), _runs(second, size)
        found += [len(one & two), len(one & two) / max(1, len(one | two))]
    both = [word for word in dict.fromkeys(first) if word in second and re.fullmatch(r"\w+", word)]
    places = [(first.index(word), second.index(word)) for word in both]
    found.append(sum(a[1] < b[1] for a, b in pairwise(places)))
    found.append(len(places))
    for place in (*places, *[(-1, -1)] * SHARED_PLACES)[:SHARED_PLACES]:
        found += [*place, len(first) - place[0], len(second) - place[1]]
    return found


# --- learners -------------------------------------------------------------------------------------------------------


def linear(inputs: Features, train: np.ndarray, validation: np.ndarray) -> float:
    """The better of two strengths of a logistic regression: a share of right answers."""
    scaled = MaxAbsScaler().fit(inputs[0])
    sides = [scaled.transform(side) for side in inputs]
    models = (LogisticRegression(C=c, max_iter=500).fit(sides[0], train) for c in (0.05, 1.0))
    return max(float(model.score(sides[1], validation)) for model in models)


def trees(inputs: Features, train: np.ndarray, validation: np.ndarray) -> float:
    """Gradient-boosted trees: a share of right answers."""
    kept = np.argsort(-np.asarray((inputs[0] != 0).sum(axis=0)).ravel(), kind="stable")[:MOST_FOR_TREES]
    sides = [side[:, kept].toarray().astype(np.float32) for side in inputs]
    model = boosted(sides[0]).fit(sides[0], train)
    return float(model.score(sides[1], validation))


def boosted(inputs: np.ndarray) -> HistGradientBoostingClassifier:
    """Boosted trees for these training rows, [rows, features], not fitted yet.

    Every value is a bin of its own up to 255, and there are no more bins than the feature with the most values fills:
    a histogram has all of them for every feature, so that 255 for words that are there or not take twice the time.
    """
    most = max(len(np.unique(column)) for column in inputs.T)
    return HistGradientBoostingClassifier(max_iter=120, random_state=0, max_bins=min(255, max(2, most)))


LEARNERS: Mapping[str, Callable[[Features, np.ndarray, np.ndarray], float]] = {"linear": linear, "trees": trees}
