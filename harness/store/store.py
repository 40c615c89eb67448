"""The store: plain files under one folder, safe on a shared file system.

    studies/NAME.json             cells, recipe, stage specs
    records/ab/STAGE.json         finished stages; small, self-digesting
    artifacts/STAGE/              models in the ecosystem's format; bulky
    attempts/STAGE/N.jsonl        one line per event of attempt N, append-only; N.log and N.progress beside it
    attempts/STAGE/N.cancel       a request that attempt N stop and the stage not start again until it is retried
    invalidated/STAGE.K.json      records whose result was no longer wanted; kept
    leases/STAGE/N                who may run the stage; see `leases`
    leases/study-NAME/N           who may change the study
    checkpoints/STAGE/            of a stage under way; removed when the record is in
    workers/NAME.log              what the worker processes of this machine print
    content_hashes.json           hashes by path, size and time; only a cache

A record or an artifact is there whole or not at all, and a finished record is never written over.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import StoreError, UsageError
from harness.files import no_guard, sync_folder, sync_tree, write_new
from harness.identity import canonical_json, sha256_of
from harness.store.attempts import Attempt, fold_events
from harness.wording import option

RECORD_SCHEMA = 1
STUDY_LEASE = "study-"  # no stage id begins so


def _names(folder: Path, suffix: str) -> set[str]:
    """Names of a folder's entries that end in `suffix`, without it; empty when there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name.removesuffix(suffix) for entry in entries if entry.name.endswith(suffix)}
    except FileNotFoundError:
        return set()


