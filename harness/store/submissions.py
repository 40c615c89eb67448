"""The ledger: what was submitted to a cluster, as files of the store.

    submissions/UUID.json         one job array: its stages by task, written before sbatch is called
    submissions/UUID.job          SLURM's id of the job, written after it
    submissions/UUID.sh           the batch file
    submissions/UUID.needed       ids of its stages from which arrays submitted later start, one a line
    submissions/UUID_INDEX.log    what a task printed, over all its restarts
    submissions/UUID_INDEX.again  a character for each restart by its batch file that no limit or pre-emption caused

The uuid is the job's name: where a submitter died between the two, the queue tells which of its arrays are in it.
A task is named UUID_INDEX, in the queue, in the attempts that it makes and in the leases that it holds.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.files import replace_file, write_new
from harness.identity import is_stage_id, parse_json

LEDGER_SCHEMA = 1
NO_ANSWER = (errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EAGAIN)  # of a file system that may answer the next time


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One job array.

    tasks: for each index the ids of its stages, parents first. needed: those of them that stages of other tasks start
    from. after: names of the tasks that it waits for. profile: as resolved. sources, resources: as a worker takes them.
    source: digest of the source that is to run it. user: the submitter's id. created: seconds since the epoch.
    estimated: kind -> hours of one of its stages of that kind, on the mean.
    """

    uuid: str
    study: str
    user: int
    cluster: str
    profile: Mapping[str, Any]
    sources: Mapping[str, Any]
    resources: Mapping[str, Any]
    source: str
    tasks: tuple[tuple[str, ...], ...]
    needed: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    created: float = 0.0
    estimated: Mapping[str, float] = field(default_factory=dict)
    schema: int = field(default=LEDGER_SCHEMA)

    def task(self, index: int) -> str:
        """The name of a task."""
        return task_name(self.uuid, index)

    def stages(self) -> Iterator[tuple[str, str]]:
        """Every stage with the name of its task."""
        for index, stage_ids in enumerate(self.tasks):
            for stage_id in stage_ids:
                yield stage_id, self.task(index)


def task_name(uuid: str, index: int) -> str:
    return f"{uuid}_{index}"


def uuid_of(task: str) -> str:
    return task.rpartition("_")[0]


@dataclass(frozen=True)
class Ledger:
    """The submissions of one store. folder: need not be there."""

    folder: Path

    def entry_path(self, uuid: str) -> Path:
        return self.folder / f"{uuid}.json"

    def job_path(self, uuid: str) -> Path:
        return self.folder / f"{uuid}.job"

    def batch_path(self, uuid: str) -> Path:
        return self.folder / f"{uuid}.sh"

    def log_path(self, task: str) -> Path:
        return self.folder / f"{task}.log"

    def uuids(self) -> list[str]:
        """Of all entries, in order."""
        names = sorted(path.name for path in self.folder.glob("*.json")) if self.folder.is_dir() else []
        return [name.removesuffix(".json") for name in names if is_stage_id(name.removesuffix(".json"))]

    def submitters(self) -> set[int]:
        """The ids of the users who submitted, as far as the files' owners tell; the user who asks is one of them."""
        owners = set()
        for uuid in self.uuids():
            with suppress(OSError):
                owners.add(self.entry_path(uuid).stat().st_uid)
        return owners | {os.getuid()} if owners else owners

    def write(self, submission: Submission) -> None:
        write_new(self.entry_path(submission.uuid), json.dumps(asdict(submission), separators=(",", ":")) + "\n")

    def note_job(self, uuid: str, job: str) -> None:
        replace_file(self.job_path(uuid), job + "\n")

    def note_needed(self, uuid: str, stage_id: str) -> None:
        """A stage of an array that was submitted before is one that stages of other tasks start from now."""
        with self.needed_path(uuid).open("a", encoding="utf-8") as file:
            file.write(f"{stage_id}\n")

    def needed(self, submission: Submission, task: str | None = None) -> set[str]:
        """Its stages that stages of other tasks start from, as far as is known now. task: those of this one alone."""
        found = {*submission.needed}
        with suppress(OSError):
            found.update(self.needed_path(submission.uuid).read_text(encoding="utf-8").split())
        if task is None:
            return found
        return found.intersection(submission.tasks[int(task.rpartition("_")[2])])

    def needed_path(self, uuid: str) -> Path:
        return self.folder / f"{uuid}.needed"

    def job(self, uuid: str) -> str:
        """SLURM's id of the array; "": not noted."""
        try:
            return self.job_path(uuid).read_text().strip()
        except OSError:
            return ""

    def withdraw(self, uuid: str) -> None:
        """Remove an entry that sbatch refused."""
        for path in (self.entry_path(uuid), self.batch_path(uuid)):
            path.unlink(missing_ok=True)

    def read(self, uuid: str) -> Submission:
        """Raises StoreError for an entry that is not there, damaged, or of another schema; OSError for no answer."""
        path = self.entry_path(uuid)
        try:
            fields = parse_json(path.read_bytes())
            if fields["schema"] != LEDGER_SCHEMA:
                raise StoreError(
                    f"submission {path}: schema {fields['schema']}, expected {LEDGER_SCHEMA}. Use the version of the "
                    "harness that submitted it."
                )
            fields["tasks"] = tuple(tuple(map(str, stage_ids)) for stage_ids in fields["tasks"])
            if not isinstance(fields["created"], int | float) or not isinstance(fields["user"], int):
                raise TypeError("created or user is no number")
            return Submission(**{**fields, "needed": tuple(fields["needed"]), "after": tuple(fields["after"])})
        except OSError as error:
            if error.errno in NO_ANSWER:
                raise
            raise StoreError(f"submission {path} cannot be read ({error.strerror}).") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"submission {path} is damaged ({error}). Cancel its tasks (scancel --name={uuid}), move it away and "
                "give the grid's command again."
            ) from None

    def read_sound(self, uuids: Iterable[str]) -> Iterator[Submission]:
        """Those of the entries that can be read."""
        for uuid in uuids:
            with suppress(StoreError, OSError):
                yield self.read(uuid)
