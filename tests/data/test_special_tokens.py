"""What stands around a pair of texts is the tokenizer's own: as the library's encoding of two texts has it."""

from __future__ import annotations

from pathlib import Path

import datasets
import family_toys
import pytest
from family_toys import TOYS
from tokenizers import processors
from transformers import PreTrainedTokenizerBase

from harness.data.pairs import Pairing, pairs_dataset, tokenize_articles
from harness.data.special_tokens import PairTemplate

SENTENCES = ("The film was very good.", "anna lives in paris.")


@pytest.fixture(params=TOYS)
def tokenizer(request: pytest.FixtureRequest, tmp_path: Path) -> PreTrainedTokenizerBase:
    found: PreTrainedTokenizerBase = family_toys.save_tokenizer(tmp_path / "tokenizer", TOYS[request.param])
    return found


def test_a_pair_is_what_the_library_makes_of_two_texts(tokenizer: PreTrainedTokenizerBase) -> None:
    template = PairTemplate.of(tokenizer)
    whole = tokenizer(*SENTENCES, return_token_type_ids=True)
    first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in SENTENCES)
    assert template.ids(first, second) == whole["input_ids"]
    assert template.token_types(first, second) == whole["token_type_ids"]
    assert template.num_tokens == tokenizer.num_special_tokens_to_add(pair=True)


def test_the_template_of_roberta_by_hand(tmp_path: Path) -> None:
    """<s> is 0, </s> is 2: <s> A </s></s> B </s>, all of type 0."""
    tokenizer = family_toys.save_tokenizer(tmp_path, TOYS["roberta"])
    assert PairTemplate.of(tokenizer) == PairTemplate((0,), (2, 2), (2,), (0, 0, 0, 0, 0))


def test_pairs_fill_their_length_with_four_special_tokens(tmp_path: Path) -> None:
    tokenizer = family_toys.save_tokenizer(tmp_path / "t", TOYS["roberta"])
    articles = datasets.Dataset.from_dict({"sentences": [[*SENTENCES] * 6] * 4})
    found = pairs_dataset(
        articles, tokenizer, Pairing(max_length=12, short_sequence_probability=0), cache_file=tmp_path / "pairs.arrow"
    )
    assert max(found["length"][:]) == 12
    for ids in found["input_ids"][:]:
        assert ids[0] == 0
        assert ids[-1] == 2
        assert sum(ids[i : i + 2] == [2, 2] for i in range(len(ids))) == 1
        assert ids.count(0) == 1


def test_a_byte_level_sentence_after_another_begins_with_a_space(tmp_path: Path) -> None:
    """An article's tokens are those of its sentences with a space between, as they stand in the text."""
    tokenizer = family_toys.save_tokenizer(tmp_path, TOYS["roberta"])
    (article,) = tokenize_articles([[*SENTENCES]], tokenizer)
    assert [*article[0], *article[1]] == tokenizer(" ".join(SENTENCES), add_special_tokens=False)["input_ids"]
    alone = tokenizer(SENTENCES[1], add_special_tokens=False)["input_ids"]
    assert article[1] != alone
    pieces = family_toys.save_tokenizer(tmp_path / "b", TOYS["electra"])  # to others a space is nothing
    assert (
        tokenize_articles([[*SENTENCES]], pieces)[0][1] == pieces(SENTENCES[1], add_special_tokens=False)["input_ids"]
    )


def test_a_tokenizer_that_puts_nothing_around_a_pair_is_refused(tmp_path: Path) -> None:
    tokenizer = family_toys.save_tokenizer(tmp_path, TOYS["electra"])
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel()
    with pytest.raises(ValueError, match="the tokenizer puts no special tokens before and after a pair of texts"):
        PairTemplate.of(tokenizer)
