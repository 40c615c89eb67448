import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from grid_world import environment

from harness.errors import StoreError
from harness.files import folder_digest, replace_file, write_new
from harness.store.store import Store

A, B = "a" * 32, "b" * 32
RECORD = {
    "stage_id": A,
    "result": {"metrics": {"accuracy": 0.875, "correct": 763}, "did": ["é"]},
    "times": {"attempt": 1},
}


def names_below(folder: Path) -> list[str]:
    """Every file and folder, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_making_a_store_touches_no_disk(store: Store) -> None:
    assert not store.stage(A).has_record()
    assert store.stage(A).attempts() == []
    assert not store.root.exists()


# -- records


def test_a_record_comes_back_as_it_went_in(store: Store) -> None:
    digest = store.stage(A).publish_record(RECORD)
    assert store.stage(A).has_record()
    assert store.stage(A).read_record() == {**RECORD, "schema": 1, "digest": digest}
    assert names_below(store.root) == ["records", "records/aa", f"records/aa/{A}.json"]


def test_the_digest_is_of_the_content(store: Store, tmp_path: Path) -> None:
    digest = store.stage(A).publish_record(RECORD)
    reordered = {key: RECORD[key] for key in reversed(RECORD)}
    assert Store(tmp_path / "elsewhere").stage(A).publish_record(reordered) == digest
    assert Store(tmp_path / "third").stage(A).publish_record({**RECORD, "times": {"attempt": 2}}) != digest


def test_a_finished_record_is_never_written_over(store: Store) -> None:
    store.stage(A).publish_record(RECORD)
    before = store.stage(A).record_path.read_bytes()
    with pytest.raises(FileExistsError):
        store.stage(A).publish_record({**RECORD, "times": {"attempt": 2}})
    assert store.stage(A).record_path.read_bytes() == before
    assert names_below(store.stage(A).record_path.parent) == [f"{A}.json"]


def test_one_flipped_digit_anywhere_in_a_record_is_found(store: Store) -> None:
    store.stage(A).publish_record(RECORD)
    path = store.stage(A).record_path
    text = path.read_text()
    digits = [i for i, letter in enumerate(text) if letter.isdigit()]
    assert len(digits) > 20
    for i in digits:
        other = str(int(text[i]) % 9 + 1)  # never 0, so that the text stays JSON
        path.write_text(text[:i] + other + text[i + 1 :])
        with pytest.raises(StoreError):
            store.stage(A).read_record()
    path.write_text(text)
    store.stage(A).read_record()


@pytest.mark.parametrize("extra", [{"note": "better"}, {"result": {}}])
def test_an_added_or_emptied_field_is_found(store: Store, extra: dict[str, object]) -> None:
    store.stage(A).publish_record(RECORD)
    path = store.stage(A).record_path
    path.write_text(json.dumps({**json.loads(path.read_text()), **extra}))
    with pytest.raises(StoreError, match="was changed after it was written"):
        store.stage(A).read_record()


def test_a_record_under_another_stages_name_is_found(store: Store) -> None:
    store.stage(A).publish_record(RECORD)
    store.stage(B).record_path.parent.mkdir(parents=True)
    shutil.copy(store.stage(A).record_path, store.stage(B).record_path)
    with pytest.raises(StoreError, match=f"belongs to stage {A}"):
        store.stage(B).read_record()


def test_a_record_of_another_schema_is_named_as_such(store: Store) -> None:
    store.stage(A).publish_record(RECORD)
    path = store.stage(A).record_path
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(StoreError, match="schema 2, expected 1"):
        store.stage(A).read_record()


@pytest.mark.parametrize("damage", ["empty", "half", "not an object", "not text"])
def test_a_damaged_record_is_an_error_of_the_store(store: Store, damage: str) -> None:
    store.stage(A).publish_record(RECORD)
    path = store.stage(A).record_path
    whole = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "half": whole[: len(whole) // 2], "not an object": b"[]", "not text": b"\xff"}[damage]
    )
    with pytest.raises(StoreError, match=A):
        store.stage(A).read_record()


def test_an_absent_record_is_not_found(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        store.stage(A).read_record()


def test_what_was_published_can_be_read_or_was_refused(store: Store) -> None:
    # JSON has no whole numbers as keys: 9 < 10, but "10" < "9", so the order of keys differs after reading.
    counts = {9: 1, 10: 2}
    try:
        store.stage(A).publish_record({**RECORD, "result": {"zeros_per_layer": counts}})
    except (TypeError, ValueError):
        assert not store.stage(A).has_record()
    else:
        assert store.stage(A).read_record()["result"]["zeros_per_layer"] == {"9": 1, "10": 2}


def test_a_record_that_is_not_json_leaves_nothing(store: Store) -> None:
    for value in (float("nan"), object()):
        with pytest.raises((TypeError, ValueError)):
            store.stage(A).publish_record({**RECORD, "result": value})
    assert not list(store.root.rglob("*.json*"))


@pytest.mark.parametrize("broken", ["fsync", "link"])
def test_a_failed_write_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, refuse)
        with pytest.raises(OSError, match="No space"):
            write_new(tmp_path / "new" / "file", "text")
    assert names_below(tmp_path) == ["new"]


def test_a_failed_replacement_keeps_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "study.json"
    replace_file(path, "old")

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="Input/output"):
            replace_file(path, "new")
    assert (names_below(tmp_path), path.read_text()) == (["study.json"], "old")
    replace_file(path, "new")
    assert (names_below(tmp_path), path.read_text()) == (["study.json"], "new")


# -- artifacts


def test_an_artifact_appears_only_when_it_is_whole(store: Store) -> None:
    with store.stage(A).new_artifact() as folder:
        (folder / "model").mkdir()
        (folder / "model" / "weights").write_text("w")
        assert not store.stage(A).artifact_path.exists()
    assert names_below(store.root / "artifacts") == [A, f"{A}/model", f"{A}/model/weights"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_error_inside_the_block_leaves_nothing(store: Store, error: type[BaseException]) -> None:
    with pytest.raises(error), store.stage(A).new_artifact() as folder:  # noqa: PT012
        (folder / "weights").write_text("half")
        raise error
    assert names_below(store.root / "artifacts") == []


def test_an_error_keeps_the_artifact_that_was_there(store: Store) -> None:
    with store.stage(A).new_artifact() as folder:
        (folder / "weights").write_text("whole")
    with pytest.raises(RuntimeError), store.stage(A).new_artifact() as folder:  # noqa: PT012
        (folder / "weights").write_text("half")
        raise RuntimeError
    assert (store.stage(A).artifact_path / "weights").read_text() == "whole"
    assert len(list((store.root / "artifacts").iterdir())) == 1


def test_an_artifact_without_a_record_is_replaced(store: Store) -> None:
    with store.stage(A).new_artifact() as folder:
        (folder / "weights").write_text("of an attempt that died")
        (folder / "left over").write_text("x")
    with store.stage(A).new_artifact() as folder:
        (folder / "weights").write_text("new")
    assert names_below(store.stage(A).artifact_path) == ["weights"]
    assert (store.stage(A).artifact_path / "weights").read_text() == "new"


def test_an_artifact_whose_record_is_in_is_never_replaced(store: Store) -> None:
    # Two workers at one stage: the slower one must not put its files under the faster one's record.
    def work(text: str) -> None:
        with store.stage(A).new_artifact() as folder:
            (folder / "weights").write_text(text)
        store.stage(A).publish_record({"artifact": {"digest": folder_digest(store.stage(A).artifact_path)}})

    work("first")
    with pytest.raises((FileExistsError, StoreError)):
        work("second")
    assert (store.stage(A).artifact_path / "weights").read_text() == "first"
    assert folder_digest(store.stage(A).artifact_path) == store.stage(A).read_record()["artifact"]["digest"]


def test_what_a_killed_worker_left_half_written_is_removed(store: Store) -> None:
    half = store.stage(A).artifact_path.with_name(f".{A}.half")
    half.mkdir(parents=True)
    other = store.stage(B).artifact_path.with_name(f".{B}.half")  # another stage's is somebody else's business
    other.mkdir(parents=True)
    with store.stage(A).new_artifact() as folder:
        (folder / "weights").write_text("x")
    assert sorted(path.name for path in store.stage(A).artifact_path.parent.iterdir()) == sorted([f".{B}.half", A])


def test_a_folders_digest_is_of_names_and_bytes_and_not_of_its_place(tmp_path: Path) -> None:
    for place in ("here", "there"):
        (tmp_path / place / "sub").mkdir(parents=True)
        (tmp_path / place / "sub" / "x").write_text("1")
        (tmp_path / place / "y").write_text("2")
    here, there = tmp_path / "here", tmp_path / "there"
    digest = folder_digest(here)
    assert digest == folder_digest(there)
    (there / "y").write_text("3")
    assert folder_digest(there) != digest
    (there / "y").write_text("2")
    (there / "sub" / "x").rename(there / "x")
    assert folder_digest(there) != digest


# -- attempts


def test_attempts_append_and_fold(store: Store) -> None:
    first = store.stage(A).begin_attempt({"time": 1.5, "host": "h", "process": 7, "process_started": "boot:9"})
    store.stage(A).end_attempt(first, {"time": 2.5, "outcome": "code", "message": "ValueError: no"})
    second = store.stage(A).begin_attempt({"time": 3.5, "host": "h", "process": 8, "process_started": "boot:10"})
    assert (first, second) == (1, 2)
    one, two = store.stage(A).attempts()
    assert (one.number, one.started, one.host, one.process, one.process_started) == (1, 1.5, "h", 7, "boot:9")
    assert (one.ended, one.outcome, one.message) == (2.5, "code", "ValueError: no")
    assert (two.number, two.started, two.ended, two.outcome, two.message) == (2, 3.5, None, None, "")


def test_attempts_come_by_number_and_not_by_name(store: Store) -> None:
    for expected in range(1, 12):
        assert store.stage(A).begin_attempt({"time": float(expected)}) == expected
    store.stage(A).log_path(3).write_text("a log is no attempt")
    assert [attempt.number for attempt in store.stage(A).attempts()] == list(range(1, 12))


def test_ending_an_attempt_appends_a_line(store: Store) -> None:
    number = store.stage(A).begin_attempt({"time": 1.0})
    path = store.stage(A).attempts_path / "1.jsonl"
    before = path.read_text()
    store.stage(A).end_attempt(number, {"time": 2.0, "outcome": "done"})
    assert path.read_text().startswith(before)
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["started", "ended"]


def test_a_last_line_torn_at_any_byte_is_ignored(store: Store) -> None:
    number = store.stage(A).begin_attempt({"time": 1.0, "host": "h"})
    path = store.stage(A).attempts_path / "1.jsonl"
    begun = path.read_bytes()
    store.stage(A).end_attempt(number, {"time": 2.0, "outcome": "code", "message": "größer als erlaubt"})
    whole = path.read_bytes()
    for length in range(len(begun), len(whole) - 1):  # the last byte is the line's end
        path.write_bytes(whole[:length])
        (attempt,) = store.stage(A).attempts()
        assert (attempt.started, attempt.outcome) == (1.0, None), length
    path.write_bytes(whole)
    assert store.stage(A).attempts()[0].outcome == "code"


@pytest.mark.parametrize("message", ["plain", "two\nlines", "größer", "a\u2028b", "a\x85b", '"quoted"'])
def test_a_message_comes_back_as_it_was(store: Store, message: str) -> None:
    number = store.stage(A).begin_attempt({"time": 1.0})
    store.stage(A).end_attempt(number, {"time": 2.0, "outcome": "code", "message": message})
    (attempt,) = store.stage(A).attempts()
    assert (attempt.outcome, attempt.message) == ("code", message)


# -- several processes at once

RACE = """
import sys, time
from pathlib import Path
from harness.store.store import Store
root, stage_id, mine = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = Store(root / "runs")
(root / f"ready{mine}").touch()
while not (root / "go").exists():
    time.sleep(0.001)
