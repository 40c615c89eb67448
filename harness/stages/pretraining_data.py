"""Stages corpus and pairs: articles to sentences, sentences to masked-LM and next-sentence examples."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pyarrow.compute as pc

from harness.data.corpus import sentences_dataset, shuffled
from harness.data.pairs import Pairing, pairs_dataset
from harness.data.sentences import NAME as SPLITTER
from harness.inputs.parquet import copy_of, map_parquet
from harness.stages.context import StageContext, StageResult
from harness.stages.loading import folder_of, load_tokenizer, quiet
from harness.tasks import CORPUS_SPLITS


def corpus(context: StageContext) -> StageResult:
    """Clean articles, shuffled with the recipe's seed, as lists of sentences."""
    quiet()
    splitter = context.parameters["sentence_splitter"]
    if splitter != SPLITTER:
        raise ValueError(f"sentence_splitter={splitter!r} is not known; this version has {SPLITTER!r}.")
    details: dict[str, dict[str, int]] = {}
    for split in CORPUS_SPLITS:
        articles = context.sources.data.articles(split, context.spec.inputs[split], context.checkpoints, context.stops)
        order = np.random.default_rng(context.parameters["shuffle_seed"]).permutation(len(articles))
        sentences = sentences_dataset(
            articles,
            context.checkpoints / f"sentences-{split}.arrow",
            processes=context.resources.processes,
            stops=context.stops,
        )
        _write(context, shuffled(sentences, order, context.checkpoints / f"{split}.arrow", context.stops), split)
        details[split] = {"articles": len(sentences), "sentences": _num_values(sentences, "sentences")}
    return StageResult(
        did=[f"{split}: {d['articles']} articles, {d['sentences']} sentences" for split, d in details.items()],
        details={"corpus": details},
    )


def pairs(context: StageContext) -> StageResult:
    """Sentence pairs with next-sentence labels, tokenised; masking comes at collation."""
    quiet()
    parameters = context.parameters
    tokenizer = load_tokenizer(_tokenizer_folder(context))
    tokenizer.save_pretrained(context.artifact / "tokenizer")
    pairing = Pairing(
        max_length=parameters["max_length"],
        short_sequence_probability=parameters["short_sequence_probability"],
        next_sentence_probability=parameters["next_sentence_probability"],
        seed=parameters["seed"],
    )
    details: dict[str, dict[str, int]] = {}
    for split in CORPUS_SPLITS:
        path = context.parent_artifacts["corpus"] / f"{split}.parquet"
        articles = map_parquet([path], context.checkpoints, context.stops)
        examples = pairs_dataset(
            articles,
            tokenizer,
            pairing,
            cache_file=context.checkpoints / f"pairs-{split}.arrow",
            processes=context.resources.processes,
            stops=context.stops,
        )
        _write(context, examples, split)
        details[split] = {
            "pairs": len(examples),
            "tokens": _sum(examples, "length"),
            "random_next": _sum(examples, "next_sentence_label"),
        }
    return StageResult(
        did=[f"{split}: {d['pairs']} pairs, {d['tokens']} tokens" for split, d in details.items()],
        details={"pairs": details},
    )


def _tokenizer_folder(context: StageContext) -> Path:
    """The folder of a base model whose tokenizer is the one the plan was made with; models may share one."""
    wanted = context.spec.inputs["tokenizer"]
    for model in context.sources.models.values():
        if model.tokenizer == wanted and (model.folder is not None or model.generated is not None):
            return folder_of(model, context)
    raise ValueError(f"no model here has the tokenizer {wanted[:12]}.. that the plan was made with.")


def _sum(rows: datasets.Dataset, column: str) -> int:
    return int(pc.sum(rows.data.column(column)).as_py() or 0)


def _num_values(rows: datasets.Dataset, column: str) -> int:
    """In the lists of a column, all together."""
    return int(pc.sum(pc.list_value_length(rows.data.column(column))).as_py() or 0)


def _write(context: StageContext, rows: datasets.Dataset, split: str) -> None:
    with context.stops.writing(context.artifact / f"{split}.parquet") as file:
        rows.to_parquet(file)


def load_pairs(context: StageContext, split: str) -> datasets.Dataset:
    """One split of the parent "pairs", memory-mapped from a copy beside the stage's checkpoints.

    Another rank maps the worker's, which is there before ranks begin, and makes one only where it does not see it.
    """
    path = context.parent_artifacts["pairs"] / f"{split}.parquet"
    folder = context.checkpoints
    if context.team is not None and context.team.copies is not None and copy_of([path], context.team.copies).exists():
        folder = context.team.copies
    return map_parquet([path], folder, context.stops)
