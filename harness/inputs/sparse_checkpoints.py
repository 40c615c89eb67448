"""Sparse checkpoints from outside: encoders that somebody else pruned in pre-training.

They have two sources: a preset lists released ones at pinned commits of the hub, and a user brings folders of
their own (--sparse-from NAME=DIR). This module finds them, compares configurations and counts zeros, all without
torch; the stage `sparse_checkpoint` loads them, counts again and refuses those that differ from their claim.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import Problem, UsageError
from harness.identity import NAME_IN_WORDS, is_commit, is_name
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.families import Family, num_layers
from harness.inputs.hub import HubSource, cached_snapshot
from harness.inputs.models import BaseModel, folder_content_id, read_config
from harness.specs import as_sparsity, sparsity_problem
from harness.wording import option

# How far the counted sparsity may be from the claimed one: half a point.
TOLERANCE = 0.005
SAFETENSORS, PICKLED = "model.safetensors", "pytorch_model.bin"
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

    folder: in the hub's layout; None: not cached.
    """

    source: str
    content_id: str
    sparsity: float
    folder: Path | None


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


def locate_released(released: Iterable[ReleasedCheckpoint]) -> tuple[list[SparseCheckpoint], list[str]]:
    """The checkpoints with their folders in the hub's cache, and a sentence for every one that is not there."""
    located, missing = [], []
    for checkpoint in released:
        folder = cached_snapshot(checkpoint.source, CHECKPOINT_FILES)
        if folder is None:
            missing.append(
                f"sparse checkpoint {checkpoint}: {checkpoint.source} is not in the hub's cache on this machine. Run "
                f"harness fetch where there is internet, or bring a local folder: {option('sparse-from')} NAME=DIR."
            )
        located.append(
            SparseCheckpoint(
                source=str(checkpoint.source),
                content_id=checkpoint.content_id,
                sparsity=checkpoint.sparsity,
                folder=folder,
            )
        )
    return located, missing


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

    A key that either leaves out is not compared: it has the library's default, which the stage knows and we do not.
    """
    if family != base_family:
        return [f"its model_type is {family.name}, the base model's is {base_family.name}."]
    return [
        f"its {key} is {found[key]!r}, the base model's is {base[key]!r}."
        for key in family.architecture
        if key in found and key in base and found[key] != base[key]
    ]


def encoder_zeros(path: Path, family: Family, layers: int) -> tuple[int, int]:
    """(exact zeros, number of entries) of the family's prunable encoder matrices in a safetensors file.

    Read from header and bytes, without torch; a float is zero when all its bits but the sign are. Raises UsageError
    when the file is no safetensors file or lacks one of the matrices.
    """
    import numpy as np

    header, begin_of_data = _safetensors_header(path)
    stored = {name: _stored_name(name, header, family) for name in family.encoder_matrices(layers)}
    absent = [name for name, key in stored.items() if key is None]
    if absent:
        raise UsageError(
            f"{path} lacks {len(absent)} of {len(stored)} encoder matrices ({', '.join(absent[:3])} ..). "
            "Expected the hub's names. If it was saved during pruning, its masks were never made permanent."
        )
    content = np.memmap(path, dtype=np.uint8, mode="r")
    unsigned = {"F64": np.uint64, "F32": np.uint32, "F16": np.uint16, "BF16": np.uint16}
    zeros = numel = 0
    for key in stored.values():
        assert key is not None
        kind = unsigned.get(header[key]["dtype"])
        begin, end = (begin_of_data + offset for offset in header[key]["data_offsets"])
        if kind is None or end > len(content):
            raise UsageError(f"{path}: {key} is {header[key]['dtype']} or cut off. Expected whole floating-point data.")
        bits = content[begin:end].view(kind)
        zeros += int(np.count_nonzero((bits << kind(1)) == 0))
        numel += bits.size
    return zeros, numel


def _read_own(name: str, folder: Path, base: BaseModel | None, hashes: ContentHashes) -> SparseCheckpoint:
    what = f"{option('sparse-from')} {name}"
    config, family = read_config(what, folder)
    problems = []
    if base is not None and base.folder is not None:
        base_config, base_family = read_config(f"model {base.alias!r}", base.folder)
        different = architecture_problems(family, config, base_config, base_family=base_family)
        problems = [f"{what}: {problem} Name the base model it was pruned from." for problem in different]
    file = folder / SAFETENSORS
    if not file.is_file():
        problems.append(f"{what}: " + _no_weights(folder))
    if problems:
        raise UsageError(problems)
    digest = hashes.file(file)
    layers = num_layers(config)
    try:
        zeros, numel = hashes.counted(
            digest, f"zeros of {layers} {family.name} layers", lambda: encoder_zeros(file, family, layers)
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
        content_id=folder_content_id(config, hashes.folder(folder, [SAFETENSORS])),
        sparsity=round(zeros / numel, 4),
        folder=folder,
    )


def _no_weights(folder: Path) -> str:
    if (folder / PICKLED).is_file():
        return (
            f"{folder} has its weights as {PICKLED}, and a pickle is not opened while planning. Load it once with "
            f"the library and save it again: save_pretrained writes {SAFETENSORS}."
        )
    return f"no {SAFETENSORS} in {folder}."


def _safetensors_header(path: Path) -> tuple[dict[str, Any], int]:
    """Tensor name -> dtype, shape and offsets; and where the data begin. 8 bytes of length, then that much JSON."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            if length > path.stat().st_size:
                raise ValueError("the header would be longer than the file")
            header = json.loads(file.read(length))
            tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
            complete = all({"dtype", "data_offsets"} <= set(entry) for entry in tensors.values())
        except (ValueError, AttributeError, TypeError):
            complete, tensors = False, {}
    if not complete:
        raise UsageError(f"{path} is no safetensors file. Expected what save_pretrained writes.")
    return tensors, 8 + length


def _stored_name(matrix: str, header: Mapping[str, Any], family: Family) -> str | None:
    """The matrix's name in a file: with the backbone before it (a model with a head), or without (a bare encoder)."""
    names = (f"{matrix}.weight", f"{matrix}.weight".removeprefix(f"{family.backbone}."))
    return next((name for name in names if name in header), None)
