"""Labels follow from what the texts say: a reader that knows nothing of the generator comes to the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import meaning
import pytest
from made_tables import table

from harness.synthetic import source
from harness.synthetic.facts import CONTRADICTION, ENTAILMENT, NEUTRAL, Having, verdict

NUM_TRAIN_ROWS = 600  # of the train split; the validation split whole


def rows(task: str) -> Iterator[dict[str, Any]]:
    for part, count in (("train", NUM_TRAIN_ROWS), ("validation", source.VALIDATION_ROWS)):
        columns = table(task, part)
        for i in range(count):
            yield {name: column[i] for name, column in columns.items()}


def test_a_verdict_is_what_a_reader_makes_of_the_sentence() -> None:
    for row in rows("sst2"):
        assert meaning.is_praise(row["sentence"]) == (row["label"] == 1), row


def test_a_sentence_answers_exactly_the_questions_labelled_so() -> None:
    for row in rows("qnli"):
        relation, side, name = meaning.read_question(row["question"])
        told = {(held.who, held.kind): held.so for held in meaning.read_judged(row["sentence"])}
        assert side == "who"
        assert (told[name, relation] == "yes") == (row["label"] == 0), row


def test_questions_are_duplicates_exactly_when_they_ask_the_same() -> None:
    for row in rows("qqp"):
        asked = meaning.read_inquiry(row["question2"])
        assert sorted(asked.values()) == [False, True], row
        assert asked[meaning.read_wish(row["question1"])] == (row["label"] == 1), row


def test_a_hypothesis_follows_or_not_as_labelled() -> None:
    names = ("entailment", "neutral", "contradiction")
    for row in rows("mnli"):
        hypothesis = meaning.read_stated(row["hypothesis"])
        assert meaning.inference(meaning.read_judged(row["premise"]), hypothesis) == names[row["label"]], row


def test_the_answer_is_the_one_a_reader_gives_and_stands_where_it_says() -> None:
    for row in rows("squad"):
        (text,), (start,) = row["answers"]["text"], row["answers"]["answer_start"]
        assert row["context"][start : start + len(text)] == text
        around = row["context"][max(start - 1, 0) : start] + row["context"][start + len(text)]
        assert not any(character.isalnum() for character in around), row
        sentences = [f"{said}." for said in row["context"].rstrip(".").split(". ")]
        facts = [fact for said in sentences for fact in meaning.read_sentence(said)]
        assert meaning.answer(facts, meaning.read_question(row["question"])) == text.lower(), row
        # and the span stands in the sentence that answers, not in another one with the same name
        before = row["context"][:start].count(". ")
        told = meaning.read_sentence(sentences[before])
        assert meaning.answer(told, meaning.read_question(row["question"])) == text.lower(), row


@pytest.mark.parametrize(
    ("said", "asked", "expected"),
    [
        (Having("Anna", "looks after"), Having("Anna", "looks after"), ENTAILMENT),
        (Having("Anna", "looks after", False), Having("Anna", "looks after"), CONTRADICTION),
        (Having("Anna", "looks after", False), Having("Anna", "looks after", False), ENTAILMENT),
        (Having("Anna", "looks after", None), Having("Anna", "looks after"), NEUTRAL),
        (Having("Anna", "looks after"), Having("Ben", "looks after"), NEUTRAL),
        (Having("Anna", "looks after"), Having("Anna", "lives in"), NEUTRAL),
    ],
)
def test_what_a_thing_told_tells_of_another(said: Having, asked: Having, expected: int) -> None:
    assert verdict([said], asked) == expected
    assert verdict([Having("Zora", "lives in", False), said], asked) == expected
    assert verdict([], asked) == NEUTRAL
