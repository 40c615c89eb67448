"""Sparse checkpoints from outside: encoders that somebody else pruned in pre-training.

They have two sources: a preset lists released ones at pinned commits of the hub, and a user brings folders of
their own (--sparse-from NAME=DIR). This module finds them, compares configurations and counts zeros, all without
torch; the stage `sparse_checkpoint` loads them, counts again and refuses those that differ from their claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import Problem, Problems, UsageError
from harness.identity import NAME_IN_WORDS, is_commit, is_name
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.encoder_folder import check_encoder_folder, read_config
from harness.inputs.family import Family
from harness.inputs.hub import HubSource, cached_snapshot
from harness.inputs.models import BaseModel, config_of, folder_content_id
from harness.inputs.vocabulary import read_vocabulary
from harness.inputs.weight_files import (
    FLOATING,
    PICKLED,
    SAFETENSORS,
    encoder_tensors,
    read_header,
)
from harness.specs import as_sparsity, sparsity_problem
from harness.wording import option

# How far the counted sparsity may be from the claimed one: half a point.
TOLERANCE = 0.005
# In order of preference. Only the stage opens a pickled file, and reads nothing but tensors from it.
CHECKPOINT_FILES = (SAFETENSORS, PICKLED)


@dataclass(frozen=True, kw_only=True)
class ReleasedCheckpoint:
    """A sparse encoder on the hub at a pinned commit, standing for (model, sparsity).

    evidence: where the commit was read.
    """

    model: str
    sparsity: float
    source: HubSource
    evidence: str

    @property
    def content_id(self) -> str:
        return self.source.content_id("sparse checkpoint")

    def __str__(self) -> str:
        return f"{self.model} {self.sparsity:g}"


@dataclass(frozen=True, kw_only=True)
class SparseCheckpoint:
    """A checkpoint a plan may name. source: words for people. sparsity: claimed (released) or counted (one's own).

    folder: in the hub's layout; None: not cached. pinned: whether a commit of the hub names its contents.
    """

    source: str
    content_id: str
    sparsity: float
    folder: Path | None
    pinned: bool = False

    def check_unchanged(self, hashes: ContentHashes) -> None:
        """Raises UsageError where its files are no longer those that the plan was made with."""
        if self.folder is None or self.pinned:
            return
        config, _ = read_config(self.source, self.folder)
        if _own_content_id(config, self.folder, hashes) != self.content_id:
            raise UsageError(
                f"{self.source}: the files in {self.folder} changed since the plan was made. Put them back, or plan "
                "again."
            )


@dataclass
class OwnCheckpoints:
    """Checkpoints by NAME, those that cannot be used left out; every NAME that was given; and the problems."""

    found: dict[str, SparseCheckpoint] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def parse_released(entries: Iterable[Mapping[str, Any]]) -> tuple[ReleasedCheckpoint, ...]:
    """The [[sparse_checkpoints]] of a preset. Raises UsageError with every problem; an unpinned revision is one."""
    found: dict[tuple[str, float], ReleasedCheckpoint] = {}
    problems: list[str] = []
    for entry in entries:
        wrong = _entry_problems(entry)
        problems += wrong
        if wrong:
            continue
        checkpoint = ReleasedCheckpoint(
            model=entry["model"],
            sparsity=as_sparsity(entry["sparsity"]),
            source=HubSource(repository=entry["repository"], revision=entry["revision"]),
            evidence=entry["published"],
        )
        if (checkpoint.model, checkpoint.sparsity) in found:
            problems.append(f"sparse checkpoint {checkpoint} is listed twice.")
        found[checkpoint.model, checkpoint.sparsity] = checkpoint
    if problems:
        raise UsageError(problems)
    return tuple(found.values())


def _entry_problems(entry: Mapping[str, Any]) -> list[str]:
    keys = {"model", "sparsity", "repository", "revision", "published"}
    if set(entry) != keys:
        return [f"a sparse checkpoint has {sorted(entry)}, expected {sorted(keys)}."]
    what = f"sparse checkpoint {entry['model']} {entry['sparsity']}"
    found = [
        f"{what}: {key} = {entry[key]!r}: expected a text."
        for key in sorted(keys - {"sparsity"})
        if not isinstance(entry[key], str)
    ]
    if not found and not is_commit(entry["revision"]):
        found.append(
            f"{what}: revision {entry['revision']!r} is not pinned. A branch or tag may move: give the commit, "
            "40 hexadecimal digits."
        )
    if type(entry["sparsity"]) not in (int, float) or not 0 < entry["sparsity"] < 1:
        found.append(f"{what}: expected a sparsity in (0, 1).")
    elif problem := sparsity_problem(entry["sparsity"]):
        found.append(f"{what}: {problem.message}")
    return found


@dataclass
class ReleasedCheckpoints:
    """Checkpoints with their folders in the hub's cache, a sentence for each that is not there, and the problems."""

    located: list[SparseCheckpoint] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def locate_released(released: Iterable[ReleasedCheckpoint], models: Mapping[str, BaseModel]) -> ReleasedCheckpoints:
    """The released checkpoints on this machine, each compared with its base model among `models`, if that is here."""
    found = ReleasedCheckpoints()
    for checkpoint in released:
        folder = cached_snapshot(checkpoint.source, CHECKPOINT_FILES)
        if folder is not None:
            try:
                what = f"sparse checkpoint {checkpoint}"
                _check_fit(what, folder, models.get(checkpoint.model), takes_pickles=True)
            except UsageError as error:
                found.problems.extend(error.problems)
        else:
            found.missing.append(
                f"sparse checkpoint {checkpoint}: {checkpoint.source} is not in the hub's cache on this machine. Run "
                f"harness fetch where there is internet, or bring a local folder: {option('sparse-from')} NAME=DIR."
            )
        found.located.append(
            SparseCheckpoint(
                source=str(checkpoint.source),
                content_id=checkpoint.content_id,
                sparsity=checkpoint.sparsity,
                folder=folder,
                pinned=True,
            )
        )
    return found


def find_own(
    folders: Mapping[str, Path], base: BaseModel | None, hashes: ContentHashes, is_reserved: Callable[[str], bool]
) -> OwnCheckpoints:
    """The folders of --sparse-from, compared with the base model and their zeros counted.

    folders: by NAME. base: the grid's one base model; None: unknown, then no comparison is made.
    is_reserved: whether a name belongs to a method.
    """
    own = OwnCheckpoints()
    for name, folder in folders.items():
        if not is_name(name) or is_reserved(name):
            why = "is the name of a method" if is_reserved(name) else "is no name"
            own.problems.append(
                Problem(
                    f"{option('sparse-from')} {name}={folder}: {name!r} {why}",
                    next_move=f"Use {NAME_IN_WORDS}; it is the title of a row.",
                )
            )
        else:
            own.names.append(name)
            try:
                own.found[name] = _read_own(name, folder, base, hashes)
            except UsageError as error:
                own.problems.extend(error.problems)
    return own


def architecture_problems(
    family: Family, found: Mapping[str, Any], base: Mapping[str, Any], *, base_family: Family
) -> list[str]:
    """A sentence for everything in which a checkpoint's configuration does not fit the base model's.

    A key that one of them leaves out has the library's value.
    """
    if family != base_family:
        return [f"its model_type is {family.name}, the base model's is {base_family.name}."]
    pairs = {key: (family.setting(found, key), family.setting(base, key)) for key in family.architecture}
    return [
        f"its {key} is {own!r}, the base model's is {other!r}." for key, (own, other) in pairs.items() if own != other
    ]


def encoder_zeros(path: Path, family: Family, layers: int) -> tuple[int, int]:
    """(exact zeros, number of entries) of the family's prunable encoder matrices in a safetensors file.

    Read from header and bytes, without torch; a float is zero when all its bits but the sign are. Raises UsageError
    when the file is no safetensors file or lacks one of the matrices.
    """
    import numpy as np

    tensors = encoder_tensors(read_header(path), family)
    stored = {name: tensors.get(f"{family.bare(name)}.weight") for name in family.encoder_matrices(layers)}
    absent = [name for name, tensor in stored.items() if tensor is None]
    if absent:
        raise UsageError(
            f"{path} lacks {len(absent)} of {len(stored)} encoder matrices ({', '.join(absent[:3])} ..). "
            "Expected the hub's names. If it was saved during pruning, its masks were never made permanent."
        )
    content = np.memmap(path, dtype=np.uint8, mode="r")
    unsigned = dict(zip(FLOATING, (np.uint64, np.uint32, np.uint16, np.uint16), strict=True))
    zeros = numel = 0
    for name, tensor in stored.items():
        assert tensor is not None
        kind = unsigned.get(tensor.dtype)
        if kind is None:
            raise UsageError(f"{path}: {name} is {tensor.dtype}. Expected floating-point data.")
        bits = content[tensor.begin : tensor.end].view(kind)
        zeros += int(np.count_nonzero((bits << kind(1)) == 0))
        numel += bits.size
    return zeros, numel


def _read_own(name: str, folder: Path, base: BaseModel | None, hashes: ContentHashes) -> SparseCheckpoint:
    what = f"{option('sparse-from')} {name}"
    config, family = _check_fit(what, folder, base, takes_pickles=False)
    file = folder / SAFETENSORS
    digest = hashes.file(file)
    layers = family.setting(config, family.sizes["layers"])
    try:
        zeros, numel = hashes.counted(
            digest,
            f"zeros of {layers} {family.name} layers: {', '.join(family.linears)}",
            lambda: encoder_zeros(file, family, layers),
        )
    except UsageError as error:
        raise UsageError([f"{what}: {problem.message}" for problem in error.problems]) from None
    if not TOLERANCE <= zeros / numel < 1:
        raise UsageError(
            f"{what}: {zeros:,} of the {numel:,} weights in its {len(family.encoder_matrices(layers))} encoder "
            "matrices are zero. Expected a sparse model: half a percent at least, and not all."
        )
    return SparseCheckpoint(
        source=name,
        content_id=_own_content_id(config, folder, hashes),
        sparsity=round(zeros / numel, 4),
        folder=folder,
    )


def _own_content_id(config: Mapping[str, Any], folder: Path, hashes: ContentHashes) -> str:
    return folder_content_id(config, hashes.folder(folder, [SAFETENSORS]))


def _check_fit(
    what: str, folder: Path, base: BaseModel | None, *, takes_pickles: bool
) -> tuple[dict[str, Any], Family]:
    """A checkpoint's configuration and family, once its files are found to fit them and the base model.

    Reads headers and vocabularies alone. Raises UsageError with every problem, each beginning with `what`.
    """

    def differences(config: dict[str, Any], family: Family) -> list[Problem]:
        found = Problems()
        based_on = None if base is None else config_of(base)
        if based_on is not None:
            different = architecture_problems(family, config, based_on[0], base_family=based_on[1])
            found.extend(f"{what}: {problem} Name the base model it was pruned from." for problem in different)
        if base is not None and base.folder is not None:
            found.attempt(partial(_check_same_words, what, folder, base.folder), None)
        return found.found

    found = check_encoder_folder(what, folder, takes_pickles=takes_pickles, needs_tokenizer=False, beside=differences)
    return found.config, found.family


def _check_same_words(what: str, folder: Path, base: Path) -> None:
    """Raises UsageError when a checkpoint brings a tokenizer of another vocabulary than the base model's."""
    try:
        own, wanted = read_vocabulary(folder), read_vocabulary(base)
    except UsageError:  # told of the folder itself
        return
    if own is None or wanted is None:
        return
    moved = sorted(token for token in {*own, *wanted} if own.get(token) != wanted.get(token))
    if moved:
        raise UsageError(
            f"{what}: {len(moved)} tokens of its vocabulary are absent from the base model's or have another number "
            f"there ({', '.join(moved[:3])} ..). Name the base model it was pruned from."
        )
