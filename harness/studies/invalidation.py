"""Invalidating finished stages: archives their records, with those of all stages that depend on them.

The order makes a kill harmless at any step. Children come before parents, so that no record ever depends on one that is
gone; within a stage the checkpoints go first (a later attempt must not resume from them), then the record, then the
artifact (without a record nothing refers to it, and the next attempt replaces it).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.errors import UsageError
from harness.planning.graph import Plan
from harness.specs import stage_label
from harness.store.cancellation import described
from harness.store.leases import Lease, held_together
from harness.store.processes import is_live
from harness.store.squeue import Queue
from harness.store.stage import StoredStage
from harness.store.store import Store
from harness.studies.activity import read_activity
from harness.studies.lineage import Lineage, read_lineage
from harness.wording import command

MOST_COMMANDS = 3


def invalidate(store: Store, roots: Collection[str], queue: Queue | None = None) -> dict[str, Path]:
    """Invalidate `roots` and all that depends on them in any study; returns stage id -> path of the archived record.

    Holds the lease of every stage involved from before the first step to after the last: no worker starts one of them
    meanwhile. Raises UsageError, with nothing done, when one is running or queued, or a grid is added to the store
    meanwhile.

    queue: what a cluster has, where it was asked just now.
    """
    lineage = read_lineage(store)
    involved = lineage.with_descendants(roots)
    queued = _queued_problems(store, lineage, involved, queue)
    with _all_leases(store, lineage, involved, queued) as leases:
        if read_lineage(store).with_descendants(roots) != involved:
            raise UsageError("a grid was added to the store meanwhile; the same command again shows what it changed.")
        archived = {}
        for stage_id in reversed(involved):
            leases[stage_id].check()
            path = _invalidate_one(store.stage(stage_id))
            if path is not None:
                archived[stage_id] = path
    return archived


def _queued_problems(store: Store, lineage: Lineage, involved: Collection[str], queue: Queue | None) -> list[str]:
    """A sentence about the stages that are queued.

    Their tasks would start, find that a parent has no record, and end; and with them all that waits for them.
    """
    queued = [*read_activity(Plan(stages={i: lineage.specs[i] for i in involved}), store, queue).queued]
    if not queued:
        return []
    if len(queued) <= MOST_COMMANDS:
        commands = [store.stage(stage_id).command("cancel") for stage_id in queued]
    else:  # all that are queued of these kinds
        named = {(name, lineage.specs[i].kind) for i in queued for name in lineage.studies.get(i, ())}
        commands = [command("cancel", f"queued,{kind}", store=store.root, study=name) for name, kind in sorted(named)]
    first = f"{stage_label(lineage.specs[queued[0]], lineage.specs)} ({queued[0]})"
    subject = f"{first} is" if len(queued) == 1 else f"{len(queued)} stages, {first} among them, are"
    return [
        f"{subject} queued on a cluster and would start from what is invalidated. Take them out with "
        f"{', '.join(commands)}; harness retry clears that afterwards."
    ]


def _invalidate_one(stage: StoredStage) -> Path | None:
    stage.discard_checkpoints()
    archived = stage.archive_record()
    stage.discard_artifact()
    return archived


@contextmanager
def _all_leases(
    store: Store, lineage: Lineage, stage_ids: Collection[str], problems: Sequence[str]
) -> Iterator[Mapping[str, Lease]]:
    """Raises UsageError with `problems` and every stage that runs; then none is held."""
    leases: dict[str, Lease] = {}
    busy = list(problems)
    holders = {stage_id: store.stage(stage_id).holder() for stage_id in stage_ids}
    held = {stage_id for stage_id, holder in holders.items() if is_live(holder)}
    try:
        for stage_id in stage_ids:
            lease = None if stage_id in held else store.stage(stage_id).acquire_lease()
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
