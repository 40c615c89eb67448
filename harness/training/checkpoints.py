"""Checkpoints of a stage under way: written aside, made durable, renamed whole; the last two are kept.

The library takes the largest checkpoint-N, whole or not; here a checkpoint counts only when the file COMPLETE lists
every file with the size it has on disk.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.store import sync_folder, sync_tree

COMPLETE = "COMPLETE.json"
KEPT = 2


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoint folder of one stage."""

    folder: Path

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """A folder in which the block writes checkpoint-N; it appears under `self.folder` only when complete."""
        staging = self.folder / f".writing.{uuid.uuid4().hex}"
        staging.mkdir(parents=True)
        try:
            yield staging
            (written,) = staging.iterdir()
            (written / COMPLETE).write_text(json.dumps(_sizes(written), indent=1, sort_keys=True))
            sync_tree(written)
            final = self.folder / written.name
            if final.exists():
                shutil.rmtree(final)
            written.rename(final)
            sync_folder(self.folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        for older in self._by_step()[:-KEPT]:
            shutil.rmtree(older, ignore_errors=True)

    def latest(self) -> Path | None:
        """The newest complete checkpoint, half-written ones passed over; leavings of a killed writer are removed."""
        for leaving in self.folder.glob(".writing.*"):
            shutil.rmtree(leaving, ignore_errors=True)
        return next((path for path in reversed(self._by_step()) if _is_complete(path)), None)

    def _by_step(self) -> list[Path]:
        found = [path for path in self.folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
        return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def _sizes(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_size for p in folder.iterdir() if p.is_file() and p.name != COMPLETE}


def _is_complete(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / COMPLETE).read_text()) == _sizes(folder))
    except (OSError, ValueError):
        return False
