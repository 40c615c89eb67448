"""What a kill leaves of a stage that is finished: an attempt without an outcome, and checkpoints.

A worker ends its attempt and then removes the checkpoints, so that one listing of their folders finds all of these.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from harness.errors import StoreError
from harness.store.stage import StoredStage
from harness.store.store import Store


def finalize_after_kill(store: Store, finished: Collection[str]) -> None:
    """End the open attempts of finished stages as done, and remove their checkpoints.

    A store that cannot be written, and a record that cannot be trusted, stay as they are: others report those.
    """
    for stage_id in sorted(store.with_checkpoints() & set(finished)):
        with suppress(OSError, StoreError):
            _finalize(store.stage(stage_id))


def _finalize(stage: StoredStage) -> None:
    lease = stage.acquire_lease()
    if lease is None:
        return
    with lease.held():
        if not stage.has_record():  # invalidated meanwhile
            return
        times = stage.read_record().get("times", {})
        for attempt in stage.attempts():
            if attempt.number == times.get("attempt") and attempt.ended is None:
                stage.end_attempt(attempt.number, {"time": times["ended"], "outcome": "done"})
        stage.discard_checkpoints()
