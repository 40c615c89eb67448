"""Invalidating finished stages: archives their records, with those of all stages that depend on them.

The order makes a kill harmless at any step. Children come before parents, so that no record ever depends on one that is
gone; within a stage the checkpoints go first (a later attempt must not resume from them), then the record, then the
artifact (without a record nothing refers to it, and the next attempt replaces it).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness.errors import UsageError
from harness.specs import stage_label
from harness.store.cancellation import described
from harness.store.leases import Lease, held_together
from harness.store.stage import StoredStage
from harness.store.store import Store
from harness.studies.lineage import Lineage, read_lineage


def invalidate(store: Store, roots: Collection[str]) -> dict[str, Path]:
    """Invalidate `roots` and all that depends on them in any study; returns stage id -> path of the archived record.

    Holds the lease of every stage involved from before the first step to after the last: no worker starts one of them
    meanwhile. Raises UsageError, with nothing done, when one is running or a grid is added to the store meanwhile.
    """
    lineage = read_lineage(store)
    involved = lineage.with_descendants(roots)
    with _all_leases(store, lineage, involved) as leases:
        if read_lineage(store).with_descendants(roots) != involved:
            raise UsageError("a grid was added to the store meanwhile; the same command again shows what it changed.")
        archived = {}
        for stage_id in reversed(involved):
            leases[stage_id].check()
            path = _invalidate_one(store.stage(stage_id))
            if path is not None:
                archived[stage_id] = path
    return archived


def _invalidate_one(stage: StoredStage) -> Path | None:
    stage.discard_checkpoints()
    archived = stage.archive_record()
    stage.discard_artifact()
    return archived


@contextmanager
def _all_leases(store: Store, lineage: Lineage, stage_ids: Collection[str]) -> Iterator[Mapping[str, Lease]]:
    leases: dict[str, Lease] = {}
    busy: list[str] = []
    try:
        for stage_id in stage_ids:
            lease = store.stage(stage_id).acquire_lease()
            if lease is None:
                label = stage_label(lineage.specs[stage_id], lineage.specs)
                busy.append(
                    f"{label} ({stage_id}) is running: {described(store.stage(stage_id).holder())}. "
                    f"Wait for its end, or stop it with {store.stage(stage_id).command('cancel')}."
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
