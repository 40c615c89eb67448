"""Files are hashed once, and remembered by path, size and time."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from harness.inputs import content_hashes
from harness.inputs.content_hashes import ContentHashes


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose bytes were read."""
    seen: list[str] = []
    real = content_hashes.file_sha256

    def counted(path: Path) -> str:
        seen.append(path.name)
        return real(path)

    monkeypatch.setattr(content_hashes, "file_sha256", counted)
    return seen


def test_a_file_is_read_once_and_remembered_across_processes(tmp_path: Path, reads: list[str]) -> None:
    data, memory = tmp_path / "data", tmp_path / "runs" / "memory.json"
    data.write_bytes(b"abc")
    hashes = ContentHashes(memory)
    # SHA-256 of "abc", from FIPS 180-2, appendix B.1.
    assert hashes.file(data) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hashes.file(data) == hashes.file(tmp_path / "." / "data")
    hashes.remember()
    assert ContentHashes(memory).file(data) == hashes.file(data)
    assert reads == ["data"]


def test_nothing_is_written_before_it_is_asked_to_remember(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"abc")
    memory = tmp_path / "runs" / "memory.json"
    ContentHashes(memory).file(tmp_path / "data")
    assert not memory.parent.exists()


def test_a_remembered_digest_counts_only_for_the_same_size_and_time(tmp_path: Path, reads: list[str]) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"abc")
    hashes = ContentHashes()
    first = hashes.file(data)
    when = data.stat()

    os.utime(data, ns=(when.st_atime_ns, when.st_mtime_ns + 1))  # same bytes, one nanosecond later
    assert hashes.file(data) == first
    data.write_bytes(b"abcd")  # another size, the old time
    os.utime(data, ns=(when.st_atime_ns, when.st_mtime_ns + 1))
    assert hashes.file(data) == hashlib.sha256(b"abcd").hexdigest()
    assert reads == ["data"] * 3


def test_a_link_and_its_target_are_one_file(tmp_path: Path, reads: list[str]) -> None:
    (tmp_path / "data").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    hashes = ContentHashes()
    assert hashes.file(tmp_path / "link") == hashes.file(tmp_path / "data")
    assert reads == ["data"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "nonsense", '{"a": 1}', '{"a": [1]}', '{"a": {}}', "[]", "null", '["a"]'],
    ids=["empty", "torn", "text", "number", "short", "object", "list", "null", "names"],
)
def test_a_corrupted_memory_costs_time_and_nothing_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "data").write_bytes(b"abc")
    memory = tmp_path / "memory.json"
    memory.write_text(text)
    hashes = ContentHashes(memory)
    assert hashes.file(tmp_path / "data") == hashlib.sha256(b"abc").hexdigest()
    hashes.remember()
    assert list(json.loads(memory.read_text())) == [str(tmp_path / "data")]


def test_a_folder_is_its_named_files_whatever_their_order_or_place(tmp_path: Path) -> None:
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a").write_text("1")
        (tmp_path / place / "b").write_text("2")
    (tmp_path / "there" / "not named").write_text("3")
    hashes = ContentHashes()
    digest = hashes.folder(tmp_path / "here", ["a", "b"])
    assert digest == hashes.folder(tmp_path / "there", ["b", "a"])
    one, two = hashlib.sha256(b"1").hexdigest(), hashlib.sha256(b"2").hexdigest()
    assert digest == hashlib.sha256(f'{{"a":"{one}","b":"{two}"}}'.encode()).hexdigest()
    (tmp_path / "there" / "b").write_text("22")
    assert digest != hashes.folder(tmp_path / "there", ["a", "b"])


def test_an_absent_file_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ContentHashes().file(tmp_path / "absent")
