"""Weight files: what the header of a safetensors file says, and whether it fits config.json. No weight is read."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import UsageError
from harness.identity import parse_json
from harness.inputs.family import Family
from harness.wording import counted

SAFETENSORS, PICKLED = "model.safetensors", "pytorch_model.bin"
INT8_FILE = "int8.safetensors"  # codes, scales and ranges of a quantised model, beside its weights
FLOATING = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # bytes of a number
OF_ONE_MODEL = "Expected both of one model, by the hub's names: copy them again."
# What older versions of the library called the two tensors of a layer norm; the current one renames them.
_OLD_NAMES = ((".gamma", ".weight"), (".beta", ".bias"))
# Buffers that older versions stored; the current one computes them.
_BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")
T = TypeVar("T")


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as the header describes it. begin, end: bytes from the beginning of the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


Stored = Mapping[str, StoredTensor]
Shapes = Mapping[str, tuple[int, ...]]


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file by name: 8 bytes of length, then that much JSON, then the data.

    Raises UsageError when it is no such file, or shorter or longer than its header says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            if length > size:
                raise ValueError("the header would be longer than the file")
            header = {name: entry for name, entry in parse_json(file.read(length)).items() if name != "__metadata__"}
            tensors = {name: _tensor(entry, 8 + length) for name, entry in header.items()}
        except (ValueError, AttributeError, TypeError, KeyError):
            raise UsageError(f"{path} is no safetensors file. Expected what save_pretrained writes.") from None
    end = max((tensor.end for tensor in tensors.values()), default=8 + length)
    if end != size:
        state = "is cut off" if end > size else "goes on after its end"
        raise UsageError(f"{path} {state}: its header tells of {end:,} bytes and there are {size:,}. Copy it again.")
    return tensors


def _tensor(entry: Mapping[str, Any], begin_of_data: int) -> StoredTensor:
    begin, end = entry["data_offsets"]
    shape = tuple(int(size) for size in entry["shape"])
    dtype = str(entry["dtype"])
    if begin > end or (dtype in FLOATING and end - begin != math.prod(shape) * FLOATING[dtype]):
        raise ValueError("the shape is of another number of bytes")
    return StoredTensor(dtype, shape, begin_of_data + int(begin), begin_of_data + int(end))


def encoder_tensors(tensors: Mapping[str, T], family: Family) -> dict[str, T]:
    """The encoder's own tensors, by the names that they have inside it today: without heads and stored buffers.

    In a file they have the backbone's name before them, or it is a bare encoder's, whose heads stand beside it.
    """
    prefix = f"{family.backbone}."
    if any(name.startswith(prefix) for name in tensors):
        own = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
    else:
        own = {name: each for name, each in tensors.items() if not family.is_of_a_head(name)}
    today = {name: _name_today(name) for name in own if name not in _BUFFERS}
    return {new if new not in own else name: own[name] for name, new in today.items()}


def _name_today(name: str) -> str:
    for old, new in _OLD_NAMES:
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def check_weights(what: str, file: Path, family: Family, sizes: Mapping[str, int]) -> None:
    """Raises UsageError with all that keeps the encoder in a safetensors file from being the one of config.json.

    Every tensor of the encoder must be there, in the shape that config.json gives it, as floating-point numbers; and
    every tensor that is there must have its place: an encoder with more is another model. what: sentences begin with
    it. sizes: those of config.json (`read_sizes`).
    """
    try:
        stored = encoder_tensors(read_header(file), family)
    except UsageError as error:
        raise UsageError([f"{what}: {problem.message}" for problem in error.problems]) from None
    layers = f"{family.sizes['layers']} = {sizes['layers']}"
    if sizes["layers"] > len(stored):  # of a number out of all proportion no list is made
        told = f"of its {len(stored)} encoder tensors there cannot be some for each layer of {layers}"
        raise UsageError(f"{what}: {file} does not fit its config.json: {told}. {OF_ONE_MODEL}")
    wanted = family.tensors(sizes)
    known = {**wanted, **family.pooler_tensors(sizes)}
    misfits = [
        *_absent(stored, wanted, layers),
        *without_place(stored, known, f"a {family.name} with {layers}"),
        *_reshaped(stored, known),
    ]
    problems = []
    if misfits:
        saved_while_pruned = any(name.endswith(("_original", "_mask")) for name in stored)
        hint = " It was saved during pruning: make its masks permanent first." if saved_while_pruned else ""
        problems.append(f"{what}: {file} does not fit its config.json: {'; '.join(misfits)}. {OF_ONE_MODEL}{hint}")
    problems += [f"{what}: {file} {told}" for told in _not_floating(stored, known)]
    if problems:
        raise UsageError(problems)


def _absent(stored: Stored, wanted: Shapes, layers: str) -> Iterator[str]:
    if absent := [name for name in wanted if name not in stored]:
        yield f"it lacks {len(absent)} of {len(wanted)} encoder tensors of {layers} ({_some(absent)})"


def without_place(stored: Collection[str], known: Collection[str], encoder: str) -> Iterator[str]:
    """What the library would leave out without a word. known: names of tensors that the encoder has."""
    if strange := sorted(name for name in stored if name not in known):
        count = counted(len(strange), "encoder tensor")
        yield f"it has {count} for which {encoder} has no place ({_some(strange)})"


def _reshaped(stored: Stored, shapes: Shapes) -> Iterator[str]:
    if reshaped := [name for name, shape in shapes.items() if name in stored and stored[name].shape != shape]:
        first = reshaped[0]
        told = f"{list(stored[first].shape)} in the file and {list(shapes[first])} by the configuration"
        yield f"{first} is {told} ({len(reshaped)} such)"


def _not_floating(stored: Stored, known: Collection[str]) -> Iterator[str]:
    if others := [name for name in known if name in stored and stored[name].dtype not in FLOATING]:
        yield (
            f"holds {counted(len(others), 'encoder tensor')} of no floating-point type ({others[0]} is "
            f"{stored[others[0]].dtype}). Expected one of {', '.join(FLOATING)}: save it so."
        )


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:3])}{' ..' if len(names) > 3 else ''}"


def pickle_problem(file: Path) -> str | None:
    """What can be told of a pickled weight file without opening the pickle: since torch 1.6 it is a zip archive, whose
    directory is at its end. None for a whole one, and for an older form."""
    with file.open("rb") as handle:
        begins_as_zip = handle.read(4) == b"PK\x03\x04"
    if file.stat().st_size == 0 or (begins_as_zip and not zipfile.is_zipfile(file)):
        return f"{file} is cut off. Copy it again."
    return None
