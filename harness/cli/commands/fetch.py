"""`harness fetch`: fill the hub's cache with what a grid needs, on a machine with internet."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.cli.options import options_from_args
from harness.errors import HarnessError, Problems, unknown_name
from harness.grids.request import read_axes, read_preset, required_data
from harness.inputs.hub import HubSource
from harness.inputs.models import MODELS, TOKENIZER_FILES, WEIGHT_FILES
from harness.inputs.sparse_checkpoints import CHECKPOINT_FILES, ReleasedCheckpoint
from harness.planning.grid import Axes
from harness.planning.method_needs import needs
from harness.planning.method_registry import get_method
from harness.planning.preset import Preset

REACH_SECONDS = 10.0
Groups = tuple[tuple[str, ...], ...]
# Names or patterns of files, in groups: a complete snapshot has a file of each. A sparse checkpoint may have no
# tokenizer.
MODEL_FILES: Groups = (("config.json",), WEIGHT_FILES, TOKENIZER_FILES)
SPARSE_FILES: Groups = (("config.json",), CHECKPOINT_FILES)


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 everything is in the cache. Raises UsageError for bad options, HarnessError for failed downloads."""
    from harness.inputs.data_sources import hub_sets

    problems = Problems()
    given = options_from_args(options, problems)
    preset = read_preset(given, problems)
    axes = read_axes(given, problems, preset)
    problems.extend((unknown_name("model", name, MODELS) for name in axes.models if name not in MODELS), "models")
    tasks, needs_corpus = required_data(axes, preset, problems)
    problems.check()
    assert preset is not None
    wanted = [
        _Snapshot(f"model {alias!r}: {source}", source.repository, source.revision, "model", MODEL_FILES)
        for alias in dict.fromkeys(axes.models)
        if isinstance(source := MODELS[alias], HubSource)
    ]
    for checkpoint in _released(axes, preset):
        source = checkpoint.source
        what = f"sparse checkpoint {checkpoint}: {source}"
        wanted.append(_Snapshot(what, source.repository, source.revision, "model", SPARSE_FILES, TOKENIZER_FILES))
    if (given.data or preset.data) == "hub":
        for (repository, configuration, revision), purpose in hub_sets(tasks, corpus=needs_corpus).items():
            what = f"{purpose}: {repository} ({configuration}) at {revision[:12]}"
            wanted.append(_Snapshot(what, repository, revision, "dataset", ((f"{configuration}/*.parquet",),)))
    if not wanted:
        print(f"nothing to fetch: {_why_nothing(axes, given.data or preset.data)}.", file=sys.stderr)
    failed: list[str] = []
    unreachable = _unreachable() if wanted else None
    for snapshot in wanted:
        _fetch(snapshot, failed, unreachable)
    if failed:
        if unreachable is not None:
            failed.append(
                f"{unreachable} Run harness fetch where it can be reached, with the cache's folder as HF_HOME."
            )
        raise HarnessError("\n".join(failed))
    return 0


def _why_nothing(axes: Axes, data: str | None) -> str:
    models = ", ".join(dict.fromkeys(axes.models))
    named = [f"the models ({models}) are generated or installed"] if models else ["no model is named"]
    if data != "hub":
        named.append(f"the data are {data or 'not named'}, not the hub's")
    return ", and ".join(named)


@dataclass(frozen=True)
class _Snapshot:
    """Files of a repository of the hub. groups: must all be present; also: taken where there are some."""

    what: str
    repository: str
    revision: str
    kind: str
    groups: Groups
    also: tuple[str, ...] = ()


def _released(axes: Axes, preset: Preset) -> list[ReleasedCheckpoint]:
    """The preset's checkpoints of the named models and sparsities, where one of the methods starts from them."""
    methods = axes.methods or [row.method for row in preset.rows]
    if not any(needs(get_method(name), released=True).released for name in methods):
        return []
    return [
        checkpoint
        for checkpoint in preset.sparse_checkpoints
        if checkpoint.model in axes.models and (axes.sparsities is None or checkpoint.sparsity in axes.sparsities)
    ]


def _unreachable() -> str | None:
    """Why the hub cannot be reached. Tried once: its client would try for half a minute for every snapshot."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=REACH_SECONDS)
    except Exception as error:  # the hub's client raises errors of many libraries
        return f"The hub ({constants.ENDPOINT}) cannot be reached from here ({_first_line(error)})."
    return None


def _fetch(snapshot: _Snapshot, failed: list[str], unreachable: str | None) -> None:
    """Download one snapshot into the cache and print its folder. A failure is added to `failed`; the rest goes on."""
    from huggingface_hub import snapshot_download

    print(snapshot.what, file=sys.stderr, flush=True)
    patterns = [*(name for group in snapshot.groups for name in group), *snapshot.also]
    try:
        folder = Path(
            snapshot_download(
                snapshot.repository,
                revision=snapshot.revision,
                repo_type=snapshot.kind,
                allow_patterns=patterns,
                local_files_only=unreachable is not None,
            )
        )
    except Exception as error:
        reason = "it is not in the cache" if unreachable is not None else _first_line(error)
        failed.append(f"{snapshot.what} was not fetched: {reason}.")
        return
    lacking = [" or ".join(group) for group in snapshot.groups if not any(any(folder.glob(name)) for name in group)]
    if lacking:
        failed.append(f"{snapshot.what} is incomplete: {folder} has no {', no '.join(lacking)}.")
    else:
        print(folder)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
