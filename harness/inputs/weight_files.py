"""Weight files: what the header of a safetensors file says, and whether it fits config.json. No weight is read.

What is wrong with a folder's weights is decided here, for a plan and for the stage that loads them alike.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.identity import parse_json
from harness.inputs.families import Family
from harness.wording import counted

SAFETENSORS, PICKLED = "model.safetensors", "pytorch_model.bin"
FLOATING = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # bytes of a number
OF_ONE_MODEL = "Expected both of one model, by the hub's names: copy them again."
# What older versions of the library called the two tensors of a layer norm; the current one renames them.
_OLD_NAMES = ((".gamma", ".weight"), (".beta", ".bias"))


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as the header describes it. begin, end: bytes from the beginning of the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


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


def encoder_tensors(tensors: Mapping[str, StoredTensor], family: Family) -> dict[str, StoredTensor]:
    """Those of the encoder by their names inside it: with the backbone's name before them, or in a bare encoder."""
    prefix = f"{family.backbone}."
    if any(name.startswith(prefix) for name in tensors):
        tensors = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
    found = {}
    for name, tensor in tensors.items():
        for old, new in _OLD_NAMES:
            name = name.removesuffix(old) + new if name.endswith(old) else name
        found[name] = tensor
    return found


def read_sizes(config: Mapping[str, Any], family: Family, where: str) -> dict[str, int]:
    """The encoder's sizes by config.json, by the names of `Family.sizes`. where: what a sentence begins with.

    Raises UsageError naming each that is no whole number above 0, and a width that the heads do not divide.
    """
    sizes: dict[str, int] = {}
    problems = []
    for size, key in family.sizes.items():
        value = family.setting(config, key)
        if type(value) is int and value > 0:
            sizes[size] = value
        else:
            problems.append(f"{where} gives {key} = {value!r}. Expected a whole number above 0.")
    if {"width", "heads"} <= sizes.keys() and sizes["width"] % sizes["heads"]:
        width, heads = family.sizes["width"], family.sizes["heads"]
        problems.append(
            f"{where} gives {width} = {sizes['width']} and {heads} = {sizes['heads']}. Expected heads of equal width: "
            "the second must divide the first."
        )
    if problems:
        raise UsageError(problems)
    return sizes


def check_weights(what: str, file: Path, family: Family, sizes: Mapping[str, int]) -> None:
    """Raises UsageError with all that keeps the encoder in a safetensors file from being the one of config.json.

    Every tensor of the encoder must be there, in the shape that config.json gives it, as floating-point numbers; and
    every tensor of a layer must have its place: a shorter encoder is another model. what: sentences begin with it.
    sizes: those of config.json (`read_sizes`).
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
    absent = [name for name in wanted if name not in stored]
    without_place = sorted(name for name in stored if family.is_in_a_layer(name) and name not in wanted)
    shapes = {**wanted, **family.pooler_tensors(sizes)}
    reshaped = [name for name, shape in shapes.items() if name in stored and stored[name].shape != shape]
    whole_numbers = [name for name in wanted if name in stored and stored[name].dtype not in FLOATING]
    misfits = []
    if absent:
        misfits.append(f"it lacks {len(absent)} of {len(wanted)} encoder tensors of {layers} ({_some(absent)})")
    if without_place:
        count = counted(len(without_place), "encoder tensor")
        misfits.append(f"it has {count} for which {layers} leaves no place ({_some(without_place)})")
    if reshaped:
        first = reshaped[0]
        told = f"{list(stored[first].shape)} in the file and {list(shapes[first])} by the configuration"
        misfits.append(f"{first} is {told} ({len(reshaped)} such)")
    problems = []
    if misfits:
        saved_while_pruned = any(name.endswith(("_original", "_mask")) for name in stored)
        hint = " It was saved during pruning: make its masks permanent first." if saved_while_pruned else ""
        problems.append(f"{what}: {file} does not fit its config.json: {'; '.join(misfits)}. {OF_ONE_MODEL}{hint}")
    if whole_numbers:
        first = whole_numbers[0]
        problems.append(
            f"{what}: {file} holds {counted(len(whole_numbers), 'encoder tensor')} of no floating-point type "
            f"({first} is {stored[first].dtype}). Expected one of {', '.join(FLOATING)}: save it so."
        )
    if problems:
        raise UsageError(problems)


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
