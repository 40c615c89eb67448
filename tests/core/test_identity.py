import hashlib
import json
import os
from pathlib import Path

import pytest

import harness.identity
from harness.identity import ContentHashes, canonical_json, sha256_of
from harness.specs import StageSpec


def test_canonical_json_sorts_keys_at_every_depth_and_writes_no_space() -> None:
    value = {"b": [2, {"d": 1, "c": None}], "a": True}
    assert canonical_json(value) == '{"a":true,"b":[2,{"c":null,"d":1}]}'
    assert canonical_json({"a": True, "b": [2, {"c": None, "d": 1}]}) == canonical_json(value)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.1, "0.1"), (1e-4, "0.0001"), (1e-8, "1e-08"), (1.0, "1.0"), (1, "1"), (0.1 + 0.2, "0.30000000000000004")],
)
def test_floats_stand_in_their_shortest_form_and_keep_their_type(number: float, text: str) -> None:
    assert canonical_json({"x": number}) == f'{{"x":{text}}}'


def test_text_stands_as_itself_and_is_hashed_as_utf8() -> None:
    assert canonical_json({"é": "日本"}) == '{"é":"日本"}'
    assert sha256_of("é") == hashlib.sha256(b'"\xc3\xa9"').hexdigest()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_a_number_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"loss": [number]})


def test_stage_id_is_the_first_128_bits_of_sha256_over_the_canonical_text() -> None:
    spec = StageSpec(
        kind="transfer",
        parameters={"seed": 0, "learning_rate": 1e-4, "lr_rewind": True},
        parents={"model": "ab", "teacher": "cd"},
        inputs={"train": "ef"},
        versions={"kind": 1},
    )
    text = (
        '{"inputs":{"train":"ef"},"kind":"transfer",'
        '"parameters":{"learning_rate":0.0001,"lr_rewind":true,"seed":0},'
        '"parents":{"model":"ab","teacher":"cd"},"versions":{"kind":1}}'
    )
    assert spec.stage_id == hashlib.sha256(text.encode()).hexdigest()[:32]
    assert len(spec.stage_id) * 4 == 128


BASE = {
    "kind": "k",
    "parameters": {"p": 1},
    "parents": {"model": "a"},
    "inputs": {"train": "b"},
    "versions": {"kind": 1},
}


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "l"},
        {"parameters": {"p": 2}},
        {"parameters": {"q": 1}},
        {"parents": {"teacher": "a"}},
        {"parents": {"model": "c"}},
        {"inputs": {"train": "c"}},
        {"versions": {"kind": 2}},
    ],
)
def test_every_field_of_a_stage_enters_its_id(change: dict[str, object]) -> None:
    assert StageSpec.from_json({**BASE, **change}).stage_id != StageSpec.from_json(BASE).stage_id


def test_a_stage_read_back_from_json_keeps_its_id() -> None:
    spec = StageSpec.from_json(BASE)
    assert StageSpec.from_json(json.loads(json.dumps(spec.identity()))).stage_id == spec.stage_id


# -- content hashes


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose bytes were read."""
    seen: list[str] = []
    real = harness.identity.file_sha256

    def counted(path: Path) -> str:
        seen.append(path.name)
        return real(path)

    monkeypatch.setattr(harness.identity, "file_sha256", counted)
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
