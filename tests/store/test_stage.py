import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from grid_world import environment

from harness.errors import StoreError
from harness.files import folder_digest
from harness.specs import StageSpec
from harness.store.stage import StoredStage
from harness.store.store import Store

SPEC = StageSpec(kind="corpus", parameters={"shuffle_seed": 12})
A, B = SPEC.stage_id, StageSpec(kind="pairs", parameters={}).stage_id
RECORD = {
    **SPEC.fingerprint_fields(),
    "stage_id": A,
    "result": {"metrics": {"accuracy": 0.875, "correct": 763}, "did": ["é"]},
    "times": {"attempt": 1},
}


def names_below(folder: Path) -> list[str]:
    """Every file and folder, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def stage(store: Store) -> StoredStage:
    return store.stage(A)


def test_making_a_store_touches_no_disk(stage: StoredStage, store: Store) -> None:
    assert not stage.has_record()
    assert stage.attempts() == []
    assert not store.root.exists()


# -- records


def test_a_record_comes_back_as_it_went_in(stage: StoredStage, store: Store) -> None:
    digest = stage.publish_record(RECORD)
    assert stage.has_record()
    assert stage.read_record() == {**RECORD, "schema": 1, "digest": digest}
    assert names_below(store.root) == ["records", f"records/{A[:2]}", f"records/{A[:2]}/{A}.json"]


def test_the_digest_is_of_the_content(stage: StoredStage, tmp_path: Path) -> None:
    digest = stage.publish_record(RECORD)
    reordered = {key: RECORD[key] for key in reversed(RECORD)}
    assert Store(tmp_path / "elsewhere").stage(A).publish_record(reordered) == digest
    assert Store(tmp_path / "third").stage(A).publish_record({**RECORD, "times": {"attempt": 2}}) != digest


def test_a_finished_record_is_never_written_over(stage: StoredStage) -> None:
    stage.publish_record(RECORD)
    before = stage.record_path.read_bytes()
    with pytest.raises(FileExistsError):
        stage.publish_record({**RECORD, "times": {"attempt": 2}})
    assert stage.record_path.read_bytes() == before
    assert names_below(stage.record_path.parent) == [f"{A}.json"]


def test_one_flipped_digit_anywhere_in_a_record_is_found(stage: StoredStage) -> None:
    stage.publish_record(RECORD)
    path = stage.record_path
    text = path.read_text()
    digits = [i for i, letter in enumerate(text) if letter.isdigit()]
    assert len(digits) > 20
    for i in digits:
        other = str(int(text[i]) % 9 + 1)  # never 0, so that the text stays JSON
        path.write_text(text[:i] + other + text[i + 1 :])
        with pytest.raises(StoreError):
            stage.read_record()
    path.write_text(text)
    stage.read_record()


@pytest.mark.parametrize("extra", [{"note": "better"}, {"result": {}}])
def test_an_added_or_emptied_field_is_found(stage: StoredStage, extra: dict[str, object]) -> None:
    stage.publish_record(RECORD)
    path = stage.record_path
    path.write_text(json.dumps({**json.loads(path.read_text()), **extra}))
    with pytest.raises(StoreError, match="was changed after it was written"):
        stage.read_record()


def test_a_record_under_another_stages_name_is_found(stage: StoredStage, store: Store) -> None:
    stage.publish_record(RECORD)
    store.stage(B).record_path.parent.mkdir(parents=True)
    shutil.copy(stage.record_path, store.stage(B).record_path)
    with pytest.raises(StoreError, match=f"belongs to stage {A}"):
        store.stage(B).read_record()


def test_a_record_of_another_schema_is_named_as_such(stage: StoredStage) -> None:
    stage.publish_record(RECORD)
    path = stage.record_path
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(StoreError, match="schema 2, expected 1"):
        stage.read_record()


@pytest.mark.parametrize("damage", ["empty", "half", "not an object", "not text"])
def test_a_damaged_record_is_an_error_of_the_store(stage: StoredStage, damage: str) -> None:
    stage.publish_record(RECORD)
    path = stage.record_path
    whole = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "half": whole[: len(whole) // 2], "not an object": b"[]", "not text": b"\xff"}[damage]
    )
    with pytest.raises(StoreError, match=A):
        stage.read_record()


def test_an_absent_record_is_not_found(stage: StoredStage) -> None:
    with pytest.raises(FileNotFoundError):
        stage.read_record()


def test_what_was_published_can_be_read_or_was_refused(stage: StoredStage) -> None:
    # JSON has no whole numbers as keys: 9 < 10, but "10" < "9", so the order of keys differs after reading.
    counts = {9: 1, 10: 2}
    try:
        stage.publish_record({**RECORD, "result": {"zeros_per_layer": counts}})
    except (TypeError, ValueError):
        assert not stage.has_record()
    else:
        assert stage.read_record()["result"]["zeros_per_layer"] == {"9": 1, "10": 2}


def test_a_record_that_is_not_json_leaves_nothing(stage: StoredStage, store: Store) -> None:
    for value in (float("nan"), object()):
        with pytest.raises((TypeError, ValueError)):
            stage.publish_record({**RECORD, "result": value})
    assert not list(store.root.rglob("*.json*"))


# -- artifacts


def test_an_artifact_appears_only_when_it_is_whole(stage: StoredStage, store: Store) -> None:
    with stage.new_artifact() as folder:
        (folder / "model").mkdir()
        (folder / "model" / "weights").write_text("w")
        assert not stage.artifact_path.exists()
    assert names_below(store.root / "artifacts") == [A, f"{A}/model", f"{A}/model/weights"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_error_inside_the_block_leaves_nothing(stage: StoredStage, store: Store, error: type[BaseException]) -> None:
    with pytest.raises(error), stage.new_artifact() as folder:  # noqa: PT012
        (folder / "weights").write_text("half")
        raise error
    assert names_below(store.root / "artifacts") == []


def test_an_error_keeps_the_artifact_that_was_there(stage: StoredStage, store: Store) -> None:
    with stage.new_artifact() as folder:
        (folder / "weights").write_text("whole")
    with pytest.raises(RuntimeError), stage.new_artifact() as folder:  # noqa: PT012
        (folder / "weights").write_text("half")
        raise RuntimeError
    assert (stage.artifact_path / "weights").read_text() == "whole"
    assert len(list((store.root / "artifacts").iterdir())) == 1


def test_an_artifact_without_a_record_is_replaced(stage: StoredStage) -> None:
    with stage.new_artifact() as folder:
        (folder / "weights").write_text("of an attempt that died")
        (folder / "left over").write_text("x")
    with stage.new_artifact() as folder:
        (folder / "weights").write_text("new")
    assert names_below(stage.artifact_path) == ["weights"]
    assert (stage.artifact_path / "weights").read_text() == "new"


def test_an_artifact_whose_record_is_in_is_never_replaced(stage: StoredStage) -> None:
    # Two workers at one stage: the slower one must not put its files under the faster one's record.
    def work(text: str) -> None:
        with stage.new_artifact() as folder:
            (folder / "weights").write_text(text)
        stage.publish_record({**RECORD, "artifact": {"digest": folder_digest(stage.artifact_path)}})

    work("first")
    with pytest.raises((FileExistsError, StoreError)):
        work("second")
    assert (stage.artifact_path / "weights").read_text() == "first"
    assert folder_digest(stage.artifact_path) == stage.read_record()["artifact"]["digest"]


def test_what_a_killed_worker_left_half_written_is_removed(stage: StoredStage, store: Store) -> None:
    half = stage.artifact_path.with_name(f".{A}.half")
    half.mkdir(parents=True)
    other = store.stage(B).artifact_path.with_name(f".{B}.half")  # another stage's is somebody else's business
    other.mkdir(parents=True)
    with stage.new_artifact() as folder:
        (folder / "weights").write_text("x")
    assert sorted(path.name for path in stage.artifact_path.parent.iterdir()) == sorted([f".{B}.half", A])


# -- attempts


def test_attempts_append_and_fold(stage: StoredStage) -> None:
    first = stage.begin_attempt({"time": 1.5, "host": "h", "process": 7, "process_started": "boot:9"})
    stage.end_attempt(first, {"time": 2.5, "outcome": "code", "message": "ValueError: no"})
    second = stage.begin_attempt({"time": 3.5, "host": "h", "process": 8, "process_started": "boot:10"})
    assert (first, second) == (1, 2)
    one, two = stage.attempts()
    assert (one.number, one.started, one.host, one.process, one.process_started) == (1, 1.5, "h", 7, "boot:9")
    assert (one.ended, one.outcome, one.message) == (2.5, "code", "ValueError: no")
    assert (two.number, two.started, two.ended, two.outcome, two.message) == (2, 3.5, None, None, "")


def test_attempts_come_by_number_and_not_by_name(stage: StoredStage) -> None:
    for expected in range(1, 12):
        assert stage.begin_attempt({"time": float(expected)}) == expected
    stage.log_path(3).write_text("a log is no attempt")
    assert [attempt.number for attempt in stage.attempts()] == list(range(1, 12))


def test_ending_an_attempt_appends_a_line(stage: StoredStage) -> None:
    number = stage.begin_attempt({"time": 1.0})
    path = stage.attempts_path / "1.jsonl"
    before = path.read_text()
    stage.end_attempt(number, {"time": 2.0, "outcome": "done"})
    assert path.read_text().startswith(before)
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["started", "ended"]


def test_a_last_line_torn_at_any_byte_is_ignored(stage: StoredStage) -> None:
    number = stage.begin_attempt({"time": 1.0, "host": "h"})
    path = stage.attempts_path / "1.jsonl"
    begun = path.read_bytes()
    stage.end_attempt(number, {"time": 2.0, "outcome": "code", "message": "größer als erlaubt"})
    whole = path.read_bytes()
    for length in range(len(begun), len(whole) - 1):  # the last byte is the line's end
        path.write_bytes(whole[:length])
        (attempt,) = stage.attempts()
        assert (attempt.started, attempt.outcome) == (1.0, None), length
    path.write_bytes(whole)
    assert stage.attempts()[0].outcome == "code"


@pytest.mark.parametrize("message", ["plain", "two\nlines", "größer", "a\u2028b", "a\x85b", '"quoted"'])
def test_a_message_comes_back_as_it_was(stage: StoredStage, message: str) -> None:
    number = stage.begin_attempt({"time": 1.0})
    stage.end_attempt(number, {"time": 2.0, "outcome": "code", "message": message})
    (attempt,) = stage.attempts()
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
    assert json.loads(store.stage(A).record_path.read_text())["result"] == winner
    assert not [name for name in names_below(store.root) if Path(name).name.startswith(".")]


# -- what is derived from the attempts and the lease


def test_the_last_attempt_decides_whether_a_stage_is_cancelled(stage: StoredStage) -> None:
    assert (stage.last_attempt(), stage.last_log(), stage.is_cancelled()) == (None, None, False)
    stage.end_attempt(stage.begin_attempt({}), {"outcome": "code"})
    assert not stage.is_cancelled()
    stage.end_attempt(stage.begin_attempt({}), {"outcome": "cancelled"})
    assert stage.is_cancelled()
    stage.retry(by={"process": 7})
    assert not stage.is_cancelled()
    number = stage.begin_attempt({})
    stage.request_cancel(number)
    stage.request_cancel(number)  # twice is as good as once
    assert stage.is_cancelled()
    last = stage.last_attempt()
    assert last is not None
    assert (last.number, last.outcome) == (3, "cancelled")


def test_a_retry_clears_how_the_last_attempt_ended_and_keeps_the_others(stage: StoredStage) -> None:
    for _ in range(2):
        stage.end_attempt(stage.begin_attempt({}), {"outcome": "code", "message": "no"})
    stage.retry(by={"process": 7})
    assert [(attempt.outcome, attempt.retried) for attempt in stage.attempts()] == [("code", False), (None, True)]
    events = [json.loads(line) for line in stage.attempt_path(2).read_text().splitlines()]
    assert [event["event"] for event in events] == ["started", "ended", "retried"]
    assert events[-1]["by"] == {"process": 7}


def test_an_event_has_the_time_of_its_writing_unless_one_is_given(stage: StoredStage) -> None:
    before = time.time()
    number = stage.begin_attempt({})
    stage.end_attempt(number, {"time": 5.0, "outcome": "done"})
    (attempt,) = stage.attempts()
    assert attempt.started is not None
    assert before <= attempt.started <= time.time()
    assert attempt.ended == 5.0


def test_the_last_log_is_that_of_the_last_attempt_where_it_has_written_one(stage: StoredStage) -> None:
    stage.log_path(stage.begin_attempt({})).write_text("first")
    assert stage.last_log() == stage.log_path(1)
    stage.begin_attempt({})
    assert stage.last_log() is None


def test_a_lease_is_held_until_it_is_released(stage: StoredStage) -> None:
    assert not stage.is_held()
    lease = stage.acquire_lease()
    assert lease is not None
    assert stage.is_held()
    assert stage.acquire_lease() is None
    second = stage.acquire_lease(lambda holder: holder.generation == 1)  # one whom its caller knows to be dead
    assert second is not None
    assert not lease.is_held()
    second.release()
    assert not stage.is_held()


def test_an_archived_record_is_kept_and_its_place_is_free(stage: StoredStage) -> None:
    assert stage.archive_record() is None
    for number in (1, 2):
        stage.publish_record({"result": number})
        written = stage.record_path.read_bytes()
        archived = stage.archive_record()
        assert archived == stage.root / "invalidated" / f"{A}.{number}.json"
        assert archived.read_bytes() == written
        assert not stage.has_record()


def test_a_record_bears_the_id_of_the_stage_that_publishes_it(stage: StoredStage) -> None:
    stage.publish_record({**RECORD, "stage_id": B})
    assert stage.read_record()["stage_id"] == A
