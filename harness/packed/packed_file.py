"""The packed file: a safetensors file of matrices in two streams, and of tensors as they are (docs/packed-format.md).

A matrix NAME is stored as the byte tensors "NAME.zeros" (left out where its coding is "none") and "NAME.values"; what
they are is said in the file's metadata. Nothing of a file is executed, and nothing of it is believed: sizes are checked
before memory is taken, and the digest before a number is handed out.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from harness.compression.packing import VALUE_TYPES, ZEROS_CODINGS, PackedMatrix, unpack
from harness.files import write_new
from harness.identity import parse_json

FORMAT, VERSION = "packed-encoder", 1
ZEROS, VALUES = "zeros", "values"
LARGEST_HEADER = 8 * 2**20  # that of BERT-Large has 0.1 MB
MOST_WEIGHTS = 2**30  # of all matrices together: three times BERT-Large, 1 GiB of codes
TYPES = {"U8", "I8", "I32", "F32"}  # of tensors
_FIELDS = {"shape", "type", "coding", "values"}

Array = NDArray[Any]


class PackedFileError(ValueError):
    """A file that is no packed checkpoint, or not the one that was written: what was found, and the next move."""


@dataclass(frozen=True)
class Packed:
    """What a packed file holds. tensors: as they are, by name. matrices: by name."""

    matrices: Mapping[str, PackedMatrix] = field(default_factory=dict)
    tensors: Mapping[str, Array] = field(default_factory=dict)


def write_packed(path: Path, packed: Packed) -> None:
    """Write a new file, whole or not at all. Raises ValueError where two parts would have one name."""
    arrays: dict[str, Array] = {}
    for name, array in _parts(packed):
        if name in arrays:
            raise ValueError(f"two parts of the file would be named {name!r}.")
        arrays[name] = array
    matrices = {name: _entry(matrix) for name, matrix in packed.matrices.items()}
    told = {"version": VERSION, "matrices": matrices, "digest": _digest(matrices, arrays)}
    # One entry: the library writes several in an order of its own, and equal content is to be equal bytes.
    write_new(path, save(arrays, metadata={FORMAT: json.dumps(told, sort_keys=True)}))


def read_packed(path: Path) -> Packed:
    """The file's content, checked but not unpacked. Raises PackedFileError, and OSError where it cannot be read."""
    _check_header(path)
    try:
        with safe_open(path, framework="numpy") as file:
            told = _told(path, file.metadata() or {})
            names = file.keys()
            if strange := {file.get_slice(name).get_dtype() for name in names} - TYPES:
                raise _refused(path, f"it has tensors of type {', '.join(sorted(map(str, strange)))}")
            arrays = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise _refused(path, f"it cannot be read ({error})") from None
    if told.get("digest") != _digest(told.get("matrices"), arrays):
        raise _refused(path, "its content does not have the digest that is written in it")
    try:
        entries = _entries(told.get("matrices"))
    except ValueError as error:
        raise _refused(path, f"the index of its matrices cannot be used ({error})") from None
    matrices = {}
    for name, entry in entries.items():
        zeros = arrays.pop(f"{name}.{ZEROS}", None)
        values = arrays.pop(f"{name}.{VALUES}", None)
        if values is None or (zeros is None) != (entry["coding"] == "none"):
            raise _refused(path, f"matrix {name} lacks a stream, or has one too many")
        matrices[name] = PackedMatrix(
            shape=tuple(entry["shape"]),
            value_type=entry["type"],
            zeros_coding=entry["coding"],
            num_values=entry["values"],
            zeros=b"" if zeros is None else zeros.tobytes(),
            values=values.tobytes(),
        )
    return Packed(matrices, arrays)


def unpacked(path: Path, packed: Packed) -> dict[str, Array]:
    """The matrices of a file that was read. Raises PackedFileError for streams that do not give them."""
    found = {}
    for name, matrix in packed.matrices.items():
        try:
            found[name] = unpack(matrix)
        except ValueError as error:
            raise _refused(path, f"matrix {name}: {error}") from None
    return found


def _parts(packed: Packed) -> Iterable[tuple[str, Array]]:
    for name, matrix in packed.matrices.items():
        if matrix.zeros_coding != "none":
            yield f"{name}.{ZEROS}", np.frombuffer(matrix.zeros, np.uint8)
        yield f"{name}.{VALUES}", np.frombuffer(matrix.values, np.uint8)
    for name, array in packed.tensors.items():
        yield name, np.ascontiguousarray(array).reshape(array.shape)


def _entry(matrix: PackedMatrix) -> dict[str, Any]:
    return {
        "shape": list(matrix.shape),
        "type": matrix.value_type,
        "coding": matrix.zeros_coding,
        "values": matrix.num_values,
    }


def _digest(index: Any, arrays: Mapping[str, Array]) -> str:
    """SHA-256 of the index and of every array's name, type, shape and bytes, by name."""
    digest = hashlib.sha256(f"{FORMAT} {VERSION}\n{json.dumps(index, sort_keys=True)}\n".encode())
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.str, list(array.shape)]).encode() + b"\n")
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _check_header(path: Path) -> None:
    """Before a parser sees it: the header's length, in the file's first eight bytes, is one that a header has."""
    size = os.path.getsize(path)
    with path.open("rb") as file:
        start = file.read(8)
    if len(start) < 8:
        raise _refused(path, f"it has {size} bytes")
    (length,) = struct.unpack("<Q", start)
    if length > min(size - 8, LARGEST_HEADER):
        raise _refused(
            path, f"its header would have {length:,} bytes, of {size:,} in the file and at most {LARGEST_HEADER:,}"
        )


def _told(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """What the file says of itself, once it is of this format and version."""
    try:
        told = parse_json(metadata.get(FORMAT, "null"))
    except ValueError as error:
        raise _refused(path, f"its metadata cannot be read ({error})") from None
    if not isinstance(told, dict):
        raise _refused(path, f"its metadata has no {FORMAT!r}")
    if told.get("version") != VERSION:
        raise PackedFileError(
            f"{path} is of version {told.get('version')!r} of the format, and this program reads version {VERSION}. "
            "Read it with the version of the harness that wrote it, or export the cell again."
        )
    return told


def _entries(index: Any) -> dict[str, dict[str, Any]]:
    """The index, once every entry is one of a matrix. Raises ValueError."""
    if not isinstance(index, dict):
        raise ValueError("no object of matrices")
    total = 0
    for name, entry in index.items():
        if not isinstance(entry, dict) or entry.keys() != _FIELDS:
            raise ValueError(f"{name}: expected {', '.join(sorted(_FIELDS))}")
        numbers = [*entry["shape"], entry["values"]] if isinstance(entry["shape"], list) else []
        if len(numbers) != 3 or not all(type(number) is int and 0 <= number <= MOST_WEIGHTS for number in numbers):
            raise ValueError(f"{name}: a shape or a count that no matrix has")
        total += math.prod(entry["shape"])
        if total > MOST_WEIGHTS or entry["values"] > math.prod(entry["shape"]):
            raise ValueError(f"{name}: {entry['values']} values of {entry['shape']} weights")
        if entry["type"] not in VALUE_TYPES or entry["coding"] not in ZEROS_CODINGS:
            raise ValueError(f"{name}: type {entry['type']!r}, coding {entry['coding']!r}")
    return index


def _refused(path: Path, found: str) -> PackedFileError:
    return PackedFileError(
        f"{path} is no packed checkpoint, or was cut off or edited: {found}. Copy it again, or export the cell again."
    )
