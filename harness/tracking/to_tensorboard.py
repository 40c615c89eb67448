"""TensorBoard: a folder for each study, and in it a folder with one file of events for each stage.

Values are 32-bit floats there. A stage's folder appears whole or not at all.
"""

from __future__ import annotations

import re
import shlex
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from harness.tracking.stage_run import Scalar, StageRun

SHOWN_DIGITS = 8  # of a stage's id, in the name of its folder


def open_study(folder: Path, study: str) -> TensorBoardStudy:
    return TensorBoardStudy(folder, study)


class TensorBoardStudy:
    """A study's folder."""

    def __init__(self, folder: Path, study: str) -> None:
        self._folder = folder / study
        self.place = str(self._folder)
        self.view = shlex.join(["tensorboard", "--logdir", str(folder)])

    def write(self, run: StageRun) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder.parent / f".{run.key}.{uuid.uuid4().hex}"
        try:
            writer = EventFileWriter(str(temporary))
            for event in _events(run):
                writer.add_event(event)
            writer.close()
            for earlier in self._folder.glob(f"*-{run.stage_id[:SHOWN_DIGITS]}"):
                shutil.rmtree(earlier)
            temporary.rename(self._folder / _name(run))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def close(self) -> None:
        """Every stage's file is closed when it is written."""


def _name(run: StageRun) -> str:
    words = re.sub(r"[^\w.-]+", "-", run.name)[:150]
    return f"{words}-{run.stage_id[:SHOWN_DIGITS]}"


def _events(run: StageRun) -> Iterator[Event]:
    """Settings first, as the plugin for hyperparameters asks; then the curves, the final numbers, where it is from."""
    settings = {**{f"tag.{name}": value for name, value in run.tags.items()}, **run.parameters}
    yield Event(wall_time=run.started, summary=hparams_pb(settings, trial_id=run.key, start_time_secs=run.started))
    for step, values in run.by_step():
        for name, value in values.items():
            yield _scalar(name, value, step, run.time_of(step))
    for name, value in run.metrics.items():
        yield _scalar(name, value, run.steps, run.ended)
    for title, rows in (("settings", settings), ("provenance", run.facts)):
        yield Event(wall_time=run.ended, summary=text_pb(title, _table(rows)))


def _scalar(name: str, value: float, step: int, time: float) -> Event:
    return Event(wall_time=time, step=step, summary=Summary(value=[Summary.Value(tag=name, simple_value=value)]))


def _table(rows: Mapping[str, Scalar]) -> str:
    lines = [f"| {name} | {str(value).replace('|', '&#124;')} |" for name, value in rows.items()]
    return "\n".join(["| name | value |", "| --- | --- |", *lines])
