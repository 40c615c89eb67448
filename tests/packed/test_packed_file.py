"""The packed file: whole and unchanged, or refused with a reason."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from harness.compression.packing import pack
from harness.packed import packed_file
from harness.packed.packed_file import Packed, PackedFileError, read_packed, unpacked, write_packed


def content() -> Packed:
    draw = np.random.default_rng(0)
    codes = draw.integers(-127, 128, (24, 40)).astype(np.int8)
    codes[draw.random(codes.shape) < 0.9] = 0
    return Packed(
        {"a.codes": pack(codes), "b.codes": pack(np.ones((3, 3), np.int8))},
        {"a.weight_scale": np.float32(0.01).reshape(()), "norm.weight": np.ones(40, np.float32)},
    )


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "model.packed.safetensors"
    write_packed(path, content())
    return path


def test_what_was_written_is_read(written: Path) -> None:
    found, wanted = read_packed(written), content()
    assert found.matrices == wanted.matrices
    assert found.tensors.keys() == wanted.tensors.keys()
    for name, array in wanted.tensors.items():
        assert found.tensors[name].dtype == array.dtype
        assert found.tensors[name].shape == array.shape
        assert found.tensors[name].tobytes() == array.tobytes()


def test_equal_content_gives_equal_bytes(written: Path, tmp_path: Path) -> None:
    write_packed(tmp_path / "again", content())
    assert (tmp_path / "again").read_bytes() == written.read_bytes()


def test_a_file_that_is_there_stays(written: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(FileExistsError):
        write_packed(written, Packed())
    assert written.read_bytes() == before


def test_every_reader_of_safetensors_sees_the_streams(written: Path) -> None:
    found = load_file(written)
    assert found["a.codes.zeros"].tobytes() == content().matrices["a.codes"].zeros
    assert found["a.codes.values"].dtype == np.uint8
    assert "b.codes.zeros" not in found  # nothing is zero there


def test_a_file_cut_off_anywhere_is_refused(written: Path) -> None:
    whole = written.read_bytes()
    for length in {0, 3, 7, 8, 20, len(whole) // 2, len(whole) - 1}:
        written.write_bytes(whole[:length])
        with pytest.raises(PackedFileError, match="cut off or edited"):
            read_packed(written)


def test_a_byte_changed_anywhere_is_refused(written: Path) -> None:
    """Of the names of tensors and of the metadata too: none of them is read without being checked."""
    whole = written.read_bytes()
    for place in np.random.default_rng(1).integers(0, len(whole), 300):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(place) % 8
        written.write_bytes(bytes(changed))
        with pytest.raises(PackedFileError):
            read_packed(written)


def test_bytes_after_the_end_are_refused(written: Path) -> None:
    written.write_bytes(written.read_bytes() + b"more")
    with pytest.raises(PackedFileError):
        read_packed(written)


@pytest.mark.parametrize("length", [2**62, 2**31, packed_file.LARGEST_HEADER + 1])
def test_an_oversized_header_is_refused_before_it_is_read(written: Path, length: int) -> None:
    written.write_bytes(struct.pack("<Q", length) + written.read_bytes()[8:])
    with pytest.raises(PackedFileError, match="its header would have"):
        read_packed(written)


def _rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """The file with another index of matrices, and the digest that belongs to it: what a careful forger writes."""
    arrays = load_file(path)
    header = json.loads(path.read_bytes()[8 : 8 + struct.unpack("<Q", path.read_bytes()[:8])[0]])
    told = json.loads(header["__metadata__"][packed_file.FORMAT])
    change(told["matrices"])
    told["digest"] = packed_file._digest(told["matrices"], arrays)
    path.write_bytes(save(arrays, metadata={packed_file.FORMAT: json.dumps(told)}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda index: index["a.codes"].update(shape=[2**40, 2**40]), "no matrix has"),
        (lambda index: index["a.codes"].update(shape=[2**30, 4]), "values of"),
        (lambda index: index["a.codes"].update(shape=[-1, 2]), "no matrix has"),
        (lambda index: index["a.codes"].update(shape="wide"), "no matrix has"),
        (lambda index: index["a.codes"].update(shape=[960]), "no matrix has"),
        (lambda index: index["a.codes"].update(shape=[2**15, 2**15]), "values of"),  # and nine of the other
        (lambda index: index["a.codes"].update(values=True), "no matrix has"),
        (lambda index: index["a.codes"].update(values=24 * 40 + 1), "values of"),
        (lambda index: index["a.codes"].update(type="object"), "type 'object'"),
        (lambda index: index["a.codes"].update(coding="none"), "one too many"),
        (lambda index: index["b.codes"].update(coding="bits"), "lacks a stream"),
        (lambda index: index["a.codes"].update(run="os.system"), "expected coding"),
        (lambda index: index["a.codes"].pop("coding"), "expected coding"),
        (
            lambda index: index.update(c={"shape": [1, 1], "type": "int8", "coding": "none", "values": 1}),
            "lacks a stream",
        ),
    ],
)
def test_an_index_that_cannot_be_is_refused(
    written: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    _rewritten(written, change)
    with pytest.raises(PackedFileError, match=reason):
        read_packed(written)


def test_streams_that_do_not_give_their_matrix_are_refused(written: Path) -> None:
    _rewritten(written, lambda index: index["a.codes"].update(shape=[48, 40]))
    found = read_packed(written)  # whether they fit, only unpacking tells
    assert unpacked(written, found)["a.codes"].shape == (48, 40)  # zeros after the last weight are not written
    _rewritten(written, lambda index: index["a.codes"].update(shape=[2, 40]))
    with pytest.raises(PackedFileError, match=r"matrix a.codes|values of"):
        unpacked(written, read_packed(written))


def test_another_version_is_told_apart(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as changed:
        changed.setattr(packed_file, "VERSION", 2)
        write_packed(written.with_name("newer"), content())
    with pytest.raises(PackedFileError, match="version 2 of the format, and this program reads version 1"):
        read_packed(written.with_name("newer"))


def test_another_safetensors_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(save({"a": np.zeros(3, np.float32)}))
    with pytest.raises(PackedFileError, match="its metadata has no"):
        read_packed(tmp_path / "plain")


def test_two_parts_of_one_name_are_not_written(tmp_path: Path) -> None:
    packed = Packed({"a": pack(np.ones((2, 2), np.int8))}, {"a.values": np.zeros(1)})
    with pytest.raises(ValueError, match=r"two parts .* 'a.values'"):
        write_packed(tmp_path / "x", packed)
    assert not (tmp_path / "x").exists()
