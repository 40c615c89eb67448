"""Every row has a twin with the same words and the same runs of up to three words, and another label.

So nothing that counts words or short runs, in each text or in both, can tell the two apart, whatever it learns.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import meaning
import pytest
import shallow
from made_tables import table

LONGEST_RUN = 3
WORDS_OF_TWO = {
    "sst2": "|".join([*meaning.GOOD, *meaning.BAD]),
    "qnli": "|".join(meaning.SO),
    "qqp": "|".join(meaning.IS_ASKED),
    "mnli": "|".join(meaning.SO),
}
TEXT = {"sst2": "sentence", "qnli": "sentence", "qqp": "question2", "mnli": "premise"}


def label_of_reader(task: str, row: dict[str, Any]) -> object:
    if task == "sst2":
        return meaning.is_praise(row["sentence"])
    if task == "qnli":
        told = {(held.who, held.kind): held.so for held in meaning.read_judged(row["sentence"])}
        relation, _, name = meaning.read_question(row["question"])
        return told[name, relation]
    if task == "qqp":
        return meaning.read_inquiry(row["question2"])[meaning.read_wish(row["question1"])]
    return meaning.inference(meaning.read_judged(row["premise"]), meaning.read_stated(row["hypothesis"]))


def runs(text: str) -> Counter[tuple[str, ...]]:
    words = shallow.tokens(text)
    return Counter(
        tuple(words[i : i + size]) for size in range(1, LONGEST_RUN + 1) for i in range(len(words) - size + 1)
    )


def swapped(text: str, words: str) -> str | None:
    """The text with its two words of this kind exchanged; None where it has one."""
    found = [*re.finditer(rf"\b(?:{words})\b", text)]
    if len(found) != 2:
        return None
    one, two = found
    return text[: one.start()] + two[0] + text[one.end() : two.start()] + one[0] + text[two.end() :]


@pytest.mark.parametrize(("task", "share"), [("sst2", 0.7), ("qnli", 1.0), ("qqp", 1.0), ("mnli", 1.0)])
def test_exchanging_two_words_changes_the_label_and_no_short_run(task: str, share: float) -> None:
    columns, twins = table(task, "validation"), 0
    for i in range(len(columns["label"])):
        row = {name: column[i] for name, column in columns.items()}
        twin = swapped(row[TEXT[task]], WORDS_OF_TWO[task])
        if twin is None:
            continue
        twins += 1
        assert runs(twin) == runs(row[TEXT[task]]), (row, twin)
        assert label_of_reader(task, {**row, TEXT[task]: twin}) != label_of_reader(task, row), row
    assert twins >= share * len(columns["label"])


def test_a_run_of_four_words_would_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "LONGEST_RUN", 4)
    with pytest.raises(AssertionError):
        test_exchanging_two_words_changes_the_label_and_no_short_run("qnli", 1.0)
