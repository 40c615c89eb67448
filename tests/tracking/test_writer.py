"""Each stage once, whoever finished it; and a tracker that fails takes nothing with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from filled_stores import finish
from tracked_store import filled, result

from harness.store.store import Store
from harness.studies.study import Study
from harness.tracking import trackers
from harness.tracking.stage_run import StageRun
from harness.tracking.trackers import Tracker
from harness.tracking.writer import Writer
from harness.tracking.written import Written


@dataclass
class Sink:
    """Keeps what it is given. fails: called before that, with a word for what is done."""

    place: str = "here"
    view: str = ""
    fails: Callable[[str], None] = lambda what: None
    runs: list[StageRun] = field(default_factory=list)
    closed: int = 0

    def write(self, run: StageRun) -> None:
        self.fails("write")
        self.runs.append(run)

    def close(self) -> None:
        self.closed += 1
        self.fails("close")


SINKS: dict[str, Sink] = {}


def open_one(folder: Path, study: str) -> Sink:
    found = SINKS[folder.name]
    found.fails("open")
    return found


@pytest.fixture
def sinks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Sink]:
    SINKS.clear()
    SINKS.update(one=Sink(), two=Sink())
    made = {name: Tracker(name=name, opens=f"{__name__}:open_one") for name in SINKS}
    monkeypatch.setattr(trackers, "BUILT_IN", made)
    monkeypatch.setitem(__import__("sys").modules, __name__, __import__("sys").modules[__name__])
    return SINKS


def written(root: Path, study: Study, *names: str) -> list[dict[str, Any]]:
    """The events of one whole pass."""
    told: list[dict[str, Any]] = []
    writer = Writer(Store(root), study, root / "trackers", told.append)
    writer.open(names)
    writer.catch_up()
    writer.close()
    return told


def test_every_finished_stage_is_written_once_to_each(sinks: dict[str, Sink], tmp_path: Path) -> None:
    study = filled(tmp_path)
    told = written(tmp_path, study, "one", "two")
    for name, sink in sinks.items():
        assert [run.stage_id for run in sink.runs] == list(study.plan.stages)  # parents first
        assert sink.closed == 1
        assert [each["event"] for each in told if each["tracker"] == name] == [
            "opened",
            *["written"] * len(study.plan.stages),
            "closed",
        ]
    again = written(tmp_path, study, "one", "two")
    assert [each["event"] for each in again] == ["opened", "opened", "closed", "closed"]
    assert {each["found"] for each in again if each["event"] == "closed"} == {len(study.plan.stages)}
    assert len(sinks["one"].runs) == len(study.plan.stages)


def test_what_others_finish_meanwhile_is_caught_up(sinks: dict[str, Sink], tmp_path: Path) -> None:
    study = filled(tmp_path, without=("evaluation",))
    told: list[dict[str, Any]] = []
    writer = Writer(Store(tmp_path), study, tmp_path / "trackers", told.append)
    writer.open(["one"])
    writer.catch_up()
    before = len(sinks["one"].runs)
    assert before == sum(spec.kind != "evaluation" for spec in study.plan.stages.values())
    finish(tmp_path, study, who="a node of a cluster", result=result)
    writer.catch_up()
    assert {run.kind for run in sinks["one"].runs[before:]} == {"evaluation"}
    assert len(sinks["one"].runs) == len(study.plan.stages)


def test_a_stage_that_was_redone_is_written_again(sinks: dict[str, Sink], tmp_path: Path) -> None:
    study = filled(tmp_path)
    written(tmp_path, study, "one")
    (redone, *_) = (i for i, spec in study.plan.stages.items() if spec.kind == "evaluation")
    Store(tmp_path).stage(redone).archive_record()
    finish(tmp_path, study, who="bob", result=result)
    sinks["one"].runs.clear()
    written(tmp_path, study, "one")
    assert [run.stage_id for run in sinks["one"].runs] == [redone]


def test_another_place_gets_everything(sinks: dict[str, Sink], tmp_path: Path) -> None:
    study = filled(tmp_path)
    written(tmp_path, study, "one")
    sinks["one"].place = "there"
    written(tmp_path, study, "one")
    assert len(sinks["one"].runs) == 2 * len(study.plan.stages)


@pytest.mark.parametrize("when", ["open", "write", "close"])
def test_a_tracker_that_fails_is_told_once_and_the_other_gets_all(
    sinks: dict[str, Sink], tmp_path: Path, when: str
) -> None:
    study = filled(tmp_path)

    def fails(what: str) -> None:
        if what == when:
            raise RuntimeError("no such host")

    sinks["one"].fails = fails
    told = written(tmp_path, study, "one", "two")
    failed = [each for each in told if each["event"] == "failed"]
    assert failed == [{"tracker": "one", "event": "failed", "reason": "RuntimeError: no such host"}]
    assert len(sinks["two"].runs) == len(study.plan.stages)
    assert told[-1]["tracker"] == "two"
    sinks["one"].fails = lambda what: None  # the host is back
    written(tmp_path, study, "one", "two")
    assert [run.stage_id for run in sinks["one"].runs] == list(study.plan.stages)
    assert len(sinks["two"].runs) == len(study.plan.stages)


def test_what_was_written_before_a_failure_stays_written(sinks: dict[str, Sink], tmp_path: Path) -> None:
    study = filled(tmp_path)

    def fails_late(what: str) -> None:
        if what == "write" and len(sinks["one"].runs) == 3:
            raise OSError(28, "No space left on device")

    sinks["one"].fails = fails_late
    told = written(tmp_path, study, "one")
    assert [each["event"] for each in told] == ["opened", "written", "written", "written", "failed"]
    assert sinks["one"].closed == 1
    sinks["one"].fails = lambda what: None
    written(tmp_path, study, "one")
    assert [run.stage_id for run in sinks["one"].runs] == list(study.plan.stages)


def test_a_record_that_cannot_be_trusted_is_left_out(sinks: dict[str, Sink], tmp_path: Path) -> None:
    study = filled(tmp_path)
    stage_id = next(iter(study.plan.stages))
    path = Store(tmp_path).stage(stage_id).record_path
    path.write_text(path.read_text().replace('"started": 1.0', '"started": 1.5'))
    told = written(tmp_path, study, "one")
    assert stage_id not in {run.stage_id for run in sinks["one"].runs}
    assert len(sinks["one"].runs) == len(study.plan.stages) - 1
    assert told[-1]["event"] == "closed"


def test_the_list_of_what_is_there_takes_no_harm_from_a_torn_line(tmp_path: Path) -> None:
    found = Written(tmp_path / "trackers" / "x" / "mine.written.jsonl")
    assert found.keys("here") == set()
    found.add("here", "a")
    with found.path.open("a") as file:
        file.write('{"place": "here", "ru')
    found.add("here", "b")
    found.path.write_text(found.path.read_text() + '[1]\n{"place": "here", "run": 3}\n')
    assert found.keys("here") == {"a", "b"}
    assert found.keys("there") == set()
    assert json.loads(found.path.read_text().splitlines()[0]) == {"place": "here", "run": "a"}