print(*(store.stage(stage_id).begin_attempt({"time": 0.0, "process": mine}) for _ in range(3)))
try:
    store.stage(stage_id).publish_record({"result": mine})
    print("published")
except FileExistsError:
    print("too late")
"""


def test_eight_processes_get_distinct_attempts_and_one_publishes(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-c", RACE, str(tmp_path), A]
    racers = [
        subprocess.Popen([*command, str(i)], env=environment(), stdout=subprocess.PIPE, text=True) for i in range(8)
    ]
    try:
        while len(list(tmp_path.glob("ready*"))) < 8:
            assert all(racer.poll() is None for racer in racers)
            time.sleep(0.01)
        (tmp_path / "go").touch()
        said = [racer.communicate(timeout=30)[0].splitlines() for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
    store = Store(tmp_path / "runs")
    numbers = sorted(int(word) for lines in said for word in lines[0].split())
    assert numbers == list(range(1, 25))
    assert {attempt.number: attempt.process for attempt in store.stage(A).attempts()} == {
        int(word): i for i, lines in enumerate(said) for word in lines[0].split()
    }
    (winner,) = (i for i, lines in enumerate(said) if lines[1] == "published")
    assert store.stage(A).read_record()["result"] == winner
    assert not [name for name in names_below(store.root) if Path(name).name.startswith(".")]
