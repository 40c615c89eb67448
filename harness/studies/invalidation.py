"""Taking finished stages back: their records are set aside, and all that rests on them goes with them.

The order makes a kill harmless at any step. Children come before parents, so that no record ever rests on one that is
gone; within a stage the checkpoints go first (a later attempt must not resume from them), then the record, then the
artifact (one without a record is nobody's, and the next attempt replaces it).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness.errors import UsageError
from harness.files import discard_folder
from harness.specs import stage_label
from harness.store.cancellation import described
from harness.store.leases import Lease, acquire, current_holder, held_together
from harness.store.processes import is_gone, this_process
from harness.store.store import Store
from harness.studies.lineage import Lineage, read_lineage


def invalidate(store: Store, roots: Collection[str]) -> dict[str, Path]:
    """Take back `roots` and all that rests on them in any study; returns the new places of the records.

    Holds the lease of every stage involved from before the first step to after the last: no worker starts one of them
    meanwhile. Raises UsageError, with nothing done, when one is running or the store changes under our hands.
    """
    lineage = read_lineage(store)
    involved = lineage.with_descendants(roots)
    with _all_leases(store, lineage, involved) as leases:
        if read_lineage(store).with_descendants(roots) != involved:
            raise UsageError("a grid was added to the store meanwhile; the same command again shows what it changed.")
        aside = {}
        for stage_id in reversed(involved):
            leases[stage_id].check()
            path = _take_back(store, stage_id)
            if path is not None:
                aside[stage_id] = path
    return aside


def _take_back(store: Store, stage_id: str) -> Path | None:
    discard_folder(store.checkpoints_path(stage_id))
    aside = store.set_record_aside(stage_id)
    discard_folder(store.artifact_path(stage_id))
    return aside


@contextmanager
def _all_leases(store: Store, lineage: Lineage, stage_ids: Collection[str]) -> Iterator[Mapping[str, Lease]]:
    leases: dict[str, Lease] = {}
    busy: list[str] = []
    try:
        for stage_id in stage_ids:
            lease = acquire(store.lease_path(stage_id), this_process(), is_gone)
            if lease is None:
                holder = current_holder(store.lease_path(stage_id))
                label = stage_label(lineage.specs[stage_id], lineage.specs)
                busy.append(
                    f"{label} ({stage_id}) is running: {described(holder)}. "
                    f"Wait for its end, or stop it with harness cancel {stage_id}."
                )
            else:
                leases[stage_id] = lease
        if busy:
            raise UsageError(busy)
    except BaseException:
        for lease in leases.values():
            lease.release()
        raise
    with held_together(list(leases.values())):
        yield leases
