"""A small WordPiece tokenizer made on the spot, and writers of small parquet files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import datasets
import pytest
from tiny_world import wordpiece_tokenizer
from transformers import PreTrainedTokenizerBase

WORDS = (
    "the a in is of to and film was good bad cat dog sat on mat who where what when did paris capital france river "
    "seine one two three four five six seven eight nine ten"
)
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?!'\"()-"

datasets.disable_progress_bars()


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """Whole words of WORDS are one token each, everything else goes by letter."""
    tokens = [*WORDS.split(), *(c for c in CHARACTERS if c != "a"), *(f"##{c}" for c in CHARACTERS)]
    return wordpiece_tokenizer(tmp_path_factory.mktemp("tokenizer"), tokens)


@pytest.fixture
def make_tokenizer(tmp_path: Path) -> Callable[[Iterable[str]], PreTrainedTokenizerBase]:
    """make_tokenizer(tokens) -> a tokenizer with the special tokens and these."""
    return lambda tokens: wordpiece_tokenizer(tmp_path / "tokenizer", tokens)
