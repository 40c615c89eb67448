"""Two revisions' numbers compared: made-up stores, and the working tree against itself with a fault planted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import same_numbers
from same_numbers import Store, compare, compare_trees, numbers, read, working_tree

RECORD: dict[str, Any] = {
    "kind": "dense",
    "stage_id": "aa01",
    "digest": "of all this",
    "parent_digests": {"model": "x"},
    "times": {"started": 1.0},
    "provenance": {"commit": "c", "processor": "p"},
    "artifact": {"digest": "d", "bytes": 3},
    "result": {"metrics": {}, "training": {"seconds": 2.5, "loss_curve": [{"step": 1, "loss": 0.5}]}},
}


def changed(**fields: Any) -> Store:
    return Store({"study: {}": ["aa01"]}, {"aa01": {**RECORD, **fields}})


def test_when_and_where_a_record_was_made_is_no_number() -> None:
    elsewhere = changed(
        digest="another",
        parent_digests={"model": "y"},
        times={"started": 9.0},
        provenance={"commit": "e"},
        result={**RECORD["result"], "training": {**RECORD["result"]["training"], "seconds": 7.0}},
    )
    assert compare(changed(), elsewhere).differences == []
    assert numbers(RECORD).keys() == {"kind", "stage_id", "artifact", "result"}


def test_one_bit_of_a_loss_and_of_an_artifact_is_named_with_both_values() -> None:
    curve = {"loss_curve": [{"step": 1, "loss": 0.5000000000000001}], "seconds": 2.5}
    (loss,) = compare(changed(), changed(result={"metrics": {}, "training": curve})).differences
    assert loss == "dense aa01: result.training.loss_curve[0].loss was 0.5, is 0.5000000000000001"
    (artifact,) = compare(changed(), changed(artifact={"digest": "e", "bytes": 3})).differences
    assert artifact == 'dense aa01: artifact.digest was "d", is "e"'


@pytest.mark.parametrize(
    ("before", "after"),
    [(1, 1.0), (1, True), ({"a": None}, {}), ([1], [1, 2]), ("1", 1)],
    ids=["float for int", "truth for int", "absent for null", "longer", "text for number"],
)
def test_values_of_another_type_or_length_differ(before: object, after: object) -> None:
    assert len(compare(changed(schema=before), changed(schema=after)).differences) == 1


def test_stages_that_come_and_go_and_cells_that_lead_elsewhere_are_named() -> None:
    other = Store({"study: {}": ["bb02"]}, {"bb02": {**RECORD, "kind": "transfer"}})
    assert compare(changed(), other).differences == [
        "cell study: {}: stages ['aa01'], now ['bb02']",
        "dense aa01: a record no more",
        "transfer bb02: a record only now",
    ]


def with_files(files: dict[str, str]) -> Store:
    return Store(
        changed().cells,
        {"aa01": {**RECORD, "artifact": {"digest": "".join(files.values()), "bytes": 3, "files": [*files]}}},
        {"aa01": files},
    )


def test_a_file_that_is_new_is_told_and_is_no_difference_where_the_others_are_the_same() -> None:
    before, after = with_files({"a": "1"}), with_files({"a": "1", "p/b.csv": "2"})
    found = compare(before, after)
    assert (found.differences, found.new_files) == ([], {"dense: p/b.csv": 1})
    (other,) = compare(before, with_files({"a": "3", "p/b.csv": "2"})).differences
    assert other == 'dense aa01: artifact.a was "1", is "3"'
    assert {line.split(":")[1].split()[0] for line in compare(after, before).differences} >= {"artifact.digest"}  # gone


def test_a_result_that_is_new_is_told_and_one_that_is_gone_or_changed_is_a_difference() -> None:
    result = RECORD["result"]
    found = compare(changed(), changed(result={**result, "pattern": "ab"}))
    assert (found.differences, found.new_results) == ([], {"dense: result.pattern": 1})
    gone = compare(changed(result={**result, "pattern": "ab"}), changed())
    assert (gone.differences, gone.new_results) == (['dense aa01: result.pattern was "ab", is absent'], {})
    assert compare(changed(), changed(added=1)).differences == ["dense aa01: added was absent, is 1"]


def test_a_store_is_read_as_it_stands_on_disk(tmp_path: Path) -> None:
    for path, value in (
        ("studies/mine.json", {"cells": [{"task": "sst2", "stages": ["aa01"]}]}),
        ("records/aa/aa01.json", RECORD),
    ):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(json.dumps(value))
    (tmp_path / "artifacts" / "aa01" / "deep").mkdir(parents=True)
    (tmp_path / "artifacts" / "aa01" / "deep" / "empty").touch()
    nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of no byte
    files = {"aa01": {"deep/empty": nothing}}
    assert read(tmp_path) == Store({'mine: {"task": "sst2"}': ["aa01"]}, {"aa01": RECORD}, files)


@pytest.mark.slow
def test_a_planted_fault_shows_in_the_stages_that_distil_and_in_no_other(tmp_path: Path) -> None:
    base, head = working_tree(tmp_path / "base"), working_tree(tmp_path / "head")
    source = head / "harness" / "compression" / "distillation.py"
    faulty = source.read_text().replace("temperature**2", "temperature")
    assert faulty != source.read_text()
    source.write_text(faulty)
    found = compare_trees(base, head, tmp_path, executors=["debug"], studies=["mine"])
    # dense (the teacher) and its evaluation, the sparse checkpoint; the transfer and its evaluation, whose counts of
    # right answers may be the same by luck
    assert found.stages == 5
    different = {line.split()[1] for line in found.differences}
    assert "transfer" in different
    assert different <= {"transfer", "evaluation"}


def test_a_revision_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="BASE=no-such-revision: .* Name a commit"):
        same_numbers.archive("no-such-revision", tmp_path / "there")
