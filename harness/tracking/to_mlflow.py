"""MLflow: an experiment for each study, a run for each stage; in MLFLOW_TRACKING_URI, or in a local SQLite file."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from harness.tracking.stage_run import StageRun

MOST_METRICS, MOST_PARAMETERS = 1000, 100  # of one call
MOST_CHARACTERS = 6000  # of a parameter's value
T = TypeVar("T")
STAGE = "stage_id"  # the tag by which a stage's run is found again


def open_study(folder: Path, study: str) -> MlflowStudy:
    return MlflowStudy(folder, study)


class MlflowStudy:
    """A study's experiment."""

    def __init__(self, folder: Path, study: str) -> None:
        local = f"sqlite:///{folder.absolute() / 'mlflow.db'}"
        uri = os.environ.get("MLFLOW_TRACKING_URI") or local
        self._client = MlflowClient(tracking_uri=uri)
        found = self._client.get_experiment_by_name(study)
        artifacts = (folder.absolute() / "artifacts").as_uri() if uri == local else None
        self._experiment = found.experiment_id if found else self._client.create_experiment(study, artifacts)
        self.place = f"{uri} experiment {study}"
        self.view = shlex.join(["mlflow", "ui", "--backend-store-uri", uri]) if uri == local else uri

    def write(self, run: StageRun) -> None:
        self._remove_earlier(run)
        tags = {**run.tags, **run.facts, "group": run.group}
        made = self._client.create_run(
            self._experiment,
            start_time=_milliseconds(run.started),
            run_name=run.name,
            tags={name: str(value) for name, value in tags.items()},
        ).info.run_id
        settings = [Param(name, str(value)[:MOST_CHARACTERS]) for name, value in run.parameters.items()]
        for params in _batches(settings, MOST_PARAMETERS):
            self._client.log_batch(made, params=params)
        points = [
            Metric(name, value, _milliseconds(run.time_of(step)), step)
            for step, values in run.by_step()
            for name, value in values.items()
        ]
        points += [Metric(name, value, _milliseconds(run.ended), run.steps) for name, value in run.metrics.items()]
        for metrics in _batches(points, MOST_METRICS):
            self._client.log_batch(made, metrics=metrics)
        self._client.set_terminated(made, "FINISHED", end_time=_milliseconds(run.ended))

    def _remove_earlier(self, run: StageRun) -> None:
        """Of the same stage: half-written, or of a record that was redone since."""
        for earlier in self._client.search_runs([self._experiment], f"tags.{STAGE} = '{run.stage_id}'"):
            self._client.delete_run(earlier.info.run_id)

    def close(self) -> None:
        """The client holds nothing open."""


def _batches(values: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    for begin in range(0, len(values), most):
        yield values[begin : begin + most]


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
