"""The source of every kind is the recorded one; and the guard itself, on a made-up kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import code_versions
import pytest
from made_up_source import LAB, project, write

from harness.planning.kinds import StageKind
from harness.worker.code_versions import (
    Current,
    Record,
    problems,
    read_current,
    read_record,
    updated,
    write_record,
)

KIND = StageKind(name="lab", version=1, run="lab.stage:run", recipe={}, work="training")


def test_the_source_of_every_kind_is_the_one_recorded_for_its_version() -> None:
    record = read_record(code_versions.FILE.read_text(encoding="utf-8"))
    found = problems(record, read_current(project(), code_versions.WATCHED))
    assert not found, "\n" + "\n".join(found)


def lab(folder: Path, version: int = 1, **modules: str) -> dict[str, Current]:
    tree = write(folder, {**LAB, **{name.replace("_", "."): text for name, text in modules.items()}})
    return read_current(tree, {"lab": replace(KIND, version=version)})


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Of the unchanged source, through the file's text."""
    return read_record(write_record(updated(Record({}, {}), lab(tmp_path))))


CHANGED = LAB["deep.leaf"].replace("CONSTANT = 1", "CONSTANT = 2")


def test_unchanged_source_passes(tmp_path: Path, record: Record) -> None:
    assert problems(record, lab(tmp_path)) == []


def test_a_reworded_source_passes(tmp_path: Path, record: Record) -> None:
    reworded = LAB["stage"].replace("Runs.", "Runs it.").replace("# twice", "# once and again")
    assert problems(record, lab(tmp_path, stage=reworded)) == []


def test_a_constant_two_modules_away_is_named_with_the_three_moves(tmp_path: Path, record: Record) -> None:
    kind, moves = problems(record, lab(tmp_path, deep_leaf=CHANGED))
    assert kind == "kind lab (version 1): changed: lab.deep.leaf:CONSTANT."
    assert "raise the version of lab where it is declared" in moves
    assert "make same-numbers BASE=" in moves
    assert "harness/planning/equivalents.toml" in moves


def test_a_new_module_is_named(tmp_path: Path, record: Record) -> None:
    middle = LAB["middle"].replace("return leaf", "from lab.fresh import shift\n            return shift + leaf")
    kind, _ = problems(record, lab(tmp_path, middle=middle, fresh="shift = 1"))
    assert kind == "kind lab (version 1): changed: lab.middle:helper; new: lab.fresh:shift."


def test_a_change_passes_once_its_version_is_raised_and_recorded(tmp_path: Path, record: Record) -> None:
    raised = lab(tmp_path, version=2, deep_leaf=CHANGED)
    assert problems(record, raised) == ["kind lab was raised from version 1 to 2: make code-versions."]
    recorded = updated(record, raised)
    assert problems(recorded, raised) == []
    # and from then on version 2 is guarded
    assert problems(recorded, lab(tmp_path, version=2, deep_leaf=LAB["deep.leaf"])) != []


PROOF = "the numbers of 47a49c5, in 106 stages"


def test_a_change_passes_with_a_proof_and_the_next_one_does_not(tmp_path: Path, record: Record) -> None:
    recorded = read_record(write_record(updated(record, lab(tmp_path, deep_leaf=CHANGED), PROOF)))
    assert recorded.proof == PROOF
    assert recorded.kinds["lab"].version == 1
    assert problems(recorded, lab(tmp_path, deep_leaf=CHANGED)) == []
    assert problems(recorded, lab(tmp_path, deep_leaf=CHANGED.replace("2", "3"))) != []
    with pytest.raises(ValueError, match=r"changed: lab.deep.leaf:CONSTANT"):  # an old proof shows nothing of it
        updated(recorded, lab(tmp_path, deep_leaf=CHANGED.replace("2", "3")))


def test_a_change_without_proof_is_refused(tmp_path: Path, record: Record) -> None:
    with pytest.raises(ValueError, match=r"changed: lab.deep.leaf:CONSTANT"):
        updated(record, lab(tmp_path, deep_leaf=CHANGED))


def test_a_version_never_goes_back(tmp_path: Path, record: Record) -> None:
    recorded = updated(record, lab(tmp_path, version=2))
    (problem,) = problems(recorded, lab(tmp_path))
    assert problem == "kind lab is at version 1 and 2 is recorded: a version never goes back."
    with pytest.raises(ValueError, match="never goes back"):
        updated(recorded, lab(tmp_path), PROOF)


def test_kinds_that_come_and_go_are_named(tmp_path: Path, record: Record) -> None:
    found = lab(tmp_path)
    assert problems(record, {"other": found["lab"]}) == [
        "kind lab is recorded and no longer there: make code-versions.",
        "kind other is new: make code-versions.",
    ]


def test_kinds_of_several_owners_share_a_file_and_leave_each_other_alone(tmp_path: Path) -> None:
    found = lab(tmp_path)["lab"]
    one = updated(Record({}, {}), {"one:stage": found})
    both = read_record(write_record(updated(one, {"two:stage": found})))
    assert both.kinds.keys() == {"one:stage", "two:stage"}
    assert problems(both, {"one:stage": found}) == problems(both, {"two:stage": found}) == []
    (gone,) = problems(both, {"two:another": found})[:1]
    assert gone.startswith("kind two:stage is recorded and no longer there")


def test_a_refusal_tells_only_of_kinds_that_changed(tmp_path: Path) -> None:
    (tmp_path / "still").mkdir()
    still, moved = lab(tmp_path / "still")["lab"], lab(tmp_path, deep_leaf=CHANGED)["lab"]
    record = updated(Record({}, {}), {"still": still, "moved": still})
    with pytest.raises(ValueError, match="^kind moved ") as caught:
        updated(record, {"still": still, "moved": moved})
    assert "still" not in str(caught.value)


def test_the_command_refuses_a_change_and_a_proof_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "code_versions.toml"
    monkeypatch.setattr(code_versions, "FILE", file)
    monkeypatch.setattr(code_versions, "WATCHED", {"lab": KIND})
    monkeypatch.setattr(code_versions, "project_tree", lambda: write(tmp_path, LAB))
    assert code_versions.main([]) == 0
    before = file.read_text()

    monkeypatch.setattr(code_versions, "project_tree", lambda: write(tmp_path, {**LAB, "deep.leaf": CHANGED}))
    assert code_versions.main([]) == 2
    assert "lab.deep.leaf:CONSTANT" in capsys.readouterr().err
    assert file.read_text() == before
    code_versions.save(PROOF)
    assert f'proof = "{PROOF}"' in file.read_text()
    assert code_versions.main([]) == 0
