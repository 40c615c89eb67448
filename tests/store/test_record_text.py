"""Records read member by member: never another value or digest than of the whole text, by the standard library."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from harness.errors import StoreError
from harness.identity import sha256_of
from harness.specs import StageSpec
from harness.store import record_text
from harness.store.record_text import RecordTexts
from harness.store.store import Store

SPEC = StageSpec(kind="corpus", parameters={"shuffle_seed": 12})
RECORD: dict[str, Any] = {
    **SPEC.fingerprint_fields(),
    "provenance": {"digest": "nested", "flags": 'a  b": c \\": d', "versions": {"torch": "2.0", "none": None}},
    "result": {"did": ["é", ',\n "x', ": y", " z "], "empty": [{}, []], "loss": 1e-07, "share": 0.1, "true": True},
    "schema": 1,
    "times": {"ended": 1795700213.0189927, "started": 1e16},
}


def written(record: dict[str, Any]) -> bytes:
    """As `publish_record` writes it."""
    return (json.dumps({**record, "digest": sha256_of(record)}, indent=1, sort_keys=True) + "\n").encode()


def whole(text: bytes) -> tuple[str, str] | None:
    """By the other road: the value's text, so that 1 is not 1.0 and order counts, and its digest."""
    try:
        value = json.loads(text)
        content = {key: each for key, each in value.items() if key != "digest"}
        return json.dumps(value), sha256_of(content)
    except (ValueError, AttributeError, RecursionError):
        return None


def by_members(text: bytes, texts: RecordTexts) -> tuple[str, str] | None:
    found = texts.content(text)
    return None if found is None else (json.dumps(found[0]), found[1])


def warm() -> RecordTexts:
    """Of which every member of the record was read before."""
    texts = RecordTexts()
    assert texts.content(written(RECORD)) is not None
    return texts


@pytest.mark.parametrize("extra", [{}, {"result": {}}, {"a": 1, "zz": [1, [2]]}, {"": "no name", "times": "2"}])
def test_a_record_as_it_is_written_is_read_so(extra: dict[str, Any]) -> None:
    text, texts = written({**RECORD, **extra}), warm()
    first, again = by_members(text, texts), by_members(text, texts)
    assert first == again == whole(text)
    assert json.loads(text)["digest"] == whole(text)[1]  # type: ignore[index]


def test_the_committed_form_is_the_one_that_the_store_writes(store: Store) -> None:
    stage = store.stage(SPEC.stage_id)
    stage.publish_record(RECORD)
    text = stage.record_path.read_bytes()
    assert by_members(text, RecordTexts()) == whole(text) is not None
    assert stage.read_record(SPEC, RecordTexts()) == stage.read_record()


def test_no_edit_of_one_character_is_read_otherwise() -> None:
    """Put in, put in the place of another, or taken out, anywhere; unsure is allowed, another answer is not."""
    text, texts = written(RECORD), warm()
    unsure = 0
    for at in range(len(text)):
        for letter in (b"", *(bytes([each]) for each in b'"\\,:{}[] \n\t\r0e.a\xff')):
            for edited in (text[:at] + letter + text[at:], text[:at] + letter + text[at + 1 :]):
                found = by_members(edited, texts)
                unsure += found is None
                assert found in (None, whole(edited)), edited
    assert unsure


def dumped(value: Any, **options: Any) -> bytes:
    return (json.dumps(value, **options) + "\n").encode()


OTHERS: dict[str, Callable[[bytes], bytes]] = {
    "keys in another order": lambda text: dumped(dict(reversed(json.loads(text).items())), indent=1),
    "without white space": lambda text: dumped(json.loads(text)),
    "wider": lambda text: dumped(json.loads(text), indent=2),
    "not escaped": lambda text: dumped(json.loads(text), indent=1, ensure_ascii=False),
    "another encoding": lambda text: text.decode().encode("utf-16"),
    "lines of Windows": lambda text: text.replace(b"\n", b"\r\n"),
    "no digest": lambda text: text.replace(b'\n "digest"', b'\n "digest2"'),
    "an edited digest": lambda text: text.replace(b'\n "digest": "', b'\n "digest": "0'),
    "floats of another spelling": lambda text: text.replace(b"1e-07", b"0.0000001").replace(b"1e+16", b"1E16"),
    "a float for a whole number": lambda text: text.replace(b'"schema": 1,', b'"schema": 1.0,'),
    "a key twice": lambda text: text.replace(b'\n "schema": 1,', b'\n "schema": 2,\n "schema": 1,'),
    "a key twice in one line": lambda text: text.replace(b'"schema": 1,', b'"schema": 2, "schema": 1,'),
    "a key twice within a member": lambda text: text.replace(b'"torch"', b'"none": 2,\n   "torch"'),
    "two digests": lambda text: text.replace(b'\n "digest"', b'\n "digest": "x",\n "digest"'),
    "a member in the wrong place": lambda text: text.replace(b'\n "schema": 1,', b"").replace(
        b'"result": {', b'"result": {\n "schema": 1,'
    ),
    "members moved into another": lambda text: text.replace(
        b'"provenance": {', b'"x": {\n "kind": "corpus",\n "y": 1}, "z": 3,\n "provenance": {'
    ),
    "not a number": lambda text: text.replace(b"0.1", b"NaN"),
    "infinite": lambda text: text.replace(b"0.1", b"1e999"),
    "half a character": lambda text: text.replace(b"\\u00e9", b"\\ud800"),
    "nested too deep": lambda text: text.replace(b"0.1", b"[" * 100_000),
    "a list": lambda text: b"[]",
    "nothing": lambda text: b"",
    "followed by more": lambda text: text + b'{\n "a": 1\n}\n',
    "an early end": lambda text: text.replace(b'\n "schema"', b'\n "a": 1},\n "schema"'),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_text_of_another_form_is_never_read_otherwise(case: str) -> None:
    text = OTHERS[case](written(RECORD))
    assert text != written(RECORD)
    for texts in (RecordTexts(), warm()):
        assert by_members(text, texts) in (None, whole(text))


@pytest.mark.parametrize("case", OTHERS)
def test_the_store_decides_alike_with_it_and_without(case: str, store: Store) -> None:
    stage = store.stage(SPEC.stage_id)
    stage.publish_record(RECORD)
    texts, text = RecordTexts(), stage.record_path.read_bytes()
    assert texts.content(text) is not None
    stage.record_path.write_bytes(OTHERS[case](text))

    def decided(texts: RecordTexts | None) -> str:
        try:
            return json.dumps(stage.read_record(SPEC, texts))
        except (StoreError, ValueError) as error:
            return f"{type(error).__name__}: {error}"

    assert decided(texts) == decided(None)


def test_memory_stays_small_however_many_members_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_text, "MOST_KEPT", 30)
    texts = RecordTexts()
    for number in range(100):
        text = written({**RECORD, "result": {"number": number}})
        assert by_members(text, texts) == whole(text)
    assert len(texts._members) <= 30
