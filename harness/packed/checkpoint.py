"""A model's folder, as the hub has it, and its packed file: one from the other.

Of a quantised model the packed file holds the codes, scales and ranges, and of the weights what these do not give:
embeddings, norms and biases. The fp32 weights of its Linears, codes times scale, are not stored and come back bit for
bit. Of a sparse fp32 model it holds the places and the values of the weights that are left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from harness.compression.packing import PackedMatrix, entropy_bytes, pack
from harness.inputs.weight_files import INT8_FILE, SAFETENSORS
from harness.packed.packed_file import Packed, PackedFileError, read_packed, unpacked

PACKED_FILE = "model.packed.safetensors"
CODES, WEIGHT, WEIGHT_SCALE = ".codes", ".weight", ".weight_scale"
# The parts of a quantised Linear beside its codes (`harness.compression.quantization.freeze`).
INT8_PARTS = (WEIGHT_SCALE, ".input_scale", ".input_zero_point", ".bias_codes", ".output_scale", ".output_zero_point")
ROW_CODES, ROW_SCALES = ".row_codes", ".row_scales"  # of embeddings in 8 bits: a scale for each row
LARGEST_CODE = 127
FP32_BYTES = 4

Array = NDArray[Any]
Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class SavedModel:
    """Weights by the model's own names, and the int8 parts where it is quantised; empty where it is not."""

    weights: Arrays
    int8: Arrays

    @classmethod
    def read(cls, folder: Path) -> SavedModel:
        """Of a folder in the hub's layout."""
        int8 = folder / INT8_FILE
        return cls(load_file(folder / SAFETENSORS), load_file(int8) if int8.is_file() else {})

    def write(self, folder: Path) -> None:
        """Into a folder that is there; the file of the int8 parts only where there are any."""
        save_file(dict(self.weights), folder / SAFETENSORS, metadata={"format": "pt"})
        if self.int8:
            save_file(dict(self.int8), folder / INT8_FILE)


@dataclass(frozen=True)
class Sizes:
    """Bytes of a model in its forms. Of the encoder's prunable matrices: packed, the bound, plain and as fp32.

    packed: their streams and scales. bound: Shannon's, of the same numbers and scales. plain: a bit a weight and a byte
    a weight that is left, or four, before compression.
    """

    packed: int
    bound: float
    plain: int
    fp32: int


def packed_model(
    model: SavedModel, matrices: Collection[str], embeddings: Collection[str] = (), *, begins: Begins | None = None
) -> Packed:
    """The packed form of a model.

    matrices: module names of the Linears that may be sparse; of a quantised model every Linear with codes is packed.
    embeddings: names of weights to be rounded to 8 bits, a scale a row. Raises ValueError for a name that is not there.
    begins: called before each weight with how many are done, and may raise.
    """
    if absent := sorted({*embeddings, *(name + WEIGHT for name in matrices)} - model.weights.keys()):
        raise ValueError(f"the model has no {', '.join(absent[:3])}{' ..' if len(absent) > 3 else ''}.")
    begins = begins or (lambda done: None)
    found: dict[str, PackedMatrix] = {}
    tensors = {name: array for name, array in model.int8.items() if not name.endswith(CODES)}
    quantised = {name.removesuffix(CODES): codes for name, codes in model.int8.items() if name.endswith(CODES)}
    for name, codes in quantised.items():
        begins(len(found))
        found[name + CODES] = pack(codes)
    for done, (name, array) in enumerate(model.weights.items()):
        begins(done)
        module = name.removesuffix(WEIGHT)
        if name in embeddings:
            codes, tensors[name + ROW_SCALES] = _rows_in_8_bits(array)
            found[name + ROW_CODES] = pack(codes)
        elif not (name.endswith(WEIGHT) and module in quantised):
            packed = pack(array) if name.endswith(WEIGHT) and module in matrices else None
            if packed is not None and packed.zeros_coding != "none":
                found[name] = packed
            else:
                tensors[name] = array
    return Packed(found, tensors)


Begins = Callable[[int], None]


def unpacked_model(path: Path) -> SavedModel:
    """The model of a packed file. Raises PackedFileError where it does not hold one."""
    packed = read_packed(path)
    weights: dict[str, Array] = {}
    int8: dict[str, Array] = {}
    try:
        for name, array in packed.tensors.items():
            if not name.endswith(ROW_SCALES):
                (int8 if name.endswith(INT8_PARTS) else weights)[name] = array
        for name, matrix in unpacked(path, packed).items():
            if name.endswith(ROW_CODES):
                bare = name.removesuffix(ROW_CODES)
                scales = _of_shape(packed.tensors[bare + ROW_SCALES], (len(matrix),))
                weights[bare] = matrix.astype(np.float32) * scales[:, None]
            elif name.endswith(CODES):
                bare = name.removesuffix(CODES)
                int8[name] = matrix
                weights[bare + WEIGHT] = matrix.astype(np.float32) * _of_shape(int8[bare + WEIGHT_SCALE], ())
            else:
                weights[name] = matrix
    except (KeyError, ValueError, IndexError) as error:
        if isinstance(error, PackedFileError):
            raise
        raise PackedFileError(f"{path} lacks a part of a matrix ({error}). Export the cell again.") from None
    return SavedModel(weights, int8)


def sizes_of(model: SavedModel, packed: Packed, matrices: Collection[str]) -> Sizes:
    """Of these matrices in a packed model, beside the bound from the same numbers."""
    total = Sizes(0, 0.0, 0, 0)
    for name in matrices:
        codes = model.int8.get(name + CODES)
        matrix = model.weights[name + WEIGHT] if codes is None else codes
        entry = packed.matrices.get(name + (WEIGHT if codes is None else CODES))
        left = int(np.count_nonzero(matrix))
        is_plain = entry is None  # kept as fp32
        scale = 0 if codes is None else FP32_BYTES
        total = Sizes(
            packed=total.packed + (matrix.nbytes if entry is None else entry.num_bytes) + scale,
            bound=total.bound + (matrix.nbytes if is_plain else entropy_bytes(matrix)) + scale,
            plain=total.plain + (matrix.nbytes if is_plain else -(-matrix.size // 8) + left * matrix.itemsize) + scale,
            fp32=total.fp32 + FP32_BYTES * matrix.size,
        )
    return total


def _of_shape(scales: Array, shape: tuple[int, ...]) -> Array:
    """Raises ValueError for other scales: they would stretch a matrix, or change its type."""
    if scales.shape != shape or scales.dtype != np.float32:
        raise ValueError(f"scales of {scales.dtype} {list(scales.shape)}, expected float32 {list(shape)}")
    return scales


def _rows_in_8_bits(weights: Array) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Codes, and a scale for each row: its largest weight over 127, 1 where all are zero."""
    scales = np.abs(weights).max(axis=1).astype(np.float32) / np.float32(LARGEST_CODE)
    scales[scales < np.finfo(np.float32).tiny] = 1
    return np.rint(weights / scales[:, None]).clip(-LARGEST_CODE, LARGEST_CODE).astype(np.int8), scales
