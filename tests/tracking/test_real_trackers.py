"""Each tracker's own reader finds what the records say: points, settings, final numbers, one run for each stage."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filled_stores import finish
from grid_world import python
from tracked_store import filled, result

from harness.store.store import Store
from harness.studies.study import Study
from harness.tracking.stage_run import StageRun, StageRuns

Curves = Mapping[str, Sequence[tuple[int, float]]]


@dataclass
class Found:
    """What a reader finds of a run. settings: as texts."""

    name: str
    settings: Mapping[str, str]
    curves: Curves
    finals: Mapping[str, float]


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return filled(tmp_path / "runs", methods=["prune-ofa"])


def track(root: Path, name: str, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    for key in ("WANDB_MODE", "WANDB_PROJECT", "MLFLOW_TRACKING_URI", "TRACKIO_DIR", "TRACKIO_SPACE_ID"):
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    done = python("-m", "harness", "track", "--store", str(root / "runs"), "--to", name, "--json")
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)["trackers"]
    return dict(told)


def check(
    root: Path,
    study: Study,
    name: str,
    read: Callable[[Path], list[Found]],
    monkeypatch: pytest.MonkeyPatch,
    digits: float = 1e-12,
    **environment: str,
) -> None:
    """Track, read back and compare; twice is once; a redone stage stands in the place of the earlier one."""
    total = len(study.plan.stages)
    assert track(root, name, environment, monkeypatch)["written"] == total
    expected = runs_of(root, study)
    found = read(root / "runs" / "trackers" / name)
    assert sorted(each.name for each in found) == sorted(expected)
    for each in found:
        run = expected[each.name]
        assert {key: [step for step, _ in points] for key, points in each.curves.items()} == {
            key: [step for step, _ in points] for key, points in run.curves.items()
        }
        for key, points in run.curves.items():
            assert [v for _, v in each.curves[key]] == pytest.approx([v for _, v in points], rel=digits)
        assert each.finals == pytest.approx(run.metrics, rel=digits)
        assert {key: str(value) for key, value in run.parameters.items()}.items() <= each.settings.items()
    assert track(root, name, environment, monkeypatch)["written"] == 0
    assert len(read(root / "runs" / "trackers" / name)) == total


def runs_of(root: Path, study: Study) -> dict[str, StageRun]:
    runs, store = StageRuns.of(study), Store(root / "runs")
    made = [runs.run(stage_id, store.stage(stage_id).read_record()) for stage_id in study.plan.stages]
    return {run.name: run for run in made}


def redo(root: Path, study: Study) -> str:
    """Another record of an evaluation; its name."""
    (stage_id, *_) = (i for i, spec in study.plan.stages.items() if spec.kind == "evaluation")
    Store(root / "runs").stage(stage_id).archive_record()
    finish(root / "runs", study, who="bob", result=result)
    return study.plan.label(stage_id)


def split(series: Mapping[str, Sequence[tuple[int, float]]]) -> tuple[Curves, dict[str, float]]:
    """The curves, and the final numbers, which have one point."""
    curves = {name: points for name, points in series.items() if name.startswith("train/")}
    return curves, {name: points[-1][1] for name, points in series.items() if name not in curves}


def from_tensorboard(folder: Path) -> list[Found]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    found = []
    for run in (folder / "mine").iterdir():
        read = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
        series = {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}
        told = HParamsPluginData.FromString(read.SummaryMetadata("_hparams_/session_start_info").plugin_data.content)
        table = {row.split(" | ")[0][2:]: row.split(" | ")[1][:-2] for row in _text(read).splitlines()[2:]}
        assert told.session_start_info.hparams.keys() == table.keys()
        found.append(Found(_named(run.name), table, *split(series)))
    return found


def _text(read: Any) -> str:
    return str(read.Tensors("settings")[0].tensor_proto.string_val[0].decode())


def _named(folder: str) -> str:
    return folder.rpartition("-")[0].replace("-", " ")


def test_tensorboard(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    expected = runs_of(tmp_path, study)
    names = {name.replace("-", " "): name for name in expected}

    def read(folder: Path) -> list[Found]:
        return [Found(names[each.name], each.settings, each.curves, each.finals) for each in from_tensorboard(folder)]

    check(tmp_path, study, "tensorboard", read, monkeypatch, digits=1e-6)
    name = redo(tmp_path, study)
    assert track(tmp_path, "tensorboard", {}, monkeypatch)["written"] == 1
    found = [each for each in read(tmp_path / "runs" / "trackers" / "tensorboard") if each.name == name]
    assert len(found) == 1
    left = [path.name for path in (tmp_path / "runs" / "trackers" / "tensorboard").iterdir()]
    assert sorted(left) == ["mine", "mine.written.jsonl"]


def from_trackio(folder: Path) -> list[Found]:
    with sqlite3.connect(f"file:{folder / 'mine.db'}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT run_name, step, metrics FROM metrics ORDER BY step").fetchall()
        configs = dict(database.execute("SELECT run_name, config FROM configs").fetchall())
    series: dict[str, dict[str, list[tuple[int, float]]]] = {name: {} for name in configs}
    for name, step, metrics in rows:
        for key, value in json.loads(metrics).items():
            series[name].setdefault(key, []).append((step, value))
    return [
        Found(name, {key: str(value) for key, value in json.loads(config).items()}, *split(series[name]))
        for name, config in configs.items()
    ]


@pytest.mark.slow
def test_trackio(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio")
    check(tmp_path, study, "trackio", from_trackio, monkeypatch)
    name = redo(tmp_path, study)
    assert track(tmp_path, "trackio", {}, monkeypatch)["written"] == 1
    found = from_trackio(tmp_path / "runs" / "trackers" / "trackio")
    assert [each.name for each in found].count(name) == 1
    assert len(found) == len(study.plan.stages)


def records_of_wandb(path: Path) -> list[Any]:
    """The records of an offline run's file: LevelDB's log, blocks of 32 KiB, after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, pieces, found = path.read_bytes(), 7, b"", []
    while place < len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        pieces += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or its last piece
            found.append(Record.FromString(pieces))
            pieces = b""
    return found