@dataclass(frozen=True)
class Store:
    """Paths and the few operations that must be atomic. Creating one touches no disk."""

    root: Path

    def invalidation(self, stage_id: str) -> str:
        """The command that takes a stage of this store back, to be copied from a message."""
        return f"harness invalidate {stage_id} --store {shlex.quote(str(self.root))}"

    def _again(self, stage_id: str) -> str:
        """The next move for a record that cannot be trusted; removing it alone would leave what was made from it."""
        return f"Put back what was written, or make it and what rests on it again: {self.invalidation(stage_id)}"

    def study_path(self, name: str) -> Path:
        return self.root / "studies" / f"{name}.json"

    def record_path(self, stage_id: str) -> Path:
        return self.root / "records" / stage_id[:2] / f"{stage_id}.json"

    def artifact_path(self, stage_id: str) -> Path:
        return self.root / "artifacts" / stage_id

    def attempts_path(self, stage_id: str) -> Path:
        return self.root / "attempts" / stage_id

    def lease_path(self, stage_id: str) -> Path:
        return self.root / "leases" / stage_id

    def study_lease_path(self, name: str) -> Path:
        return self.root / "leases" / f"{STUDY_LEASE}{name}"

    def checkpoints_path(self, stage_id: str) -> Path:
        return self.root / "checkpoints" / stage_id

    @property
    def content_hashes_path(self) -> Path:
        return self.root / "content_hashes.json"

    @property
    def workers_path(self) -> Path:
        return self.root / "workers"

    def invalidated_path(self, stage_id: str, number: int) -> Path:
        return self.root / "invalidated" / f"{stage_id}.{number}.json"

    def check_is_folder(self) -> None:
        """Raises UsageError where a store can neither be nor become, because a file has its name or a parent's."""
        for path in (self.root, *self.root.parents):
            if path.is_dir():
                return
            if path.exists():
                raise UsageError(f"store {self.root}: {path} is a file. Name a folder with {option('store')}.")

    def check_writable(self) -> None:
        """Raises OSError where a small file cannot be written below the root: read-only, not ours, a full disk."""
        path = self.root / f".writable.{uuid.uuid4().hex}"
        try:
            write_new(path, "here")
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    # -- records

    def has_record(self, stage_id: str) -> bool:
        return self.record_path(stage_id).is_file()

    def finished(self, stage_ids: Iterable[str]) -> set[str]:
        """Those of the stages whose record is in; one listing a folder of records instead of a look at every file."""
        wanted = set(stage_ids)
        folders = {
            self.record_path(stage_id).parent for stage_id in {stage_id[:2]: stage_id for stage_id in wanted}.values()
        }
        return {name for folder in folders for name in _names(folder, ".json")} & wanted

    def recorded(self) -> list[str]:
        """The ids of all stages whose record is in, in order."""
        folders = sorted(entry for entry in (self.root / "records").glob("??"))
        return sorted(name for folder in folders for name in _names(folder, ".json"))

    def read_record(self, stage_id: str) -> dict[str, Any]:
        """The record of a finished stage, its digest checked.

        Raises FileNotFoundError when there is none, StoreError when it was edited or belongs to another stage.
        """
        path = self.record_path(stage_id)
        try:
            record = json.loads(path.read_bytes())
        except ValueError as error:
            raise StoreError(f"record {path} is damaged ({error}). {self._again(stage_id)}") from None
        if not isinstance(record, dict):
            raise StoreError(f"record {path} is damaged (not an object). {self._again(stage_id)}")
        if record.get("schema") != RECORD_SCHEMA:
            raise StoreError(f"record {path}: schema {record.get('schema')}, expected {RECORD_SCHEMA}.")
        claimed = record.pop("digest", None)
        if claimed != sha256_of(record):
            raise StoreError(
                f"record {path} was changed after it was written (its digest does not fit). {self._again(stage_id)}"
            )
        if record.get("stage_id") != stage_id:
            raise StoreError(f"record {path} belongs to stage {record.get('stage_id')}.")
        record["digest"] = claimed
        return record

    def publish_record(self, record: Mapping[str, Any], *, guard: Callable[[], None] = no_guard) -> str:
        """Write a finished stage's record with its own digest; returns the digest. Never over an existing one.

        guard: called last before the record appears; what it raises keeps the record from appearing.
        """
        content = json.loads(canonical_json({"schema": RECORD_SCHEMA, **record}))  # as a reader will see it
        content["digest"] = sha256_of(content)
        path = self.record_path(content["stage_id"])
        write_new(path, json.dumps(content, indent=1, sort_keys=True) + "\n", guard=guard)
        return str(content["digest"])

    def set_record_aside(self, stage_id: str) -> Path | None:
        """Move the record to invalidated/, where nothing reads it; returns its new place. For the lease's holder."""
        number = 1
        while (aside := self.invalidated_path(stage_id, number)).exists():
            number += 1
        aside.parent.mkdir(parents=True, exist_ok=True)
        path = self.record_path(stage_id)
        try:
            path.rename(aside)
        except FileNotFoundError:
            return None
        sync_folder(aside.parent)
        sync_folder(path.parent)
        return aside

    # -- artifacts

    @contextlib.contextmanager
    def new_artifact(self, stage_id: str, *, guard: Callable[[], None] = no_guard) -> Iterator[Path]:
        """A temporary folder that becomes the stage's artifact when the block ends without an error and `guard` passes.

        For the holder of the stage's lease: what a worker that was killed left half-written is removed.

        An artifact left by an attempt that died before its record was written is replaced; one whose record is in is
        not (StoreError): somebody else finished the stage meanwhile.
        """
        final = self.artifact_path(stage_id)
        final.parent.mkdir(parents=True, exist_ok=True)
        for leaving in final.parent.glob(f".{stage_id}.*"):
            shutil.rmtree(leaving, ignore_errors=True)
        temporary = final.with_name(f".{stage_id}.{uuid.uuid4().hex}")
        temporary.mkdir()
        try:
            yield temporary
            sync_tree(temporary)
            guard()
            if self.has_record(stage_id):
                raise StoreError(f"stage {stage_id} was finished by another worker meanwhile; its result stands.")
            if final.exists():
                shutil.rmtree(final)
            temporary.rename(final)
            sync_folder(final.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    # -- attempts

    def begin_attempt(self, stage_id: str, event: Mapping[str, Any]) -> int:
        """Reserve the next attempt number and write its first event."""
        folder = self.attempts_path(stage_id)
        number = max([attempt.number for attempt in self.attempts(stage_id)], default=0) + 1
        while True:
            path = folder / f"{number}.jsonl"
            try:
                write_new(path, canonical_json({"event": "started", **event}) + "\n")
                return number
            except FileExistsError:
                if not path.exists():  # it is the folder that cannot be made
                    raise
                number += 1

    def end_attempt(self, stage_id: str, number: int, event: Mapping[str, Any]) -> None:
        self._append(stage_id, number, {"event": "ended", **event})

    def note_end(self, stage_id: str, number: int, event: Mapping[str, Any]) -> None:
        """`end_attempt` where that can be written. On a full disk an attempt stays open, as that of a killed worker:

        its stage counts as done where its record is in, and otherwise waits to be started again.
        """
        with contextlib.suppress(OSError):
            self.end_attempt(stage_id, number, event)

    def retry_attempt(self, stage_id: str, number: int, event: Mapping[str, Any]) -> None:
        """Lift how an attempt ended, so that its stage waits to be started again."""
        self._append(stage_id, number, {"event": "retried", **event})

    def _append(self, stage_id: str, number: int, event: Mapping[str, Any]) -> None:
        with (self.attempts_path(stage_id) / f"{number}.jsonl").open("ab+") as handle:
            handle.seek(max(handle.seek(0, os.SEEK_END) - 1, 0))
            torn = handle.read() != b"\n"  # a writer was killed in its line, and this one must not join it
            handle.write(b"\n" * torn + canonical_json(event).encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())

    def cancel_path(self, stage_id: str, number: int) -> Path:
        return self.attempts_path(stage_id) / f"{number}.cancel"

    def attempt_log(self, stage_id: str, number: int) -> Path:
        return self.attempts_path(stage_id) / f"{number}.log"

    def attempt_progress(self, stage_id: str, number: int) -> Path:
        return self.attempts_path(stage_id) / f"{number}.progress"

    def with_checkpoints(self) -> set[str]:
        """The stages that have a folder of checkpoints."""
        return _names(self.root / "checkpoints", "")

    def attempted(self) -> set[str]:
        """The stages that have a folder of attempts."""
        return _names(self.root / "attempts", "")

    def leased(self) -> set[str]:
        """The stages that have a folder of leases."""
        return {name for name in _names(self.root / "leases", "") if not name.startswith(STUDY_LEASE)}

    def attempts(self, stage_id: str) -> list[Attempt]:
        """All attempts at a stage, oldest first; torn last lines are ignored."""
        folder = self.attempts_path(stage_id)
        if not folder.is_dir():
            return []
        names = {path.name for path in folder.iterdir()}
        numbers = sorted(
            int(stem)
            for stem, _, suffix in (name.partition(".") for name in names)
            if suffix == "jsonl" and stem.isdigit()
        )
        return [
            fold_events(
                number, (folder / f"{number}.jsonl").read_bytes().decode(errors="replace"), f"{number}.cancel" in names
            )
            for number in numbers
        ]
