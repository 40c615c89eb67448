"""The sentence splitter: cases worked by hand, and nothing lost on any text."""

from __future__ import annotations

import random

import pytest

from harness.data.sentences import clean_article, split_sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["It rained.", "He stayed in."],
        ["Mr. Smith met Dr. Jones.", "They talked."],
        ["He moved to the U.S. Army base in 1950.", "It closed."],
        ["He moved to the U.S.", "He stayed there."],
        ["J. R. R. Tolkien wrote it.", "C. S. Lewis read it."],
        ["It cost $3.50 in all.", "No. 5 was sold first."],
        ["Symphony No. 5 is short.", "It pleased."],
        ["He said no.", "She left."],
        ['"Is it?" she asked.', '"It is."', "They left."],
        ["What!?", "Yes..."],
        ["(It was late.)", "He slept."],
        ["Many animals, e.g. Dogs and Cats, i.e. pets, live here.", "Others do not."],
        ["Acme Inc. Chairman Lee left.", "Acme Inc.", "It failed."],
        ["World War I.", "The peace was short."],
        ["It met at 5 p.m. Tuesday.", "It met at 5 p.m.", "The end."],
        ["Marbury v. Madison was decided.[12]", "It stands.[3][4]", "Yes."],
        ["Born c. 1480, died Sept. 11.", "1520 was dry."],
        ["He was called “the Great.”", "“Why?” asked they."],
        ["Yahoo! is a company."],
        ["no capital. after the period."],
        ["Martin Luther King Jr. Boulevard is long."],
        ["A sentence without an end mark"],
    ],
    ids=lambda sentences: sentences[0][:24],
)
def test_by_hand(sentences: list[str]):
    assert split_sentences(" ".join(sentences)) == sentences


def test_blank_text_has_no_sentence():
    assert split_sentences("") == split_sentences(" \n\t ") == []


def test_nothing_but_white_space_is_lost():
    rng = random.Random(0)
    pieces = [
        ". ",
        "! ",
        "? ",
        "... ",
        '." ',
        ".) ",
        "[1] ",
        "Mr. ",
        "U.S. ",
        "No. ",
        "5",
        "3.5 ",
        "A. ",
        "the ",
        "Word ",
    ]
    pieces += ["\n", "\u00a0", "\u2003", "été ", "東京。", "🙂 ", "“", "”", "(", ".", " "]
    for _ in range(2000):
        text = "".join(rng.choices(pieces, k=rng.randrange(30)))
        sentences = split_sentences(text)
        assert "".join("".join(sentences).split()) == "".join(text.split())
        assert all(sentence == sentence.strip() != "" for sentence in sentences)


def test_an_article_becomes_one_line():
    assert clean_article("  One.\n\n \t\nTwo. \n") == "One. Two."
