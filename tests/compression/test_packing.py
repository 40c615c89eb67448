"""Two streams a matrix: what comes back, how many bytes they are, and what is refused."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import zstandard

from harness.compression.packing import (
    PackedMatrix,
    Values,
    bits_of,
    entropy_bytes,
    gaps_of,
    pack,
    places_of,
    plain_bytes,
    unpack,
)


def pruned(sparsity: float, shape: tuple[int, int], *, seed: int = 0) -> np.ndarray:
    """Gaussian weights, those of smallest magnitude zero: int(sparsity * n) of them."""
    weights = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    count = int(sparsity * weights.size + 1e-9)
    weights.reshape(-1)[np.argsort(np.abs(weights).reshape(-1), kind="stable")[:count]] = 0
    return weights


def codes_of(weights: np.ndarray) -> np.ndarray:
    return np.rint(weights / (np.abs(weights).max() / 127)).astype(np.int8)


@pytest.mark.oracle("O36")
@pytest.mark.parametrize("sparsity", [0.0, 0.02, 0.5, 0.7, 0.85, 0.9, 0.97, 0.9999, 1.0])
@pytest.mark.parametrize("shape", [(64, 48), (7, 13), (1, 1)])
def test_what_was_packed_comes_back_bit_for_bit(sparsity: float, shape: tuple[int, int]) -> None:
    weights = pruned(sparsity, shape)
    for matrix in (weights, codes_of(weights) if weights.any() else weights.astype(np.int8)):
        back = unpack(pack(matrix))
        assert back.dtype == matrix.dtype
        assert back.shape == matrix.shape
        assert back.tobytes() == (matrix + matrix.dtype.type(0)).tobytes()  # the sum makes 0.0 of -0.0


def test_every_code_and_every_kind_of_float_comes_back() -> None:
    codes = np.arange(-128, 128, dtype=np.int8).reshape(16, 16)
    assert (unpack(pack(codes)) == codes).all()
    floats = np.array([[1.5, -0.0, np.inf, -np.inf], [1e-45, 0.0, -3e38, np.nan]], np.float32)
    back = unpack(pack(floats))
    assert np.array_equal(back, floats, equal_nan=True)


def test_a_wide_gap_is_written_in_steps_of_255() -> None:
    is_left = np.zeros(1000, bool)
    is_left[[0, 1, 256, 512, 999]] = True  # gaps of 0, 0, 254, 255 and 486 zeros
    assert list(gaps_of(is_left)) == [0, 0, 254, 255, 0, 255, 231]
    assert places_of(gaps_of(is_left)).tolist() == [0, 1, 256, 512, 999]
    assert gaps_of(np.zeros(9, bool)) == b""
    assert bits_of(np.array([1, 0, 0, 0, 0, 0, 0, 0, 1, 1], bool)) == bytes([1, 3])


@pytest.mark.oracle("O36")
def test_the_plain_size_is_a_bit_a_weight_and_a_byte_a_weight_that_is_left() -> None:
    """BERT-Large at 90 %: 144 matrices of 301,989,888 weights; by hand, 67,947,792 bytes beside the scales."""
    square, wide = 1024 * 1024, 4096 * 1024
    sizes = [*[square] * (4 * 24), *[wide] * (2 * 24)]
    left = [size - int(0.9 * size) for size in sizes]
    assert sum(plain_bytes(size, count) for size, count in zip(sizes, left, strict=True)) - 4 * 144 == 67_947_792
    packed = pack(codes_of(pruned(0.5, (64, 64))))
    assert packed.zeros_coding == "bits"
    ends = zstandard.frame_content_size(packed.zeros), zstandard.frame_content_size(packed.values)
    assert sum(ends) + 4 == plain_bytes(64 * 64, packed.num_values)


def test_the_bound_is_shannons() -> None:
    """Half zeros: a bit a weight; of four equal codes two bits for each that is left."""
    matrix = np.array([[0, 1, 0, 2], [0, -1, 0, -2]], np.int8)
    assert entropy_bytes(matrix) == pytest.approx((8 * 1 + 4 * 2) / 8)
    assert entropy_bytes(np.zeros((4, 4), np.int8)) == 0
    assert entropy_bytes(np.full((4, 4), 3, np.int8)) == 0
    # In fp32 the planes of 1.0, 2.0, -1.0 and -2.0: two of zeros alone, one of 0x80 and 0x00 twice each, and of the
    # highest bytes 0x3f, 0x40, 0xbf and 0xc0. One bit and two for each that is left.
    floats = np.array([[0, 1.0, 0, 2.0], [0, -1.0, 0, -2.0]], np.float32)
    assert entropy_bytes(floats) == pytest.approx((8 * 1 + 4 * 1 + 4 * 2) / 8)


@pytest.mark.parametrize("sparsity", [0.5, 0.85, 0.9])
def test_fp32_weights_are_packed_close_to_their_bound_as_well(sparsity: float) -> None:
    weights = pruned(sparsity, (768, 768))
    assert 1.0 < pack(weights).num_bytes / entropy_bytes(weights) < 1.05


@pytest.mark.parametrize(("sparsity", "least_ratio"), [(0.85, 20.0), (0.90, 28.0)])
def test_gaussian_matrices_are_packed_close_to_the_bound(sparsity: float, least_ratio: float) -> None:
    """Shapes of BERT-Base. Below fp32: 20 and 28 times at least. At most 1.05 of the bound, and smaller than others."""
    codes = [codes_of(pruned(sparsity, shape, seed=n)) for n, shape in enumerate([(768, 768), (3072, 768)])]
    packed = sum(pack(matrix).num_bytes + 4 for matrix in codes)
    assert 4 * sum(matrix.size for matrix in codes) / packed >= least_ratio
    assert packed <= 1.05 * sum(entropy_bytes(matrix) + 4 for matrix in codes)
    dense = sum(len(zstandard.ZstdCompressor(level=19).compress(matrix.tobytes())) for matrix in codes)
    assert dense >= 1.1 * packed
    plain = sum(plain_bytes(matrix.size, int((matrix != 0).sum())) for matrix in codes)
    # At 85 % the bound itself is only 1.47 times smaller than a bit a weight and a byte a weight left: see the docs.
    assert plain >= (1.5 if sparsity == 0.90 else 1.43) * packed


@pytest.mark.slow
def test_a_bert_base_is_unpacked_within_a_second_of_one_core() -> None:
    shapes = [*[(768, 768)] * 48, *[(3072, 768)] * 24]
    kinds = {shape: pack(codes_of(pruned(0.85, shape))) for shape in set(shapes)}
    began = time.process_time()
    weights = sum(unpack(kinds[shape]).size for shape in shapes)
    assert weights == 84_934_656
    assert time.process_time() - began < 1.0


def _damaged() -> list[PackedMatrix]:
    codes = codes_of(pruned(0.9, (32, 32)))
    good = pack(codes)
    bits = replace(good, zeros_coding="bits", zeros=_frame(bits_of(codes.reshape(-1) != 0)))
    assert (unpack(bits) == codes).all()
    return [
        replace(good, num_values=good.num_values - 1),
        replace(good, num_values=good.num_values + 1),
        replace(good, shape=(32, 16)),
        replace(good, zeros=good.zeros[:-1]),
        replace(good, values=good.values[:-3]),
        replace(good, values=good.values + b"x"),
        replace(good, values=b"no frame"),
        replace(good, zeros=_frame(b"\x00" * 2000)),  # a bomb, of a size
        replace(bits, zeros=_frame(bits_of(codes.reshape(-1) == 0))),
        replace(bits, shape=(64, 32)),
        replace(good, zeros_coding="none"),
        replace(good, value_type="float32"),
    ]


def _frame(stream: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(stream)


@pytest.mark.parametrize("number", range(12))
def test_streams_that_give_no_such_matrix_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match=r"stream|values|places"):
        unpack(_damaged()[number])


def test_a_frame_is_unpacked_to_no_more_than_it_may_hold() -> None:
    bomb = _frame(b"\x00" * 2**28)
    matrix = PackedMatrix((2, 2), "int8", "none", 4, b"", bomb)
    with pytest.raises(ValueError, match="268,435,456 bytes, expected 4"):
        unpack(matrix)
    unsized = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    frame = unsized.compress(b"\x00" * 2**28) + unsized.flush()
    with pytest.raises(ValueError, match="stream of values"):
        unpack(replace(matrix, values=frame))


def test_numbers_of_another_type_are_refused() -> None:
    wrong: Values = np.zeros((2, 2), np.float64)  # type: ignore[assignment]
    with pytest.raises(ValueError, match="float64: expected one of int8, float32"):
        pack(wrong)
