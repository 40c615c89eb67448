"""`harness fetch`: fill the hub's cache with what a study needs, on a machine with internet, before others run it."""

from __future__ import annotations

import argparse
import sys

from harness.catalogue import get_method
from harness.commands.request import Reading, asked, read_axes, read_recipe, reads
from harness.errors import HarnessError, unknown_name
from harness.grid import Axes
from harness.models import MODELS, TOKENIZER_FILES, WEIGHT_FILES, HubSource
from harness.recipes import Recipe
from harness.sparse_checkpoints import CHECKPOINT_FILES, ReleasedCheckpoint

MODEL_FILES = ("config.json", *WEIGHT_FILES, *TOKENIZER_FILES)
SPARSE_FILES = ("config.json", *CHECKPOINT_FILES, *TOKENIZER_FILES)


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 everything is in the cache. Raises UsageError for names, HarnessError for what did not come."""
    from harness.data.places import hub_sets

    reading = Reading()
    words = asked(options)
    recipe, axes = read_recipe(words, reading), read_axes(words, reading)
    reading.problems += [unknown_name("model", name, MODELS) for name in axes.models if name not in MODELS]
    reading.check()
    assert recipe is not None
    tasks, needs_corpus = reads(axes, recipe)
    failed: list[str] = []
    for alias in dict.fromkeys(axes.models):
        source = MODELS[alias]
        if isinstance(source, HubSource):
            what = f"model {alias!r}: {source}"
            _fetch(what, failed, source.repository, source.revision, "model", MODEL_FILES)
    for checkpoint in _released(axes, recipe):
        what = f"sparse checkpoint {checkpoint}: {checkpoint.source}"
        _fetch(what, failed, checkpoint.source.repository, checkpoint.source.revision, "model", SPARSE_FILES)
    if (options.data or recipe.data) == "hub":
        for (repository, configuration, revision), purpose in hub_sets(tasks, corpus=needs_corpus).items():
            what = f"{purpose}: {repository} ({configuration}) at {revision[:12]}"
            _fetch(what, failed, repository, revision, "dataset", (f"{configuration}/*.parquet",))
    if failed:
        raise HarnessError("\n".join(failed))
    return 0


def _released(axes: Axes, recipe: Recipe) -> list[ReleasedCheckpoint]:
    """The recipe's checkpoints of the named models and sparsities, where a method in question starts from them."""
    methods = axes.methods or [row.method for row in recipe.rows]
    if not any(get_method(name).prunes_in_pretraining for name in methods):
        return []
    return [
        checkpoint
        for checkpoint in recipe.sparse_checkpoints
        if checkpoint.model in axes.models and (axes.sparsities is None or checkpoint.sparsity in axes.sparsities)
    ]


def _fetch(what: str, failed: list[str], repository: str, revision: str, kind: str, patterns: tuple[str, ...]) -> None:
    """Bring one snapshot into the cache and say where it is; what does not come is noted, and the rest goes on."""
    from huggingface_hub import snapshot_download

    print(what, file=sys.stderr, flush=True)
    try:
        folder = snapshot_download(repository, revision=revision, repo_type=kind, allow_patterns=list(patterns))
    except Exception as error:  # the hub's client raises errors of many libraries
        failed.append(f"{what} did not come: {type(error).__name__}: {str(error).splitlines()[0]}")
    else:
        print(folder)
