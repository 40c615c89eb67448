"""One stage of a store: its record, artifact, checkpoints, attempts, cancel requests and lease.

The layout of the files is that of `harness.store.store`. A record or an artifact exists whole or not at all, and a
record is never overwritten.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.files import discard_folder, no_guard, read_small, sync_folder, sync_tree, write_new
from harness.identity import canonical_json, is_stage_id, parse_json, sha256_of
from harness.specs import StageSpec, are_of
from harness.store.attempts import STOP_REQUESTED, Attempt, fold_events
from harness.store.leases import Holder, Lease, acquire, current_holder, is_number
from harness.store.processes import is_gone, is_live, this_process
from harness.store.record_form import form_problem
from harness.store.record_text import RecordTexts
from harness.wording import command, shown

RECORD_SCHEMA = 1
CHECKPOINT = "checkpoint-"  # before the number of the optimizer step


@dataclass(frozen=True)
class StoredStage:
    """root: of the store. Creating a StoredStage touches no disk; every method reads the files as they are now."""

    root: Path
    stage_id: str

    # -- paths

    @property
    def record_path(self) -> Path:
        return Path(self._record_name)

    @property
    def _record_name(self) -> str:
        """The same as a text: sooner where thousands of records are read."""
        return os.path.join(self.root, "records", self.stage_id[:2], f"{self.stage_id}.json")

    @property
    def artifact_path(self) -> Path:
        return self.root / "artifacts" / self.stage_id

    @property
    def checkpoints_path(self) -> Path:
        return self.root / "checkpoints" / self.stage_id

    @property
    def attempts_path(self) -> Path:
        return self.root / "attempts" / self.stage_id

    @property
    def lease_path(self) -> Path:
        return self.root / "leases" / self.stage_id

    def attempt_path(self, number: int) -> Path:
        """The events of an attempt."""
        return self.attempts_path / f"{number}.jsonl"

    def log_path(self, number: int) -> Path:
        return self.attempts_path / f"{number}.log"

    def progress_path(self, number: int) -> Path:
        return self.attempts_path / f"{number}.progress"

    def cancel_path(self, number: int) -> Path:
        return self.attempts_path / f"{number}.cancel"

    def twin_path(self, digest: str) -> Path:
        """Another record of the stage with the same outcome, from which a merged record was made."""
        return self.root.joinpath("twins", self.stage_id, f"{digest}.json")

    def archive_path(self, number: int) -> Path:
        return self.root / "invalidated" / f"{self.stage_id}.{number}.json"

    # -- record

    def has_record(self) -> bool:
        """Whether the stage is finished: something has its record's name. Whether that is sound, `read_record` says."""
        return os.path.lexists(self.record_path)

    def read_record(self, spec: StageSpec | None = None, texts: RecordTexts | None = None) -> dict[str, Any]:
        """The record, if it is sound: readable, unchanged since it was written, and of this stage.

        spec: of this stage, where it is known already; texts: of the records that are read together with it. The same
        is found, sooner.

        Raises FileNotFoundError when there is none, StoreError when it cannot be read, is damaged, was edited, has
        another schema, belongs to another stage or describes another computation.
        """
        return self._read_sound(self._record_name, spec, texts)

    def read_twin(self, digest: str) -> dict[str, Any] | None:
        """The twin with this digest, if it is there and sound."""
        try:
            record = self._read_sound(self.twin_path(digest))
        except (OSError, StoreError):
            return None
        return record if record["digest"] == digest else None

    def twin_digests(self) -> list[str]:
        """The digests by which the stage's twins are named."""
        return sorted(path.stem for path in self.twin_path("").parent.glob("*.json"))

    def _read_sound(
        self, path: str | Path, spec: StageSpec | None = None, texts: RecordTexts | None = None
    ) -> dict[str, Any]:
        try:
            text = read_small(path)
            known = None if texts is None else texts.content(text)
            record, digest = known or (parse_json(text), None)
        except OSError as error:
            if not os.path.lexists(path):
                raise
            reason = "a link to nothing" if isinstance(error, FileNotFoundError) else error.strerror
            raise StoreError(f"record {path} cannot be read ({reason}). {self.redo_hint()}") from None
        except ValueError as error:
            raise StoreError(f"record {path} is damaged ({error}). {self.redo_hint()}") from None
        if not isinstance(record, dict):
            raise StoreError(f"record {path} is damaged (not an object). {self.redo_hint()}")
        if record.get("schema") != RECORD_SCHEMA:
            raise StoreError(
                f"record {path}: schema {shown(record.get('schema'))}, expected {RECORD_SCHEMA}. {self.redo_hint()}"
            )
        claimed = record.pop("digest", None)
        try:
            digest = digest or sha256_of(record)
        except ValueError as error:  # a number that is none, or half of a character
            raise StoreError(f"record {path} is damaged ({_reason(record, error)}). {self.redo_hint()}") from None
        if claimed != digest:
            raise StoreError(
                f"record {path} was changed after it was written (its digest does not match). {self.redo_hint()}"
            )
        if record.get("stage_id") != self.stage_id:
            other = record.get("stage_id")
            named = other if isinstance(other, str) and is_stage_id(other) else shown(other)
            raise StoreError(f"record {path} belongs to stage {named}. {self.redo_hint()}")
        if not self._is_described_by(record, spec):
            raise StoreError(
                f"record {path} describes another computation than stage {self.stage_id}. {self.redo_hint()}"
            )
        if problem := form_problem(record):
            raise StoreError(f"record {path} is damaged ({problem}). {self.redo_hint()}")
        record["digest"] = claimed
        return record

    def _is_described_by(self, record: Mapping[str, Any], spec: StageSpec | None) -> bool:
        """Whether the record's kind, parameters, parents, inputs and versions are those that the stage's id names."""
        try:
            return (spec is not None and are_of(record, spec)) or StageSpec.from_json(record).stage_id == self.stage_id
        except (KeyError, TypeError, ValueError):
            return False

    def publish_record(self, record: Mapping[str, Any], *, guard: Callable[[], None] = no_guard) -> str:
        """Write the record with schema, stage id and its own digest; returns the digest.

        guard: called last before the record appears; what it raises keeps the record from appearing.
        Raises FileExistsError where there is a record already.
        """
        complete = {"schema": RECORD_SCHEMA, **record, "stage_id": self.stage_id}
        content = json.loads(canonical_json(complete))  # as a reader will see it
        content["digest"] = sha256_of(content)
        write_new(self.record_path, json.dumps(content, indent=1, sort_keys=True) + "\n", guard=guard)
        return str(content["digest"])

    def adopt(self, path: Path, record: Mapping[str, Any], *, guard: Callable[[], None] = no_guard) -> None:
        """Write a sound record of this stage from another store as it is, digest and all.

        path: `record_path` or a `twin_path`. Raises FileExistsError where there is a file already.
        """
        write_new(path, json.dumps(dict(record), indent=1, sort_keys=True) + "\n", guard=guard)

    def archive_record(self) -> Path | None:
        """Move the record to invalidated/, where nothing reads it; returns its new path. For the lease's holder."""
        number = 1
        while os.path.lexists(archived := self.archive_path(number)):
            number += 1
        archived.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.record_path.rename(archived)
        except FileNotFoundError:
            return None
        sync_folder(archived.parent)
        sync_folder(self.record_path.parent)
        return archived

    def command(self, verb: str) -> str:
        """The command that applies a verb to the stage, to be copied from a message."""
        return command(verb, self.stage_id, store=self.root)

    def redo_hint(self) -> str:
        """The next move for a record that cannot be trusted; removing it alone would leave what was made from it."""
        return f"Put back the original, or redo it and all that depends on it: {self.command('invalidate')}"

    # -- artifact and checkpoints

    def has_artifact(self) -> bool:
        return self.artifact_path.is_dir()

    @contextlib.contextmanager
    def new_artifact(self, *, guard: Callable[[], None] = no_guard) -> Iterator[Path]:
        """A temporary folder that becomes the stage's artifact when the block ends without an error and `guard` passes.

        For the lease's holder: removes what a worker that was killed left half-written.

        Replaces the artifact of an attempt that died before its record was written. Raises StoreError where a record
        exists, since another worker finished the stage in the meantime, and where the folder of all artifacts is gone.
        """
        final = self.artifact_path
        final.parent.mkdir(parents=True, exist_ok=True)
        for half_written in final.parent.glob(f".{self.stage_id}.*"):
            shutil.rmtree(half_written, ignore_errors=True)
        temporary = final.with_name(f".{self.stage_id}.{uuid.uuid4().hex}")
        temporary.mkdir()
        try:
            yield temporary
            sync_tree(temporary)
            guard()
            if self.has_record():
                raise StoreError(f"stage {self.stage_id} was finished by another worker meanwhile; its result is kept.")
            if final.exists():
                shutil.rmtree(final)
            temporary.rename(final)
            sync_folder(final.parent)
        except Exception as error:
            if final.parent.is_dir():
                raise
            raise StoreError(
                f"{final.parent} was removed or renamed while the stage ran. Bring it back and give the same command "
                "again; without it, the command says what there is to redo."
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def discard_artifact(self) -> None:
        discard_folder(self.artifact_path)

    def newest_checkpoint(self) -> str:
        """The name of the newest checkpoint, checkpoint-N with the highest N; "" where there is none."""
        try:
            names = os.listdir(self.checkpoints_path)
        except OSError:
            return ""
        steps = [name.removeprefix(CHECKPOINT) for name in names if name.startswith(CHECKPOINT)]
        newest = max((int(step) for step in steps if is_number(step)), default=None)
        return "" if newest is None else f"{CHECKPOINT}{newest}"

    def discard_checkpoints(self) -> None:
        discard_folder(self.checkpoints_path)

    # -- attempts

    def attempts(self) -> list[Attempt]:
        """All attempts, oldest first; a torn last line is ignored."""
        if not self.attempts_path.is_dir():
            return []
        names = {path.name for path in self.attempts_path.iterdir()}
        numbers = sorted(
            int(stem)
            for stem, _, suffix in (name.partition(".") for name in names)
            if suffix == "jsonl" and is_number(stem)
        )
        return [self._read_attempt(number, f"{number}.cancel" in names) for number in numbers]

    def last_attempt(self) -> Attempt | None:
        return next(reversed(self.attempts()), None)

    def last_log(self) -> Path | None:
        """The log of the last attempt; None where no attempt has written one."""
        last = self.last_attempt()
        path = None if last is None else self.log_path(last.number)
        return path if path is not None and path.is_file() else None

    def is_cancelled(self) -> bool:
        """Whether the last attempt was cancelled, and no `harness retry` has cleared that."""
        last = self.last_attempt()
        return last is not None and last.outcome == "cancelled"

    def begin_attempt(self, event: Mapping[str, Any]) -> int:
        """Reserve the next number and write the attempt's first event; returns the number.

        event: who runs it (`processes.this_process`), the lease's generation and the job; "time", in seconds since the
        epoch, is now unless it is given.
        """
        last = self.last_attempt()
        number = 1 if last is None else last.number + 1
        while True:
            path = self.attempt_path(number)
            try:
                write_new(path, canonical_json({"event": "started", "time": time.time(), **event}) + "\n")
                return number
            except FileExistsError:
                if not path.exists():  # it is the folder that cannot be made
                    raise
                number += 1

    def end_attempt(self, number: int, event: Mapping[str, Any]) -> None:
        """event: "outcome", one of `attempts.OUTCOMES`, and "message" where there is a reason."""
        self._append(number, {"event": "ended", "time": time.time(), "checkpoint": self.newest_checkpoint(), **event})

    def try_to_end_attempt(self, number: int, event: Mapping[str, Any]) -> None:
        """`end_attempt` where the disk takes it.

        On a full disk the attempt stays open, as that of a killed worker does: its stage counts as done where its
        record exists, and is pending otherwise.
        """
        with contextlib.suppress(OSError):
            self.end_attempt(number, event)

    def note_stop(self, number: int) -> None:
        """Note that the task in which an attempt runs was asked to stop: a kill may come before it has saved."""
        self._append(number, {"event": STOP_REQUESTED, "time": time.time()})

    def clear_outcome(self, number: int, event: Mapping[str, Any]) -> None:
        """Clear how an attempt ended, so that its stage is pending again."""
        self._append(number, {"event": "retried", "time": time.time(), **event})

    def retry(self, *, by: Mapping[str, Any]) -> None:
        """Clear how the last attempt ended. by: the process that does, as in `this_process`."""
        last = self.last_attempt()
        assert last is not None, f"stage {self.stage_id} was never attempted"
        self.clear_outcome(last.number, {"by": by})

    def request_cancel(self, number: int) -> None:
        """Request that an attempt stop, and that its stage not start again until it is retried."""
        with contextlib.suppress(FileExistsError):
            requester = {"time": time.time(), **this_process()}
            write_new(self.cancel_path(number), json.dumps(requester, sort_keys=True) + "\n")

    def _read_attempt(self, number: int, cancel_requested: bool) -> Attempt:
        text = self.attempt_path(number).read_bytes().decode(errors="replace")
        return fold_events(number, text, cancel_requested)

    def _append(self, number: int, event: Mapping[str, Any]) -> None:
        with self.attempt_path(number).open("ab+") as handle:
            handle.seek(max(handle.seek(0, os.SEEK_END) - 1, 0))
            torn = handle.read() != b"\n"  # a writer was killed in its line, and this one must not join it
            handle.write(b"\n" * torn + canonical_json(event).encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())

    # -- lease

    def acquire_lease(self, is_dead: Callable[[Holder], bool] = is_gone) -> Lease | None:
        """The stage's lease for this process; None while another process holds it. is_dead: as in `leases.acquire`."""
        return acquire(self.lease_path, this_process(), is_dead)

    def holder(self) -> Holder | None:
        """Who took the lease last; None where nobody ever has."""
        return current_holder(self.lease_path)

    def is_held(self) -> bool:
        """Whether the lease is neither released nor held by a process that is known to be gone."""
        return is_live(self.holder())


def _reason(record: Any, error: ValueError) -> str:
    """Why a record has no digest: the first value in it that is no number, or what went wrong."""
    named = next(_no_numbers(record, ""), None)
    return str(error) if named is None else named


def _no_numbers(value: Any, name: str) -> Iterator[str]:
    """A sentence for every value below a dotted name that is NaN or infinite."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{name} is {'NaN' if math.isnan(value) else 'infinite'}"
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from _no_numbers(member, f"{name}.{key}".lstrip("."))
