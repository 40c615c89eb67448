"""What a kill leaves of a stage whose record is in already: an attempt that never said its end, and checkpoints.

A worker ends its attempt and then removes the checkpoints, so that one listing of their folders finds all of these.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from harness.errors import StoreError
from harness.files import discard_folder
from harness.store.leases import acquire
from harness.store.processes import is_gone, this_process
from harness.store.store import Store


def close_finished(store: Store, finished: Collection[str]) -> None:
    """Say of finished stages' attempts that they are done, where nobody is left to say it, and remove checkpoints.

    A store that cannot be written, and a record that cannot be trusted, keep what they have: others tell of those.
    """
    for stage_id in sorted(store.with_checkpoints() & set(finished)):
        with suppress(OSError, StoreError):
            _close(store, stage_id)


def _close(store: Store, stage_id: str) -> None:
    lease = acquire(store.lease_path(stage_id), this_process(), is_gone)
    if lease is None:
        return
    with lease.held():
        if not store.has_record(stage_id):  # taken back meanwhile
            return
        times = store.read_record(stage_id).get("times", {})
        for attempt in store.attempts(stage_id):
            if attempt.number == times.get("attempt") and attempt.ended is None:
                store.end_attempt(stage_id, attempt.number, {"time": times["ended"], "outcome": "done"})
        discard_folder(store.checkpoints_path(stage_id))
