"""The tables of the synthetic world, generated from a seed; a content id covers generator version, seed, name and size.

Nothing is read or kept: a table is generated on every call, the same each time. Raise GENERATOR_VERSION with every
change of a text; a test holds each version's digest.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Any

from harness.identity import sha256_of
from harness.synthetic.articles import article
from harness.synthetic.draw import Draw
from harness.synthetic.tasks import KEYS, MAKERS, NUM_LABELS, UNTAUGHT

GENERATOR_VERSION = 2
# mnli's optional second validation split is not in this world.
SPLITS: Mapping[str, tuple[str, ...]] = {
    task: ("train", "validation_matched" if task == "mnli" else "validation") for task in MAKERS
}
TRAIN_ROWS, VALIDATION_ROWS = 4000, 400
ARTICLES: Mapping[str, int] = {"train": 2400, "validation": 60}
ARTICLE_BYTES = 544  # mean, for estimates
HELD_OUT_SHARE = 0.2  # of all texts there could be


def num_rows(split: str) -> int:
    """Rows of a task's split."""
    return TRAIN_ROWS if split == "train" else VALIDATION_ROWS


def content_id(name: str, seed: int) -> str:
    """Content id of the table "TASK/SPLIT" or "corpus/SPLIT"."""
    owner, _, split = name.partition("/")
    size = ARTICLES[split] if owner == "corpus" else num_rows(split)
    return sha256_of(["synthetic", GENERATOR_VERSION, seed, name, size])


def rows(task: str, split: str, seed: int) -> dict[str, list[Any]]:
    """A split's columns in the hub's names. Labels are balanced as evenly as the size allows.

    No two rows of a task share the text in its columns `KEYS[task]`, within a split or between its splits, and no
    training row holds one of the words `UNTAUGHT[task]`.
    """
    draw = Draw("rows", GENERATOR_VERSION, seed, task, split)
    make, key, classes = MAKERS[task], KEYS[task], NUM_LABELS[task]
    made: dict[str, dict[str, Any]] = {}
    while len(made) < num_rows(split):
        row = make(len(made) % classes, draw)
        text = " ".join(row[column] for column in key)
        if _may_stand(text, task, split):
            made.setdefault(text, row)
    table = list(made.values())
    draw.shuffle(table)
    number = (
        {"id": [f"synthetic-{split}-{i}" for i in range(len(table))]}
        if task == "squad"
        else {"idx": [*range(len(table))]}
    )
    return {**number, **{column: [row[column] for row in table] for column in table[0]}}


def corpus(split: str, seed: int) -> dict[str, list[str]]:
    """Columns title and text, an article a row."""
    draw = Draw("corpus", GENERATOR_VERSION, seed, split)
    made = [article(draw) for _ in range(ARTICLES[split])]
    return {"title": [title for title, _ in made], "text": [text for _, text in made]}


def _may_stand(text: str, task: str, split: str) -> bool:
    """Whether a row with this text may be one of the split's: that follows from the text alone."""
    if split != "train":
        return _held_out(text)
    return not _held_out(text) and UNTAUGHT.get(task, frozenset()).isdisjoint(re.findall(r"\w+", text))


def _held_out(text: str) -> bool:
    return zlib.crc32(text.encode()) < HELD_OUT_SHARE * 2**32
