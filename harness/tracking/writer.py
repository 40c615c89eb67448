"""Writes the finished stages of a study to trackers, each once. A tracker that fails is left alone from then on."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.planning.foreign_code import told
from harness.store.store import Store
from harness.studies.study import Study
from harness.tracking.stage_run import StageRun, StageRuns
from harness.tracking.trackers import Sink, Tracker, find_tracker
from harness.tracking.written import Written

logger = logging.getLogger("harness")
Tell = Callable[[dict[str, Any]], None]


@dataclass
class _Open:
    """A tracker that is written to. there: what it has, by key; of the study's stages, `found` were there before."""

    sink: Sink
    written: Written
    there: set[str]
    found: int = 0


@dataclass
class Writer:
    """folder: of all trackers; each has one of its own below it.

    tell: called with what happened, an object of tracker and event: "opened" (place, view), "written" (stage),
    "failed" (reason), after which nothing more comes of that tracker, or "closed" (found: stages that it had before).
    """

    store: Store
    study: Study
    folder: Path
    tell: Tell
    _open: dict[str, _Open] = field(default_factory=dict)
    _looked_at: set[str] = field(default_factory=set)
    _runs: StageRuns = field(init=False)

    def __post_init__(self) -> None:
        self._runs = StageRuns.of(self.study)

    def open(self, names: Sequence[str]) -> None:
        """Open the trackers of these names, as far as that is possible."""
        for name in names:
            try:
                self._open[name] = self._opened(find_tracker(name))
            except Exception as error:
                self._failed(name, error)
            else:
                sink = self._open[name].sink
                self.tell({"tracker": name, "event": "opened", "place": sink.place, "view": sink.view})

    def _opened(self, tracker: Tracker) -> _Open:
        folder = self.folder / tracker.name
        folder.mkdir(parents=True, exist_ok=True)
        module, _, function = tracker.opens.partition(":")
        sink: Sink = getattr(importlib.import_module(module), function)(folder, self.study.name)
        written = Written(folder / f"{self.study.name}.written.jsonl")
        return _Open(sink, written, written.keys(sink.place))

    def catch_up(self) -> None:
        """Write all that has a record and that a tracker lacks, parents first."""
        finished = self.store.finished(self.study.plan.stages) - self._looked_at
        for stage_id in (each for each in self.study.plan.stages if each in finished):
            if not self._open:
                return
            self._looked_at.add(stage_id)
            try:
                record = self.store.stage(stage_id).read_record(self.study.plan.stages[stage_id])
            except (StoreError, OSError) as error:  # the run says so, and every page
                logger.warning("not written: %s", error)
                continue
            self._write(self._runs.run(stage_id, record))

    def _write(self, run: StageRun) -> None:
        for name, found in list(self._open.items()):
            if run.key in found.there:
                found.found += 1
                continue
            try:
                found.sink.write(run)
                found.written.add(found.sink.place, run.key)
            except Exception as error:
                self._failed(name, error)
                continue
            found.there.add(run.key)
            self.tell({"tracker": name, "event": "written", "stage": run.stage_id})

    def close(self) -> None:
        for name, found in list(self._open.items()):
            try:
                found.sink.close()
            except Exception as error:
                self._failed(name, error)
            else:
                self.tell({"tracker": name, "event": "closed", "found": found.found})
        self._open.clear()

    def _failed(self, name: str, error: Exception) -> None:
        logger.warning("tracker %s", name, exc_info=error)
        found = self._open.pop(name, None)
        if found is not None:
            with suppress(Exception):
                found.sink.close()
        self.tell({"tracker": name, "event": "failed", "reason": told(error)})
