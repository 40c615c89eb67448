"""trackio: a project for each study, a run for each stage, in a local folder (TRACKIO_DIR, else the tracker's own).

TRACKIO_SPACE_ID and TRACKIO_SERVER_URL are trackio's own. It warns where it could not write, and goes on: here that is
an error.
"""

from __future__ import annotations

import importlib
import os
import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.tracking.stage_run import StageRun


class NotWritten(Exception):
    """trackio said that it could not write."""


def open_study(folder: Path, study: str) -> TrackioStudy:
    place = os.environ.setdefault("TRACKIO_DIR", str(folder.absolute()))  # read when it is imported
    return TrackioStudy(importlib.import_module("trackio"), place, study)


class TrackioStudy:
    """A study's project."""

    def __init__(self, trackio: Any, place: str, study: str) -> None:
        self._trackio, self._project = trackio, study
        remote = os.environ.get("TRACKIO_SPACE_ID") or os.environ.get("TRACKIO_SERVER_URL")
        self.place = f"{remote or place} project {study}"
        show = shlex.join(["trackio", "show", "--project", study])
        self.view = remote or f"{shlex.join(['env', f'TRACKIO_DIR={place}'])} {show}"

    def write(self, run: StageRun) -> None:
        self._remove_earlier(run)
        with _warnings_raised():
            written = self._trackio.init(
                project=self._project,
                name=run.name,
                group=run.group,
                config={**run.facts, **run.parameters, **{f"tag.{name}": value for name, value in run.tags.items()}},
                resume="never",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
            for step, values in run.by_step():
                written.log(values, step=step)
            if run.metrics:
                written.log(dict(run.metrics), step=run.steps)
            written.finish()

    def _remove_earlier(self, run: StageRun) -> None:
        """Of the same stage: half-written, or of a record that was redone since. On a server they stay."""
        try:
            runs = list(self._trackio.Api().runs(self._project))
        except ValueError:  # there is no such project yet
            return
        for earlier in runs:
            if earlier.name == run.name:
                earlier.delete()

    def close(self) -> None:
        """Every run is finished when it is written."""


@contextmanager
def _warnings_raised() -> Iterator[None]:
    """Raises NotWritten with what trackio warned of, from any of its threads, once the block is over."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        yield
    if failed := [str(each.message) for each in told if issubclass(each.category, UserWarning)]:
        raise NotWritten(failed[0])
