"""squeue, scontrol and scancel as small scripts on PATH: what a test says is in the queue, and every call counted."""

from __future__ import annotations

import os
import shlex
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.store.squeue import _COLUMNS
from harness.store.store import Store
from harness.store.submissions import Submission

CLUSTER = "stub"


@dataclass
class StubSlurm:
    """folder: of the scripts, first on PATH. Nothing is in the queue at first."""

    folder: Path
    _next_job: int = 100

    def make(self) -> None:
        self.folder.mkdir(exist_ok=True)
        calls = shlex.quote(str(self.calls_path))
        queue = shlex.quote(str(self.folder / "queue"))
        self._script("squeue", f'echo squeue "$@" >> {calls}\ncat {queue} 2>/dev/null || true')
        self._script("scontrol", f'echo scontrol "$@" >> {calls}\necho "ClusterName             = {CLUSTER}"')
        self._script("scancel", f'echo scancel "$@" >> {calls}')
        self._script("sacct", f'echo sacct "$@" >> {calls}\nexit 1')

    @property
    def calls_path(self) -> Path:
        return self.folder / "calls"

    def calls(self, command: str) -> list[list[str]]:
        """The arguments of every call of a command so far."""
        lines = self.calls_path.read_text().splitlines() if self.calls_path.exists() else []
        return [words[1:] for words in (line.split() for line in lines) if words[0] == command]

    def forget_calls(self) -> None:
        self.calls_path.unlink(missing_ok=True)

    def _script(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def fail(self, name: str, words: str) -> None:
        calls = shlex.quote(str(self.calls_path))
        self._script(name, f'echo {name} "$@" >> {calls}\necho {shlex.quote(words)} >&2\nexit 1')

    def hang(self, name: str, seconds: float = 60) -> None:
        calls = shlex.quote(str(self.calls_path))
        self._script(name, f'echo {name} "$@" >> {calls}\nexec sleep {seconds}')

    def has(self, *tasks: tuple[str, str] | tuple[str, str, str] | tuple[str, str, str, int]) -> None:
        """What squeue lists: (name of the task, state, reason, restarts) each."""
        lines = []
        for task in tasks:
            name, state, reason, restarts = (*task, *("None", 0)[len(task) - 2 :])
            job, _, index = name.rpartition("_")
            values = (job, self.job_of(job), index, state, str(restarts), reason)
            lines.append("".join(value.ljust(width) for value, width in zip(values, _COLUMNS.values(), strict=True)))
        (self.folder / "queue").write_text("".join(f"{line}\n" for line in lines))

    def task_id(self, name: str) -> str:
        """SLURM's name of a task of ours, such as "100_0"."""
        job, _, index = name.rpartition("_")
        return f"{self.job_of(job)}_{index}"

    def job_of(self, name: str) -> str:
        """A number for each name of a job."""
        path = self.folder / f"job-{name}"
        if not path.exists():
            path.write_text(str(self._next_job))
            self._next_job += 1
        return path.read_text()


def submitted(
    store: Store, *tasks: Sequence[str], user: int | None = None, cluster: str = CLUSTER, **fields: object
) -> Submission:
    """An array in the ledger of a store, of tasks with these stages each."""
    submission = Submission(
        **{
            "uuid": uuid.uuid4().hex,
            "study": "slice",
            "user": os.getuid() if user is None else user,
            "cluster": cluster,
            "profile": {},
            "sources": {},
            "resources": {},
            "source": "a digest",
            "tasks": tuple(map(tuple, tasks)),
            "created": time.time(),
            **fields,
        }  # type: ignore[arg-type]
    )
    store.ledger.write(submission)
    return submission
