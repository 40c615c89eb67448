"""The corpus as sentences: articles split one after the other into an Arrow file, a thousand in memory at a time."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.parallel import in_order
from harness.data.sentences import clean_article, split_sentences
from harness.progress import NEVER, StopFlag

if TYPE_CHECKING:
    import datasets
    import numpy as np

ARTICLES_AT_A_TIME = 1000
BYTES_AT_A_TIME = 100_000_000  # the library's row groups


def sentences_dataset(
    articles: datasets.Dataset, cache_file: Path, *, processes: int = 1, stops: StopFlag = NEVER
) -> datasets.Dataset:
    """A column sentences, the sentences of one article in each row, in the order of `articles` (a column text).

    cache_file: an Arrow file to write and map. processes: change no row. Raises what `stops` raises.
    """
    import datasets
    from datasets.arrow_writer import ArrowWriter

    features = datasets.Features(sentences=datasets.List(datasets.Value("string")))
    texts = articles.select_columns(["text"])
    starts = range(0, len(articles), ARTICLES_AT_A_TIME)
    found = in_order(partial(_split, texts), starts, "thousands of articles", processes=processes, stops=stops)
    with ArrowWriter(features=features, path=str(cache_file)) as writer:
        for sentences in found:
            writer.write_batch({"sentences": sentences})
        writer.finalize()
    return datasets.Dataset.from_file(str(cache_file))


def shuffled(rows: datasets.Dataset, order: np.ndarray, cache_file: Path, stops: StopFlag = NEVER) -> datasets.Dataset:
    """The rows in another order, mapped from an Arrow file in pieces of `BYTES_AT_A_TIME`, each without a seam.

    So a parquet file of it has the same bytes as one of a table in memory, where a row group is a piece.
    """
    import datasets
    from datasets.arrow_writer import ArrowWriter

    size = max(1, len(rows) * BYTES_AT_A_TIME // max(1, rows.data.nbytes))
    arrow = rows.with_format("arrow")
    with ArrowWriter(features=rows.features, path=str(cache_file)) as writer:
        for start in stops.over(range(0, len(order), size), "pieces of the shuffled corpus"):
            piece = arrow.select(order[start : start + size])[:]
            writer.write_table(piece.combine_chunks(), writer_batch_size=size)
        writer.finalize()
    return datasets.Dataset.from_file(str(cache_file))


def _split(texts: datasets.Dataset, start: int) -> list[list[str]]:
    return [split_sentences(clean_article(text)) for text in texts[start : start + ARTICLES_AT_A_TIME]["text"]]
