"""A sparse matrix as two streams of bytes: where it is not zero, and what stands there.

The stream of zeros is written in the shorter of two codings, and left out where neither is worth its bytes:

    bits   one bit a weight, in the order of the rows, 1 where it is not zero; the first weight in the lowest bit
    gaps   one byte a weight that is not zero: how many zeros come before it. 255 says 255 zeros and no weight yet
    none   no stream: the values are those of every weight, zeros among them

Both streams are compressed by zstandard (RFC 8878), whose entropy coder spends nearly what Shannon's bound asks of
independent symbols. The gaps between zeros that fall at random are geometric, for which a code of whole bits a symbol
loses little at any sparsity; a bit a weight in bytes loses a tenth of its length from 95 % zeros on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import zstandard
from numpy.typing import NDArray

ZerosCoding = Literal["bits", "gaps", "none"]
ZEROS_CODINGS: tuple[ZerosCoding, ...] = get_args(ZerosCoding)
VALUE_TYPES = ("int8", "float32")
NO_WEIGHT_YET = 255
# Independent symbols are best left to the entropy coder alone (1); where rows repeat, a search for matches finds them.
LEVELS = (1, 9)

Values = NDArray[np.int8] | NDArray[np.float32]


@dataclass(frozen=True)
class PackedMatrix:
    """A matrix in two compressed streams. zeros: empty where the coding is "none".

    shape: [rows, columns]. value_type: one of VALUE_TYPES. num_values: how many the second stream holds.
    """

    shape: tuple[int, ...]
    value_type: str
    zeros_coding: ZerosCoding
    num_values: int
    zeros: bytes
    values: bytes

    @property
    def num_bytes(self) -> int:
        """Of both streams."""
        return len(self.zeros) + len(self.values)


def pack(matrix: Values) -> PackedMatrix:
    """The smallest packed form of int8 codes or fp32 weights; -0.0 is a zero and comes back as 0.0.

    Raises ValueError for another type of number.
    """
    if matrix.dtype.name not in VALUE_TYPES:
        raise ValueError(f"a matrix of {matrix.dtype}: expected one of {', '.join(VALUE_TYPES)}.")
    flat = matrix.reshape(-1)
    is_left = flat != 0
    codings = [("bits", bits_of(is_left)), ("gaps", gaps_of(is_left))]
    left = _compressed(_bytes_of(flat[is_left]))
    found = [(coding, _compressed(stream), left, int(is_left.sum())) for coding, stream in codings]
    if not is_left.any() or is_left.mean() > 0.5:  # nearly dense: a zero among the values may cost less than its place
        found.append(("none", b"", _compressed(_bytes_of(flat)), flat.size))
    coding, zeros, values, count = min(found, key=lambda each: len(each[1]) + len(each[2]))
    return PackedMatrix(matrix.shape, matrix.dtype.name, coding, count, zeros, values)  # type: ignore[arg-type]


def unpack(packed: PackedMatrix) -> Values:
    """The matrix, bit for bit (of zeros: 0.0). Raises ValueError for streams that are not those of such a matrix."""
    size, dtype = math.prod(packed.shape), np.dtype(packed.value_type)
    values = _values_of(_decompressed(packed.values, packed.num_values * dtype.itemsize, "values"), dtype)
    if packed.zeros_coding == "none":
        if packed.num_values != size:
            raise ValueError(f"{packed.num_values} values of {size} weights.")
        return values.reshape(packed.shape)
    matrix: Values = np.zeros(size, dtype)
    if packed.zeros_coding == "bits":
        stream = np.frombuffer(_decompressed(packed.zeros, -(-size // 8), "zeros"), np.uint8)
        is_left = np.unpackbits(stream, count=size, bitorder="little").view(bool)
        if int(is_left.sum()) != packed.num_values:
            raise ValueError(f"{packed.num_values} values for {int(is_left.sum())} weights that are not zero.")
        matrix[is_left] = values
    else:
        places = places_of(_decompressed(packed.zeros, size, "zeros", is_exact=False))
        if len(places) != packed.num_values or (len(places) and places[-1] >= size):
            raise ValueError(f"{len(places)} places of {size} weights for {packed.num_values} values.")
        matrix[places] = values
    return matrix.reshape(packed.shape)


def bits_of(is_left: NDArray[np.bool_]) -> bytes:
    """One bit a weight; the last byte filled up with 0."""
    return np.packbits(is_left, bitorder="little").tobytes()


def gaps_of(is_left: NDArray[np.bool_]) -> bytes:
    """One byte a weight that is left, and one for every 255 zeros in a row; none for zeros after the last weight."""
    gaps = np.diff(np.flatnonzero(is_left), prepend=-1) - 1
    escapes, rest = np.divmod(gaps, NO_WEIGHT_YET)
    stream = np.full(len(gaps) + int(escapes.sum()), NO_WEIGHT_YET, np.uint8)
    stream[np.arange(len(gaps)) + np.cumsum(escapes)] = rest
    return stream.tobytes()


def places_of(gaps: bytes) -> NDArray[np.int64]:
    """The places of the weights, ascending, that `gaps_of` wrote."""
    stream = np.frombuffer(gaps, np.uint8)
    is_weight = stream != NO_WEIGHT_YET
    ends: NDArray[np.int64] = np.cumsum(stream + is_weight.view(np.uint8), dtype=np.int64)
    return ends[is_weight] - 1


def plain_bytes(numel: int, num_left: int) -> int:
    """Both streams of int8 codes before compression, with the fp32 scale: a bit a weight and a byte a weight left."""
    return -(-numel // 8) + num_left + 4


def entropy_bytes(matrix: Values) -> float:
    """What no code for independent symbols goes below: Shannon's bound of the places of zeros and of what is left.

    Of the matrix's own frequencies, which a code would have to hold as well. The symbols of int8 values are their
    codes; of fp32 values, which all differ, the bytes of each of the four planes.
    """
    flat = matrix.reshape(-1)
    left = flat[flat != 0]
    places = np.array([len(left), flat.size - len(left)])
    planes = np.frombuffer(_bytes_of(left), np.uint8).reshape(flat.itemsize, -1)
    values = sum(_entropy(np.bincount(plane, minlength=256)) for plane in planes)
    return (flat.size * _entropy(places) + len(left) * values) / 8


def _entropy(counts: NDArray[np.int64]) -> float:
    """Bits a symbol."""
    shares = counts[counts > 0] / max(1, counts.sum())
    return float(-(shares * np.log2(shares)).sum())


def _bytes_of(values: Values) -> bytes:
    """int8 as they are; fp32 in four planes, the lowest byte first: the exponents of a matrix are much alike."""
    if values.dtype == np.int8:
        return values.tobytes()
    return np.ascontiguousarray(values.astype("<f4").view(np.uint8).reshape(-1, 4).T).tobytes()


def _values_of(stream: bytes, dtype: np.dtype) -> Values:
    if dtype == np.int8:
        return np.frombuffer(stream, np.int8)
    planes = np.frombuffer(stream, np.uint8).reshape(4, -1)
    values: Values = np.ascontiguousarray(planes.T).view("<f4").reshape(-1).astype(np.float32, copy=False)
    return values


def _compressed(stream: bytes) -> bytes:
    """At the best of LEVELS, one frame with its content's size and no more."""
    frames = (zstandard.ZstdCompressor(level=level).compress(stream) for level in LEVELS)
    return min(frames, key=len)


def _decompressed(frame: bytes, size: int, what: str, *, is_exact: bool = True) -> bytes:
    """Raises ValueError unless it is one frame of `size` bytes, or of up to that many: no more is ever taken."""
    try:
        told = zstandard.frame_content_size(frame)
        if told > size or (is_exact and told != size) or told < 0:
            raise ValueError(f"the stream of {what} has {told:,} bytes, expected {size:,}.")
        return zstandard.ZstdDecompressor().decompress(frame, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(f"the stream of {what} cannot be read ({error}).") from None
