"""Checkpoints of a running stage: written aside, synced, renamed when complete; the last two are kept.

The library takes the largest checkpoint-N, complete or not. Here a checkpoint is valid only when COMPLETE lists every
file with the size and the SHA-256 it has on disk: a damaged one would silently continue with other numbers.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import is_disk_full
from harness.files import no_guard, sync_folder, sync_tree
from harness.identity import file_sha256

logger = logging.getLogger("harness")
COMPLETE = "COMPLETE.json"
KEPT = 2
PROBE_BYTES = 2**20


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoint folder of one stage.

    guard: called before a checkpoint appears and before anything is removed; what it raises prevents both.
    """

    folder: Path
    guard: Callable[[], None] = no_guard

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """A folder in which the block writes checkpoint-N; it appears under `self.folder` only when complete.

        Raises OSError when the disk is full, also where the library that wrote raises an error of its own.
        """
        staging = self.folder / f".writing.{uuid.uuid4().hex}"
        staging.mkdir(parents=True)
        try:
            try:
                yield staging
            except Exception as error:
                _raise_if_full(staging, error)
                raise
            (written,) = staging.iterdir()
            (written / COMPLETE).write_text(json.dumps(_contents(written), indent=1, sort_keys=True))
            sync_tree(written)
            self.guard()
            final = self.folder / written.name
            if final.exists():
                shutil.rmtree(final)
            written.rename(final)
            sync_folder(self.folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        steps = self._by_step()
        here = steps.index(final) + 1  # later ones were skipped when the run resumed from an older one
        self.guard()
        for other in (*steps[: max(here - KEPT, 0)], *steps[here:]):
            shutil.rmtree(other, ignore_errors=True)

    def latest(self) -> Path | None:
        """The newest valid checkpoint; incomplete and damaged ones are skipped, with a warning in the log.

        Removes what a killed writer left behind.
        """
        for unfinished in self.folder.glob(".writing.*"):
            self.guard()
            shutil.rmtree(unfinished, ignore_errors=True)
        for path in reversed(self._by_step()):
            problem = _problem(path)
            if problem is None:
                return path
            logger.warning("%s is skipped: %s", path.name, problem)
        return None

    def _by_step(self) -> list[Path]:
        found = [path for path in self.folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
        return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def _contents(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file but the completeness file."""
    return {
        path.name: {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in folder.iterdir()
        if path.is_file() and path.name != COMPLETE
    }


def _problem(folder: Path) -> str | None:
    """Why a checkpoint is not valid; None for one that is."""
    try:
        listed = json.loads((folder / COMPLETE).read_bytes())
        here = {path.name for path in folder.iterdir() if path.is_file()} - {COMPLETE}
        differing = sorted({*listed} ^ here) or [name for name in sorted(listed) if not _matches(folder / name, listed)]
    except (OSError, ValueError, TypeError, KeyError) as error:
        return f"{COMPLETE} cannot be read ({type(error).__name__}: {error})"
    return f"{', '.join(differing)} not as written" if differing else None


def _matches(path: Path, listed: dict[str, Any]) -> bool:
    entry = listed[path.name]
    if isinstance(entry, int):  # written by an earlier version, which listed sizes alone
        return path.stat().st_size == entry
    return bool(path.stat().st_size == entry["bytes"] and file_sha256(path) == entry["sha256"])


def _raise_if_full(folder: Path, error: Exception) -> None:
    """Raises OSError where not even a megabyte can be written: torch only reports an unexpected position."""
    if is_disk_full(error):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder.parent)) from error
    probe = folder / f".probe.{uuid.uuid4().hex}"
    try:
        with probe.open("wb") as handle:
            handle.write(bytes(PROBE_BYTES))
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as refused:
        if is_disk_full(refused):
            raise OSError(refused.errno, refused.strerror, str(folder.parent)) from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
