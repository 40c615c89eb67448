"""Cancelling a stage: a request beside the attempt that runs, or an attempt that ends as it begins.

A cancelled stage does not start again until `harness retry` clears it. The request is a file that outlives its reader:
a worker that dies before it notices leaves its stage cancelled all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import Cancelled, HarnessError, Interrupted
from harness.store.leases import Holder, belongs_to
from harness.store.processes import is_live, this_process
from harness.store.stage import StoredStage

PATIENCE_SECONDS = 10.0  # for a holder that has taken a lease and not yet begun its attempt: milliseconds


@dataclass
class CancelWatch:
    """Whether a request exists; looks at the disk at most every `seconds`, since it is polled at every step."""

    path: Path
    seconds: float
    clock: Callable[[], float] = time.monotonic
    seen: bool = False
    _next_check: float = float("-inf")

    def is_requested(self) -> bool:
        now = self.clock()
        if not self.seen and now >= self._next_check:
            self._next_check = now + self.seconds
            self.seen = self.path.exists()
        return self.seen


@contextmanager
def cancellable(request: Path, should_stop: Callable[[], bool], seconds: float) -> Iterator[Callable[[], bool]]:
    """Yields what a stage polls: `should_stop`, or the request. A stop that only the request caused is Cancelled.

    seconds: between two looks for the request.
    """
    watch = CancelWatch(request, seconds)
    try:
        yield lambda: should_stop() or watch.is_requested()
    except Interrupted as error:
        if watch.seen and not should_stop():
            raise Cancelled(f"cancelled; {error}") from None
        raise


def refuse_cancelled(stage: StoredStage) -> None:
    """Raises Cancelled where the last attempt was cancelled and no retry has cleared that."""
    if stage.is_cancelled():
        raise Cancelled(f"stage {stage.stage_id} is cancelled; {stage.command('retry')} clears it.")


def cancel_stage(stage: StoredStage) -> str:
    """See to it that a stage does not run; returns what happened, in words.

    "done": it is finished, nothing to stop. "cancelled": it was not running and will not start. "asked to stop": it
    runs, and has a request to save a checkpoint and end. "already cancelled": there was nothing left to do.
    Raises HarnessError when somebody holds its lease and begins no attempt.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        result = _cancel_now(stage)
        if result is not None:
            return result
        if time.monotonic() > deadline:
            raise HarnessError(
                f"stage {stage.stage_id} is held by {described(stage.holder())}, which has begun no attempt. "
                "Cancel it again."
            )
        time.sleep(0.05)


def described(holder: Holder | None) -> str:
    """Who holds a lease, for people."""
    owner = {} if holder is None else holder.owner
    return f"process {owner.get('process', '?')} on {owner.get('host', 'an unknown machine')}"


def _cancel_now(stage: StoredStage) -> str | None:
    """One try; None while the lease's holder is between taking it and beginning its attempt."""
    if stage.has_record():
        return "done"
    last, holder = stage.last_attempt(), stage.holder()
    if holder is not None and is_live(holder):
        if last is None or last.ended is not None or not belongs_to(last, holder):
            return None
        stage.request_cancel(last.number)
        return "asked to stop"
    lease = stage.acquire_lease()
    if lease is None:
        return None
    with lease.held():  # so that no worker starts it meanwhile
        return _cancel_idle(stage)


def _cancel_idle(stage: StoredStage) -> str:
    if stage.has_record():
        return "done"
    if stage.is_cancelled():
        return "already cancelled"
    number = stage.begin_attempt(this_process())
    message = "cancelled before it started"
    stage.log_path(number).write_text(message + "\n", encoding="utf-8")
    stage.end_attempt(number, {"outcome": "cancelled", "message": message})
    return "cancelled"
