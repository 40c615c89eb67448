"""What SLURM has of a user's tasks: one squeue, asked at most now and then, and never from within a task.

A task is one index of a job array, named "UUID_INDEX" after the submission (`submissions`), whose uuid is the job's
name. No accounting is asked: what has ended is in the store.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.store.slurm_command import TIMEOUT_SECONDS, say

KEPT_SECONDS = 10.0  # for which an answer is good enough
# Fixed columns; each ends in a blank at least, for a value that fills its column is cut by squeue to its width.
_COLUMNS = {"Name": 34, "ArrayJobID": 14, "ArrayTaskID": 12, "StateCompact": 6, "RestartCnt": 8, "Reason": 80}
_NAME_DIGITS = 32


class QueuedTask(NamedTuple):
    """job: SLURM's id of it, "123_4". state: SLURM's short form, such as PD, R, CG. reason: why it waits.

    restarts: how often it was requeued.
    """

    job: str
    state: str
    reason: str
    restarts: int

    @property
    def is_waiting(self) -> bool:
        return self.state in ("PD", "RQ", "RH", "SE")


@dataclass(frozen=True)
class Queue:
    """The tasks that wait or run, by name. asked: when, on this process' monotonic clock.

    problem: why there is no answer; "": there is one.
    """

    tasks: Mapping[str, QueuedTask] = field(default_factory=dict)
    problem: str = ""
    asked: float = float("-inf")

    @property
    def answers(self) -> bool:
        return not self.problem


def has_squeue() -> bool:
    return shutil.which("squeue") is not None


def ask_squeue(users: Collection[int] = (), seconds: float = TIMEOUT_SECONDS) -> Queue:
    """The tasks of this user, and of `users` (ids), that SLURM has now; waits up to `seconds`."""
    asked = time.monotonic()
    if not has_squeue():
        return Queue(problem="there is no squeue on this machine", asked=asked)
    columns = ",".join(f"{name}:{width}" for name, width in _COLUMNS.items())
    whose = ",".join(str(user) for user in sorted({*users, os.getuid()}))
    command = ["squeue", "--noheader", "--array", f"--user={whose}", f"--Format={columns}"]
    said = say(command, seconds)
    if said.code is None:
        return Queue(problem=f"squeue did not answer within {seconds:g} s", asked=asked)
    if said.problem:
        words = (said.complained.strip() or said.problem).splitlines()[0]
        return Queue(problem=f"squeue did not answer: {words}", asked=asked)
    if problem := _unreadable(said.printed, said.complained):
        return Queue(problem=problem, asked=asked)
    return Queue(parse_squeue(said.printed), asked=asked)


def _unreadable(printed: str, complained: str) -> str:
    """Why what squeue printed, without an error, is no answer; "": it is one."""
    lines = [line for line in printed.splitlines() if line.strip()]
    if not lines and complained.strip():
        return f"squeue did not answer: {complained.strip().splitlines()[0]}"
    least = sum(_COLUMNS.values()) - _COLUMNS["Reason"]
    if lines and not any(len(line) >= least for line in lines):
        return "squeue printed what cannot be read"
    return ""


def parse_squeue(text: str) -> dict[str, QueuedTask]:
    """The tasks of the harness in what squeue printed; other jobs are passed over. Pure."""
    found = {}
    for line in text.splitlines():
        values, at = [], 0
        for width in _COLUMNS.values():
            values.append(line[at : at + width].strip())
            at += width
        name, job, index, state, restarts, reason = values
        if len(name) == _NAME_DIGITS and index.isdigit() and restarts.isdigit():
            found[f"{name}_{index}"] = QueuedTask(f"{job}_{index}", state, reason, int(restarts))
    return found


@dataclass
class SqueueCache:
    """The last answer, for all that a process asks. users: whose tasks were ever asked for, beside this user's.

    Times are of this process' monotonic clock.
    """

    users: set[int] = field(default_factory=set)
    _last: Queue = field(default_factory=Queue)
    _heard: float = float("-inf")
    _seen: dict[tuple[str, int], float] = field(default_factory=dict)

    def queue(self, not_before: float = float("-inf")) -> Queue:
        """An answer that is at most `KEPT_SECONDS` old, and of a question asked after `not_before`.

        Where squeue did not answer it is left alone for as long, whatever was asked since: it may take its time-out.
        """
        is_fresh = time.monotonic() - self._heard <= KEPT_SECONDS
        if not is_fresh or (self._last.answers and self._last.asked < not_before):
            return self._ask()
        return self._last

    def on(self, task: str, restart: int, seen: float) -> Queue:
        """An answer that knows of a task's start, of which there was a sign in the store at `seen`.

        What had started before a question and is not in the answer is over for good: a task that comes back has been
        restarted. So the first sign counts, and of any number of tasks whose signs were all read before the first is
        asked for, one question tells.
        """
        seen = self._seen.setdefault((task, restart), seen)
        queue = self.queue()
        return queue if task in queue.tasks else self.queue(not_before=seen)

    def fresh(self, users: Collection[int] = ()) -> Queue:
        """The answer to a question asked now, on the tasks of `users` too."""
        self.users.update(users)
        return self._ask()

    def _ask(self) -> Queue:
        self._last = ask_squeue(self.users)
        self._heard = time.monotonic()
        return self._last


THE_QUEUE = SqueueCache()
