"""The pair builder: every token accounted for, labels by construction, the same pairs for any number of workers."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import datasets
import pytest
from transformers import PreTrainedTokenizerBase

from harness.data import pairs as pairs_module
from harness.data.pairs import Pair, Pairing, add_special_tokens, build_pairs, pairs_dataset, tokenize_articles
from harness.data.special_tokens import PairTemplate

Article = list[list[int]]
BERTS = PairTemplate(before=(2,), between=(3,), after=(3,), types=(0, 0, 0, 1, 1))


def numbered_articles(num_articles: int, sentence_lengths: list[int]) -> list[Article]:
    """Articles whose tokens are all different: 0, 1, 2, .. in reading order."""
    numbers = count()
    return [[[next(numbers) for _ in range(n)] for n in sentence_lengths] for _ in range(num_articles)]


def joined(article: Article) -> list[int]:
    return [token for sentence in article for token in sentence]


@pytest.mark.oracle("O21")
def test_one_article_without_random_next_is_one_pair_of_15_ids():
    (article,) = numbered_articles(1, [3, 4, 5])
    (pair,) = build_pairs([article], Pairing(short_sequence_probability=0, next_sentence_probability=0, seed=0))
    assert len(pair.first) + len(pair.second) == 12
    assert pair.is_random_next == 0
    assert pair.first + pair.second == joined(article)
    assert len(add_special_tokens(pair, PairTemplate((101,), (102,), (102,), (0, 0, 0, 1, 1)))["input_ids"]) == 15


@pytest.mark.oracle("O21")
def test_without_random_next_every_token_appears_exactly_once():
    # Target 12 = four sentences of 3: two full pairs per article of 8 sentences, nothing to cut.
    articles = numbered_articles(50, [3] * 8)
    pairs = build_pairs(
        articles, Pairing(max_length=15, short_sequence_probability=0, next_sentence_probability=0, seed=3)
    )
    assert len(pairs) == 100
    tokens = [token for pair in pairs for token in pair.first + pair.second]
    assert tokens == [token for article in articles for token in joined(article)]


@pytest.mark.oracle("O22")
def test_with_random_next_always_the_displaced_sentences_are_used_again():
    articles = numbered_articles(30, [4, 3, 5, 2, 6])
    source = {token: number for number, article in enumerate(articles) for token in joined(article)}
    pairs = build_pairs(articles, Pairing(short_sequence_probability=0, next_sentence_probability=1, seed=1))

    assert all(pair.is_random_next == 1 for pair in pairs)
    for pair in pairs:
        (first_source,) = {source[token] for token in pair.first}
        (second_source,) = {source[token] for token in pair.second}
        assert first_source != second_source
        assert pair.second == list(range(pair.second[0], pair.second[-1] + 1))  # one run of sentences
    firsts = [token for pair in pairs for token in pair.first]
    assert firsts == [token for article in articles for token in joined(article)]


@pytest.mark.oracle("O23")
def test_single_sentence_articles_always_take_a_random_next():
    pairs = build_pairs(numbered_articles(40, [7]), Pairing(next_sentence_probability=0, seed=5))
    assert [pair.is_random_next for pair in pairs] == [1] * 40


def test_without_another_article_the_next_is_the_actual_one():
    (article,) = numbered_articles(1, [3, 4, 5])
    assert [pair.is_random_next for pair in build_pairs([article], Pairing(next_sentence_probability=1, seed=0))] == [0]
    assert build_pairs(numbered_articles(1, [3]), Pairing(seed=0)) == []  # and a lone sentence makes no pair


def test_random_next_stays_in_its_batch_of_1000_articles():
    articles = numbered_articles(2001, [2])
    pairs = build_pairs(articles, Pairing(seed=0))
    assert len(pairs) == 2000  # the last batch holds one article of one sentence
    for pair in pairs:
        assert pair.first[0] // 2000 == pair.second[0] // 2000


def test_a_batch_of_articles_has_its_own_seed():
    articles = numbered_articles(1500, [3, 4, 2, 5])
    whole = build_pairs(articles, Pairing(seed=42))
    tail = build_pairs(articles[1000:], Pairing(seed=1042))
    assert whole[-len(tail) :] == tail
    assert build_pairs(articles, Pairing(seed=43)) != whole


@pytest.mark.parametrize(
    ("max_length", "lengths"), [(19, (7, 9)), (18, (7, 8)), (15, (6, 6)), (12, (5, 4)), (5, (1, 1))]
)
def test_the_longer_part_is_cut_at_its_end(max_length: int, lengths: tuple[int, int]):
    # 7 and 9 tokens, one taken off at a time from the longer, from the second when equal; worked by hand.
    (article,) = numbered_articles(1, [7, 9])
    pairs = build_pairs(
        [article], Pairing(max_length=19, short_sequence_probability=0, next_sentence_probability=0, seed=0)
    )
    assert pairs == [Pair(article[0], article[1], 0)]
    cut = pairs_module._truncated(*article, max_length - 3)
    assert cut == (article[0][: lengths[0]], article[1][: lengths[1]])


def test_no_pair_is_longer_than_max_length_or_empty():
    articles = numbered_articles(200, [1, 30, 2, 9, 14, 3, 60, 5])
    for max_length in (5, 16, 64):
        pairs = build_pairs(articles, Pairing(max_length=max_length, seed=2))
        assert max(len(first) + len(second) for first, second, _ in pairs) == max_length - 3
        assert min(min(len(first), len(second)) for first, second, _ in pairs) >= 1


def first_pairs(articles: list[Article], **probabilities: float) -> list[Pair]:
    """The pair that each article of 20 sentences of 10 tokens begins with, at a target of all its 200 tokens."""
    pairs = build_pairs(articles, Pairing(max_length=203, seed=0, **probabilities))
    return [pair for pair in pairs if pair.first[0] % 200 == 0]


def test_one_article_in_ten_is_short_and_half_of_the_next_are_random():
    articles = numbered_articles(1000, [10] * 20)
    short = first_pairs(articles, next_sentence_probability=0)
    assert len(short) == 1000
    # Targets 2 .. 190 of 2 .. 200 end before the article: .1 * 189 / 199 of 1000 is 95, 4 sigma 37.
    assert 58 <= sum(len(pair.first) + len(pair.second) < 200 for pair in short) <= 132
    whole = first_pairs(articles, short_sequence_probability=0)
    assert 437 <= sum(pair.is_random_next for pair in whole) <= 563  # 4 sigma around 500


def test_empty_sentences_and_articles_are_skipped():
    with_gaps = [[[1, 2], [], [3]], [], [[4], [5, 6]]]
    assert build_pairs(with_gaps, Pairing(seed=9)) == build_pairs([[[1, 2], [3]], [[4], [5, 6]]], Pairing(seed=9))


def test_special_tokens_and_types_by_hand():
    assert add_special_tokens(Pair([5, 6], [7], 1), BERTS) == {
        "input_ids": [2, 5, 6, 3, 7, 3],
        "token_type_ids": [0, 0, 0, 0, 1, 1],
        "next_sentence_label": 1,
    }


def test_a_max_length_without_room_is_refused():
    with pytest.raises(ValueError, match="max_length=4: expected at least 5"):
        build_pairs([[[1], [2]]], Pairing(max_length=4, seed=0))


def test_articles_become_ids_without_special_tokens(tokenizer: PreTrainedTokenizerBase):
    ids = tokenize_articles([["The cat sat.", "The dog sat!"], [], ["\u200b"]], tokenizer)
    assert [tokenizer.convert_ids_to_tokens(sentence) for sentence in ids[0]] == [
        ["the", "cat", "sat", "."],
        ["the", "dog", "sat", "!"],
    ]
    assert ids[1:] == [[], []]  # a zero-width space is a sentence without tokens


def corpus(num_articles: int) -> datasets.Dataset:
    numbers = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    return datasets.Dataset.from_dict(
        {
            "title": [str(i) for i in range(num_articles)],
            "sentences": [
                [f"The cat sat on {numbers[i % 10]}.", "It was good.", "The dog sat."] for i in range(num_articles)
            ],
        }
    )


def test_the_pairs_data_set_is_the_builder_on_the_articles_in_order(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    articles = corpus(30)
    built = pairs_dataset(articles, tokenizer, Pairing(max_length=32, seed=7), cache_file=tmp_path / "1")
    assert built.column_names == ["input_ids", "token_type_ids", "next_sentence_label", "length", "index"]
    assert built["index"][:] == list(range(len(built)))
    assert built["length"][:] == [len(ids) for ids in built["input_ids"]]
    assert {ids[0] for ids in built["input_ids"]} == {tokenizer.cls_token_id}
    expected = build_pairs(tokenize_articles(articles["sentences"][:], tokenizer), Pairing(max_length=32, seed=7))
    ids = [add_special_tokens(pair, BERTS)["input_ids"] for pair in expected]
    assert built["input_ids"][:] == ids
    assert built[:] == pairs_dataset(articles, tokenizer, Pairing(max_length=32, seed=7), cache_file=tmp_path / "2")[:]
    assert built[:] != pairs_dataset(articles, tokenizer, Pairing(max_length=32, seed=8), cache_file=tmp_path / "3")[:]


def test_processes_change_no_example(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    articles = corpus(2500)  # three batches
    alone = pairs_dataset(articles, tokenizer, Pairing(max_length=32), cache_file=tmp_path / "pairs.arrow")
    assert alone.cache_files
    together = pairs_dataset(articles, tokenizer, Pairing(max_length=32), cache_file=tmp_path / "2", processes=2)
    assert alone[:] == together[:]
    assert (tmp_path / "pairs.arrow").read_bytes() == (tmp_path / "2").read_bytes()


def test_a_corpus_without_pairs_is_refused(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    articles = datasets.Dataset.from_dict({"sentences": [["Alone."]]})
    with pytest.raises(ValueError, match="1 articles yields no sentence pair"):
        pairs_dataset(articles, tokenizer, Pairing(), cache_file=tmp_path / "pairs.arrow")
