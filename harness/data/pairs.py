"""Sentence pairs for masked-language-model and next-sentence pre-training, as BERT builds them.

Articles become sentences, sentences become token ids, runs of sentences become pairs (Devlin et al. 2019, appendix
A.2; the authors' release of Prune OFA). Masking comes later, at collation. The result depends on the articles, the
tokenizer, the sentence splitter and the arguments; it does not depend on the number of workers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness.data.parallel import in_order
from harness.data.special_tokens import NUM_SPECIAL_TOKENS, PairTemplate
from harness.progress import NEVER, StopFlag

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

ARTICLES_PER_BATCH = 1000

TokenIds = list[int]


class Pair(NamedTuple):
    """Two runs of sentences without special tokens; `is_random_next` is 1 if the second is from another article."""

    first: TokenIds
    second: TokenIds
    is_random_next: int


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """How articles become pairs.

    max_length: tokens of a pair with its special tokens, two more than these at least; target length of a pair is what
        is left, and with `short_sequence_probability`, drawn once per article, uniform from 2 to that.
    next_sentence_probability: chance that the second part is random; a chunk of one sentence always takes a random one.
    seed: articles are worked in fixed batches of 1000, the batch from article i with the generator seeded seed + i.
    num_special_tokens: that a tokenizer puts around a pair; 3 for BERT's, 4 for RoBERTa's.
    Raises ValueError on a max_length without room for a token of each part.
    """

    max_length: int = 512
    short_sequence_probability: float = 0.1
    next_sentence_probability: float = 0.5
    seed: int = 42
    num_special_tokens: int = NUM_SPECIAL_TOKENS

    def __post_init__(self) -> None:
        if self.target_length < 2:
            raise ValueError(
                f"max_length={self.max_length}: expected at least {self.num_special_tokens + 2}, "
                f"one token for each part and {self.num_special_tokens} special tokens."
            )

    @property
    def target_length(self) -> int:
        """Of a pair, without special tokens."""
        return self.max_length - self.num_special_tokens

    def of_batch(self, articles: Sequence[Sequence[Sequence[int]]], start: int, stops: StopFlag = NEVER) -> list[Pair]:
        """Pairs of the batch of articles that begins with article `start`."""
        rng = random.Random(self.seed + start)
        batch = [[list(sentence) for sentence in article if sentence] for article in articles]
        batch = [article for article in batch if article]
        pairs: list[Pair] = []
        for number, article in enumerate(stops.over(batch, "articles of a batch paired")):
            is_short = rng.random() < self.short_sequence_probability
            target = rng.randint(2, self.target_length) if is_short else self.target_length
            position = 0
            while position < len(article):
                chunk = _chunk(article, position, target)
                num_first = rng.randint(1, len(chunk) - 1) if len(chunk) > 1 else 1
                wants_random = len(chunk) == 1 or rng.random() < self.next_sentence_probability
                is_random_next = wants_random and len(batch) > 1
                first = _joined(chunk[:num_first])
                if is_random_next:
                    second = _random_run(batch, other_than=number, length=target - len(first), rng=rng)
                    position += num_first
                else:
                    second = _joined(chunk[num_first:])
                    position += len(chunk)
                if second:
                    pairs.append(Pair(*_truncated(first, second, self.target_length), int(is_random_next)))
        return pairs


def build_pairs(articles: Sequence[Sequence[Sequence[int]]], pairing: Pairing) -> list[Pair]:
    """Pairs of all articles (article -> sentences -> token ids), in the order of the articles.

    The random part is from another article of the same batch, and the sentences it displaced are used again. Where
    the batch has no other article, the second part is the actual next one, and a lone last sentence makes no pair.
    Pairs that are too long lose tokens at the end of the longer part, of the second part when both are equal.
    Empty sentences and articles are skipped.
    """
    starts = range(0, len(articles), ARTICLES_PER_BATCH)
    return [pair for i in starts for pair in pairing.of_batch(articles[i : i + ARTICLES_PER_BATCH], i)]


def add_special_tokens(pair: Pair, template: PairTemplate) -> dict[str, Any]:
    """Of BERT: [CLS] first [SEP] second [SEP] as input_ids, token_type_ids (0 to the first [SEP], then 1), label."""
    return {
        "input_ids": template.ids(pair.first, pair.second),
        "token_type_ids": template.token_types(pair.first, pair.second),
        "next_sentence_label": pair.is_random_next,
    }


def tokenize_articles(articles: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase) -> list[list[TokenIds]]:
    """Token ids of every sentence of every article, without special tokens; sentences without tokens are dropped.

    A space stands before every sentence of an article but its first: a byte-level tokenizer has other tokens for a word
    after a space, and to the others it is nothing.
    """
    flat = [f" {sentence}" if place else sentence for article in articles for place, sentence in enumerate(article)]
    if not flat:
        return [[] for _ in articles]
    ids = iter(
        tokenizer(
            flat,
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
    )
    return [[sentence for sentence in (next(ids) for _ in article) if sentence] for article in articles]


def pairs_dataset(
    articles: datasets.Dataset,
    tokenizer: PreTrainedTokenizerBase,
    pairing: Pairing,
    *,
    processes: int = 1,
    cache_file: Path | str,
    stops: StopFlag = NEVER,
) -> datasets.Dataset:
    """The pre-training examples of a corpus; `articles` has a column sentences with one article's strings per row.

    Columns: input_ids, token_type_ids, next_sentence_label, length (tokens with special ones) and index (0, 1, ..,
    which the masking collator needs). Articles are paired in their order, as in `build_pairs`; shuffle them before.
    processes: change no example: a batch of articles stays whole and keeps its seed, whoever works it. cache_file:
    Arrow file to write and map. A batch of articles and its pairs are in memory at a time, for each process some.
    Raises ValueError when the corpus yields no pair, and what `stops` raises.
    """
    import datasets
    from datasets.arrow_writer import ArrowWriter

    features = datasets.Features(
        input_ids=datasets.List(datasets.Value("int32")),
        token_type_ids=datasets.List(datasets.Value("int8")),
        next_sentence_label=datasets.Value("int8"),
        length=datasets.Value("int32"),
    )
    # Of one process the flag is asked between two articles too; another process has none.
    template = PairTemplate.of(tokenizer)
    fitting = replace(pairing, num_special_tokens=template.num_tokens)
    sentences = articles.select_columns(["sentences"])
    of_batch = partial(_columns_of_batch, sentences, tokenizer, fitting, template, stops)
    starts = range(0, len(articles), ARTICLES_PER_BATCH)
    what = f"batches of {ARTICLES_PER_BATCH} articles paired"
    with ArrowWriter(features=features, path=str(cache_file)) as writer:
        for columns in in_order(of_batch, starts, what, processes=processes, stops=stops):
            writer.write_batch(columns)
        writer.finalize()
    pairs = datasets.Dataset.from_file(str(cache_file))
    if len(pairs) == 0:
        raise ValueError(
            f"the corpus of {len(articles)} articles yields no sentence pair; expected at least two articles with text."
        )
    return pairs.add_column("index", np.arange(len(pairs)))


def _columns_of_batch(
    articles: datasets.Dataset,
    tokenizer: PreTrainedTokenizerBase,
    pairing: Pairing,
    template: PairTemplate,
    stops: StopFlag,
    start: int,
) -> dict[str, list[Any]]:
    tokenized = tokenize_articles(articles[start : start + ARTICLES_PER_BATCH]["sentences"], tokenizer)
    return _columns(pairing.of_batch(tokenized, start, stops), template)


def _columns(pairs: Sequence[Pair], template: PairTemplate) -> dict[str, list[Any]]:
    examples = [add_special_tokens(pair, template) for pair in pairs]
    names = ("input_ids", "token_type_ids", "next_sentence_label")
    columns = {name: [example[name] for example in examples] for name in names}
    return {**columns, "length": [len(ids) for ids in columns["input_ids"]]}


def _chunk(article: list[TokenIds], position: int, target: int) -> list[TokenIds]:
    """Sentences from `position` on until they hold `target` tokens or the article ends."""
    length = 0
    for end in range(position, len(article)):
        length += len(article[end])
        if length >= target:
            return article[position : end + 1]
    return article[position:]


def _random_run(batch: list[list[TokenIds]], *, other_than: int, length: int, rng: random.Random) -> TokenIds:
    """Sentences of another article of the batch from a random one on, at least one, until they hold `length` tokens."""
    number = rng.randrange(len(batch) - 1)
    article = batch[number + (number >= other_than)]
    return _joined(_chunk(article, rng.randrange(len(article)), length))


def _joined(sentences: Sequence[TokenIds]) -> TokenIds:
    return [token for sentence in sentences for token in sentence]


def _truncated(first: TokenIds, second: TokenIds, length: int) -> tuple[TokenIds, TokenIds]:
    """Both parts cut at their ends, the longer one first, until together they hold at most `length` tokens."""
    num_first, num_second = len(first), len(second)
    excess = num_first + num_second - length
    if excess <= 0:
        return first, second
    levelled = min(excess, abs(num_first - num_second))
    if num_first > num_second:
        num_first -= levelled
    else:
        num_second -= levelled
    excess -= levelled
    return first[: num_first - excess // 2], second[: num_second - (excess - excess // 2)]
