"""Cancelling a stage: a request beside the attempt that is under way, or an attempt that ends as it begins.

A cancelled stage is not started again until `harness retry` lifts it. The request is a file that outlives its reader: a
worker that dies before it notices leaves its stage cancelled all the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import Cancelled, HarnessError, Interrupted
from harness.files import write_new
from harness.store.leases import Holder, acquire, current_holder, is_of
from harness.store.processes import is_gone, is_live, this_process
from harness.store.store import Store

LOOK_SECONDS = 2.0  # between two looks at the disk while a stage runs
PATIENCE_SECONDS = 10.0  # for a holder that has taken a lease and not yet begun its attempt: milliseconds


@dataclass
class CancelWatch:
    """Whether a request is there; looks at the disk at most every `LOOK_SECONDS`, since it is asked at every step."""

    path: Path
    clock: Callable[[], float] = time.monotonic
    seen: bool = False
    _next_look: float = float("-inf")

    def is_requested(self) -> bool:
        now = self.clock()
        if not self.seen and now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self.seen = self.path.exists()
        return self.seen


@contextmanager
def cancellable(request: Path, should_stop: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
    """Yields what a stage polls: `should_stop`, or the request. A stop that only the request caused is Cancelled."""
    watch = CancelWatch(request)
    try:
        yield lambda: should_stop() or watch.is_requested()
    except Interrupted as error:
        if watch.seen and not should_stop():
            raise Cancelled(f"cancelled; {error}") from None
        raise


def refuse_cancelled(store: Store, stage_id: str) -> None:
    """Raises Cancelled where the last attempt was cancelled and nobody has lifted that."""
    attempts = store.attempts(stage_id)
    if attempts and attempts[-1].outcome == "cancelled":
        raise Cancelled(f"stage {stage_id} is cancelled; harness retry {stage_id} lifts it.")


def cancel_stage(store: Store, stage_id: str) -> str:
    """See to it that a stage does not run; returns what was done, in words.

    "done": its record is in, nothing to stop. "cancelled": it was not running and will not start. "asked to stop": it
    runs, and has a request to save a checkpoint and end. "already cancelled": there was nothing left to do.
    Raises HarnessError when somebody holds its lease and begins no attempt.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        done = _cancel_now(store, stage_id)
        if done is not None:
            return done
        if time.monotonic() > deadline:
            holder = current_holder(store.lease_path(stage_id))
            raise HarnessError(
                f"stage {stage_id} is held by {described(holder)}, which has begun no attempt. Cancel it again."
            )
        time.sleep(0.05)


def described(holder: Holder | None) -> str:
    """Who holds a lease, for people."""
    owner = {} if holder is None else holder.owner
    return f"process {owner.get('process', '?')} on {owner.get('host', 'an unknown machine')}"


def _cancel_now(store: Store, stage_id: str) -> str | None:
    """One try; None while the lease's holder is between taking it and beginning its attempt."""
    if store.has_record(stage_id):
        return "done"
    last = next(iter(store.attempts(stage_id)[-1:]), None)
    holder = current_holder(store.lease_path(stage_id))
    if holder is not None and is_live(holder):
        if last is None or last.ended is not None or not is_of(last, holder):
            return None
        with suppress(FileExistsError):
            who = json.dumps({"time": time.time(), **this_process()}, sort_keys=True)
            write_new(store.cancel_path(stage_id, last.number), who + "\n")
        return "asked to stop"
    lease = acquire(store.lease_path(stage_id), this_process(), is_gone)
    if lease is None:
        return None
    with lease.held():  # so that no worker starts it meanwhile
        return _cancel_idle(store, stage_id)


def _cancel_idle(store: Store, stage_id: str) -> str:
    if store.has_record(stage_id):
        return "done"
    if any(attempt.outcome == "cancelled" for attempt in store.attempts(stage_id)[-1:]):
        return "already cancelled"
    number = store.begin_attempt(stage_id, {"time": time.time(), **this_process()})
    message = "cancelled before it started"
    store.attempt_log(stage_id, number).write_text(message + "\n", encoding="utf-8")
    store.end_attempt(stage_id, number, {"time": time.time(), "outcome": "cancelled", "message": message})
    return "cancelled"
