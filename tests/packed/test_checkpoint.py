"""A model's folder and its packed file: one from the other, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import quantised_toys
import torch

from harness.compression.packing import entropy_bytes
from harness.packed.checkpoint import SavedModel, packed_model, sizes_of, unpacked_model
from harness.packed.packed_file import Packed, PackedFileError, write_packed


def saved(name: str, folder: Path, *, is_quantised: bool, sparsity: float = 0.9) -> tuple[SavedModel, list[str]]:
    model = quantised_toys.toy(name, sparsity=sparsity)
    frozen = quantised_toys.quantise(model) if is_quantised else None
    matrices = quantised_toys.matrices_of(model)
    return SavedModel.read(quantised_toys.save(model, folder, frozen)), [*matrices.encoder, *matrices.pooler]


def through_a_file(packed: Packed, folder: Path) -> SavedModel:
    write_packed(folder / "packed", packed)
    return unpacked_model(folder / "packed")


@pytest.mark.oracle("O36", "O44")
@pytest.mark.parametrize("name", quantised_toys.TOYS)
@pytest.mark.parametrize("is_quantised", [True, False], ids=["int8", "fp32"])
def test_weights_codes_scales_and_ranges_come_back_bit_for_bit(name: str, is_quantised: bool, tmp_path: Path) -> None:
    model, matrices = saved(name, tmp_path / "model", is_quantised=is_quantised)
    back = through_a_file(packed_model(model, matrices), tmp_path)
    for theirs, ours in ((back.weights, model.weights), (back.int8, model.int8)):
        assert theirs.keys() == ours.keys()
        for tensor, array in ours.items():
            assert theirs[tensor].dtype == array.dtype, tensor
            assert theirs[tensor].shape == array.shape, tensor
            if is_quantised:
                assert theirs[tensor].tobytes() == array.tobytes(), tensor
            else:  # a zero's sign is not kept
                assert np.array_equal(theirs[tensor], array), tensor
    back.write(tmp_path / "model")
    again = SavedModel.read(tmp_path / "model")
    assert all(np.array_equal(again.weights[tensor], array) for tensor, array in model.weights.items())


@pytest.mark.oracle("O44")
def test_the_files_zeros_contain_those_of_the_locked_pattern(tmp_path: Path) -> None:
    fp32 = quantised_toys.toy("bert")
    masks = {name: fp32.get_submodule(name).weight.detach() == 0 for name in quantised_toys.matrices_of(fp32).encoder}
    model, matrices = saved("bert", tmp_path / "model", is_quantised=True)
    packed = packed_model(model, matrices)
    back = through_a_file(packed, tmp_path)
    for name, is_zero in masks.items():
        codes = torch.from_numpy(back.int8[f"{name}.codes"])
        assert is_zero.float().mean() == pytest.approx(0.9, abs=1e-3)
        assert bool((codes[is_zero] == 0).all())
        assert packed.matrices[f"{name}.codes"].num_values == int((codes != 0).sum())


def test_only_embeddings_change_where_they_go_to_8_bits(tmp_path: Path) -> None:
    model, matrices = saved("bert", tmp_path / "model", is_quantised=True)
    tables = [f"bert.embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")]
    plain = packed_model(model, matrices)
    rounded = packed_model(model, matrices, tables)
    back = through_a_file(rounded, tmp_path)
    for name, array in model.weights.items():
        if name in tables:
            step = np.abs(array).max(axis=1, keepdims=True) / 127
            assert (np.abs(back.weights[name] - array) <= step / 2 * 1.0001).all()
            assert not np.array_equal(back.weights[name], array)
        else:
            assert back.weights[name].tobytes() == array.tobytes(), name
    write_packed(tmp_path / "plain", plain)
    saved_bytes = (tmp_path / "plain").stat().st_size - (tmp_path / "packed").stat().st_size
    total = sum(model.weights[name].nbytes for name in tables)
    assert saved_bytes > 0.6 * total  # a byte for four, a scale a row, and a larger index


def test_a_row_of_zeros_in_8_bits_stays_zero(tmp_path: Path) -> None:
    table = np.zeros((3, 8), np.float32)
    table[1] = np.linspace(-1, 1, 8)
    back = through_a_file(packed_model(SavedModel({"table": table}, {}), [], ["table"]), tmp_path)
    assert np.array_equal(back.weights["table"][[0, 2]], table[[0, 2]])


def test_sizes_are_those_of_the_streams_beside_the_bound(tmp_path: Path) -> None:
    model, matrices = saved("bert", tmp_path / "model", is_quantised=True)
    encoder = [name for name in matrices if "pooler" not in name]
    packed = packed_model(model, matrices)
    sizes = sizes_of(model, packed, encoder)
    codes = [model.int8[f"{name}.codes"] for name in encoder]
    assert sizes.packed == sum(packed.matrices[f"{name}.codes"].num_bytes + 4 for name in encoder)
    assert sizes.bound == pytest.approx(sum(entropy_bytes(matrix) + 4 for matrix in codes))
    assert sizes.plain == sum(-(-matrix.size // 8) + int((matrix != 0).sum()) + 4 for matrix in codes)
    assert sizes.fp32 == 4 * sum(matrix.size for matrix in codes) == 4 * 2 * (4 * 32 * 32 + 2 * 32 * 64)


def test_a_dense_fp32_model_is_kept_as_it_is(tmp_path: Path) -> None:
    model, matrices = saved("bert", tmp_path / "model", is_quantised=False, sparsity=0.0)
    packed = packed_model(model, matrices)
    assert not packed.matrices
    assert sizes_of(model, packed, matrices).packed == sizes_of(model, packed, matrices).fp32


def test_a_dense_int8_model_is_packed_without_places(tmp_path: Path) -> None:
    model, matrices = saved("bert", tmp_path / "model", is_quantised=True, sparsity=0.0)
    packed = packed_model(model, matrices)
    assert {packed.matrices[f"{name}.codes"].zeros_coding for name in matrices} == {"none"}
    back = through_a_file(packed, tmp_path)
    assert all(back.int8[name].tobytes() == array.tobytes() for name, array in model.int8.items())


def test_a_name_that_is_not_there_is_refused(tmp_path: Path) -> None:
    model, _ = saved("bert", tmp_path / "model", is_quantised=False)
    with pytest.raises(ValueError, match=r"the model has no bert\.nowhere\.weight"):
        packed_model(model, ["bert.nowhere"])


@pytest.mark.parametrize("scale", [np.ones((32, 1), np.float32), np.ones((), np.int32)])
def test_scales_that_would_stretch_a_matrix_are_refused(scale: np.ndarray, tmp_path: Path) -> None:
    model, matrices = saved("bert", tmp_path / "model", is_quantised=True)
    packed = packed_model(model, matrices)
    name = "bert.encoder.layer.0.attention.self.query.weight_scale"
    with pytest.raises(PackedFileError, match="expected float32"):
        through_a_file(Packed(packed.matrices, {**packed.tensors, name: scale}), tmp_path)


def test_codes_without_a_scale_are_refused(tmp_path: Path) -> None:
    model, matrices = saved("bert", tmp_path / "model", is_quantised=True)
    packed = packed_model(model, matrices)
    tensors = {name: array for name, array in packed.tensors.items() if not name.endswith("query.weight_scale")}
    with pytest.raises(PackedFileError, match="lacks a part of a matrix"):
        through_a_file(Packed(packed.matrices, tensors), tmp_path)