def from_wandb(folder: Path) -> list[Found]:
    found = []
    for path in folder.glob("wandb/offline-run-*/*.wandb"):
        records = records_of_wandb(path)
        (run,) = (record.run for record in records if record.HasField("run"))
        assert (run.project, run.run_group != "", run.run_id in path.name) == ("mine", True, True)
        assert f"kind={run.job_type}" in run.tags
        settings = {each.key: json.loads(each.value_json) for each in run.config.update}
        curves: dict[str, list[tuple[int, float]]] = {}
        for history in (record.history for record in records if record.HasField("history")):
            row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in history.item}
            for key in (key for key in row if not key.startswith("_")):
                curves.setdefault(key, []).append((row["_step"], row[key]))
        finals: dict[str, float] = {}
        for summary in (record.summary for record in records if record.HasField("summary")):
            finals |= {item.key or item.nested_key[0]: json.loads(item.value_json) for item in summary.update}
        finals = {key: value for key, value in finals.items() if not key.startswith(("_", "train/"))}
        found.append(Found(run.display_name, {key: str(value) for key, value in settings.items()}, curves, finals))
    return found


@pytest.mark.slow  # it takes half a second for each run
def test_wandb_offline(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    check(tmp_path, study, "wandb", from_wandb, monkeypatch, WANDB_MODE="offline")


@pytest.mark.slow  # its database takes ten seconds to make
def test_mlflow(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("mlflow", "sqlalchemy", "alembic"):
        pytest.importorskip(package)
    from mlflow.tracking import MlflowClient

    def read(folder: Path) -> list[Found]:
        client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("mine")
        found = []
        for run in client.search_runs([experiment.experiment_id]):
            assert run.info.status == "FINISHED"
            assert (run.info.start_time, run.info.end_time) == (1000, 2000)
            assert run.data.tags["study"] == "mine"
            series = {
                key: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, key)]
                for key in run.data.metrics
            }
            found.append(Found(run.info.run_name, run.data.params, *split(series)))
        return found

    check(tmp_path, study, "mlflow", read, monkeypatch)
    name = redo(tmp_path, study)
    assert track(tmp_path, "mlflow", {}, monkeypatch)["written"] == 1
    assert [each.name for each in read(tmp_path / "runs" / "trackers" / "mlflow")].count(name) == 1
