"""Articles to sentences, by any number of processes, in memory that does not grow with the corpus."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from grid_world import environment

from harness.data import corpus as corpus_module
from harness.data.corpus import sentences_dataset, shuffled
from harness.data.sentences import clean_article, split_sentences
from harness.errors import Interrupted
from harness.progress import StopFlag
from harness.synthetic import source


def articles(count: int) -> datasets.Dataset:
    texts = source.corpus("validation", 0)["text"]
    return datasets.Dataset.from_dict({"title": ["t"] * count, "text": [texts[i % len(texts)] for i in range(count)]})


@pytest.mark.parametrize("processes", [1, 2])
def test_rows_are_the_articles_in_their_order(tmp_path: Path, processes: int) -> None:
    given = articles(2300)
    found = sentences_dataset(given, tmp_path / "sentences", processes=processes)
    assert found["sentences"][:] == [split_sentences(clean_article(text)) for text in given["text"]]
    assert len(found["sentences"][0]) > 1


@pytest.mark.parametrize("piece", [100_000_000, 20_000])
def test_shuffled_rows_have_the_bytes_of_a_table_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(corpus_module, "BYTES_AT_A_TIME", piece)
    found = sentences_dataset(articles(1500), tmp_path / "sentences")
    order = np.random.default_rng(42).permutation(len(found))
    shuffled(found, order, tmp_path / "shuffled").to_parquet(tmp_path / "mapped.parquet")
    in_memory = datasets.Dataset.from_dict({"sentences": [found[int(i)]["sentences"] for i in order]})
    in_memory.to_parquet(tmp_path / "memory.parquet")
    again = datasets.Dataset.from_parquet(str(tmp_path / "mapped.parquet"), cache_dir=str(tmp_path / "cache"))
    assert again["sentences"][:] == in_memory["sentences"][:]
    if piece == 100_000_000:
        assert (tmp_path / "mapped.parquet").read_bytes() == (tmp_path / "memory.parquet").read_bytes()


def test_an_article_without_text_is_a_row_without_sentences(tmp_path: Path) -> None:
    given = datasets.Dataset.from_dict({"text": ["", "One. Two."]})
    assert sentences_dataset(given, tmp_path / "sentences")["sentences"][:] == [[], ["One.", "Two."]]
    nothing = datasets.Dataset.from_dict({"text": []}, features=datasets.Features(text=datasets.Value("string")))
    assert len(sentences_dataset(nothing, tmp_path / "none")) == 0


def test_a_stop_is_heard_after_at_most_a_thousand_articles(tmp_path: Path) -> None:
    asked = [0]

    def is_set() -> bool:
        asked[0] += 1
        return asked[0] > 2

    with pytest.raises(Interrupted, match="stopped after 2 of 5 thousands of articles"):
        sentences_dataset(articles(4100), tmp_path / "sentences", stops=StopFlag(is_set))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    """Peaks of the stages corpus and pairs on 4 and on 24 MB of text, row groups of 1 MB.

    `tests/support/corpus_memory.py` measures any: of corpus 401, 408, 431 and 458 MB were seen on 4, 8, 24 and 96 MB of
    text, so that what grows is the allocator's, and less and less.
    """
    peaks = {}
    for megabytes in (4, 24):
        words = [str(tmp_path / str(megabytes)), "--megabytes", str(megabytes), "--piece", "1", "--json"]
        done = subprocess.run(
            [sys.executable, "-P", "-m", "corpus_memory", *words],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        peaks[megabytes] = json.loads(done.stdout)
    print(peaks)
    for stage in ("corpus", "pairs"):
        grown = peaks[24][stage]["peak_mb"] - peaks[4][stage]["peak_mb"]
        assert grown < 40, f"{stage}: {grown:.0f} MB more for 20 MB more of text"
