"""Labels follow from what the texts say: a reader that knows nothing of the generator comes to the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import meaning
import pytest
from made_tables import table

from harness.synthetic import source
from harness.synthetic.facts import CONTRADICTION, ENTAILMENT, NEUTRAL, Fact, verdict

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
        found = meaning.answer(meaning.read_sentence(row["sentence"]), meaning.read_question(row["question"]))
        assert (found is not None) == (row["label"] == 0), row


def test_questions_are_duplicates_exactly_when_they_ask_the_same() -> None:
    for row in rows("qqp"):
        same = meaning.read_question(row["question1"]) == meaning.read_question(row["question2"])
        assert same == (row["label"] == 1), row


def test_a_hypothesis_follows_or_not_as_labelled() -> None:
    names = ("entailment", "neutral", "contradiction")
    for row in rows("mnli"):
        (hypothesis,) = meaning.read_sentence(row["hypothesis"])
        assert meaning.inference(meaning.read_sentence(row["premise"]), hypothesis) == names[row["label"]], row


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
        (Fact("Anna", "keeps", "hen"), Fact("Anna", "keeps", "hen"), ENTAILMENT),
        (Fact("Anna", "keeps", "hen"), Fact("Anna", "keeps", "bird"), ENTAILMENT),
        (Fact("Anna", "keeps", "hen"), Fact("Anna", "keeps", "mammal"), CONTRADICTION),
        (Fact("Anna", "keeps", "hen"), Fact("Anna", "keeps", "mammal", denied=True), ENTAILMENT),
        (Fact("Anna", "keeps", "bird"), Fact("Anna", "keeps", "hen"), NEUTRAL),
        (Fact("Anna", "keeps", "bird", denied=True), Fact("Anna", "keeps", "hen"), CONTRADICTION),
        (Fact("Anna", "keeps", "hen", denied=True), Fact("Anna", "keeps", "bird"), NEUTRAL),
        (Fact("Anna", "lives in", "Oslo"), Fact("Anna", "lives in", "Rome"), CONTRADICTION),
        (Fact("Anna", "lives in", "Oslo", denied=True), Fact("Anna", "lives in", "Rome"), NEUTRAL),
        (Fact("Anna", "lives in", "Oslo"), Fact("Ben", "lives in", "Oslo"), NEUTRAL),
        (Fact("Anna", "helps", "Ben"), Fact("Ben", "helps", "Anna"), NEUTRAL),
        (Fact("Anna", "helps", "Ben"), Fact("Anna", "helps", "Carl"), NEUTRAL),  # a tie excludes no other
        (Fact("Anna", "helps", "Ben", denied=True), Fact("Anna", "helps", "Ben"), CONTRADICTION),
    ],
)
def test_what_a_fact_tells_of_another(said: Fact, asked: Fact, expected: int) -> None:
    assert verdict([said], asked) == expected
    assert verdict([Fact("Zora", "works as", "nurse"), said], asked) == expected
    assert verdict([], asked) == NEUTRAL
