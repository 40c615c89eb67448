"""The store: plain files under one folder, safe on a shared file system.

    studies/NAME.json             cells, recipe, stage specs
    records/ab/STAGE.json         finished stages; small, self-digesting
    artifacts/STAGE/              models in the ecosystem's format; bulky
    attempts/STAGE/N.jsonl        one line per event of attempt N, append-only; N.log and N.progress beside it
    attempts/STAGE/N.cancel       a request that attempt N stop and the stage not start again until it is retried
    twins/STAGE/DIGEST.json       of a merged store: another record of the stage with the same outcome; see
                                  `studies.twins`
    invalidated/STAGE.K.json      archived records of invalidated stages
    leases/STAGE/N                who may run the stage; see `leases`
    leases/study-NAME/N           who may change the study
    checkpoints/STAGE/            of a running stage; removed when it is finished
    workers/NAME.log              what the worker processes of this machine print
    submissions/UUID.json         a job array on a cluster, with its tasks' logs; see `submissions`
    leases/submission/N           who may submit
    trackers/                     what `--track` and `harness track` wrote; see `harness.tracking`
    content_hashes.json           hashes by path, size and time; only a cache

This module answers for many stages at once, from listings of folders; the files of one stage are `stage.StoredStage`.
Where stages are listed, entries that are named otherwise are not the store's and are passed over.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import StoreError, UsageError
from harness.files import write_new
from harness.identity import is_stage_id
from harness.store.stage import StoredStage
from harness.store.submissions import Ledger
from harness.wording import option

STUDY_LEASE = "study-"  # no stage id begins so
SUBMISSION_LEASE = "submission"


@dataclass(frozen=True)
class Store:
    """root: the folder. Creating one touches no disk."""

    root: Path

    def stage(self, stage_id: str) -> StoredStage:
        """The files of one stage."""
        return StoredStage(self.root, stage_id)

    def study_path(self, name: str) -> Path:
        return self.root / "studies" / f"{name}.json"

    def study_lease_path(self, name: str) -> Path:
        return self.root / "leases" / f"{STUDY_LEASE}{name}"

    @property
    def records_path(self) -> Path:
        return self.root / "records"

    @property
    def content_hashes_path(self) -> Path:
        return self.root / "content_hashes.json"

    @property
    def submission_lease_path(self) -> Path:
        return self.root / "leases" / SUBMISSION_LEASE

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.root / "submissions")

    @property
    def workers_path(self) -> Path:
        return self.root / "workers"

    def blocked_by(self) -> Path | None:
        """The file that has the store's name or a parent's, because of which the store can neither be nor become."""
        nearest = next(path for path in (self.root.absolute(), *self.root.absolute().parents) if path.exists())
        return None if nearest.is_dir() else nearest

    def check_is_folder(self) -> None:
        """Raises UsageError where a file stands in the store's way."""
        if (file := self.blocked_by()) is not None:
            raise UsageError(f"store {self.root}: {file} is a file. Name a folder with {option('store')}.")

    def check_writable(self) -> None:
        """Raises OSError where a small file cannot be written below the root: read-only, not ours, a full disk."""
        path = self.root / f".writable.{uuid.uuid4().hex}"
        try:
            write_new(path, "here")
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def finished(self, stage_ids: Iterable[str]) -> set[str]:
        """Those of the stages that have a record. Lists folders of records instead of looking at every file."""
        wanted = set(stage_ids)
        one_per_folder = {stage_id[:2]: stage_id for stage_id in wanted}.values()
        folders = [self.stage(stage_id).record_path.parent for stage_id in one_per_folder]
        return {name for folder in folders for name in _names(folder, ".json")} & wanted

    def check_is_there(self) -> None:
        """Raises StoreError where the store, which had records before, has no folder of them any more."""
        if not self.records_path.is_dir():
            raise StoreError(
                f"the store {self.root} is gone: somebody removed or renamed it while it was in use. Bring it back and "
                "give the same command again, which goes on; without it, the command starts from the beginning."
            )

    def recorded(self) -> list[str]:
        """The ids of all stages that have a record, in order."""
        return sorted(name for folder in self.records_path.glob("??") for name in _stages(folder, ".json"))

    def with_checkpoints(self) -> set[str]:
        """The stages that have a folder of checkpoints."""
        return _stages(self.root / "checkpoints")

    def attempted(self) -> set[str]:
        """The stages that have a folder of attempts."""
        return _stages(self.root / "attempts")

    def leased(self) -> set[str]:
        """The stages that have a folder of leases."""
        return _stages(self.root / "leases")


def _stages(folder: Path, suffix: str = "") -> set[str]:
    """The ids of the stages that have an entry in a folder."""
    return {name for name in _names(folder, suffix) if is_stage_id(name)}


def _names(folder: Path, suffix: str) -> set[str]:
    """Names of a folder's entries that end in `suffix`, without it; empty when there is no such folder."""
    try:
        return {name.removesuffix(suffix) for name in os.listdir(folder) if name.endswith(suffix)}
    except (FileNotFoundError, NotADirectoryError):
        return set()
