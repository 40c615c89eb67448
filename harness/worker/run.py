"""Running one stage: attempt, parents checked, the kind's function, artifact, record. Knows nothing of grids."""

from __future__ import annotations

import logging
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import Cancelled, HarnessError, Interrupted, StoreError, is_disk_full
from harness.files import folder_digest
from harness.planning.equivalents import identity_version
from harness.planning.method_registry import kind_of
from harness.progress import ProgressFile
from harness.specs import StageSpec
from harness.stages.context import Resources, Sources, StageContext, StageResult
from harness.store.cancellation import cancellable, refuse_cancelled
from harness.store.leases import Holder, Lease, LeaseLost, acquire
from harness.store.processes import is_gone, this_process
from harness.store.store import Store
from harness.worker.provenance import provenance
from harness.worker.source_state import SourceChanged, check_source, watch

if TYPE_CHECKING:
    pass

logger = logging.getLogger("harness")


class StageBusy(HarnessError):
    """Another worker holds the stage's lease."""


class ParentGone(HarnessError):
    """What a stage rests on has no record: it was never made here, or was taken back."""


def run_bundle(
    stages: Sequence[StageSpec],
    store: Store,
    sources: Sources,
    resources: Resources,
    should_stop: Callable[[], bool],
    silent: Mapping[str, int],
    job: str = "",
) -> dict[str, str]:
    """Run the stages of a bundle in order; one that fails costs only those that rest on it.

    Returns stage id -> error of those that did not end well; the store says the rest.
    silent: stage id -> generation of its lease whose holder is known to be dead. job: as in `run_stage`.
    """
    problems: dict[str, str] = {}
    unfinished: set[str] = set()
    for spec in stages:
        if should_stop():
            break
        if store.has_record(spec.stage_id):
            continue
        unfinished.add(spec.stage_id)
        if unfinished & set(spec.parents.values()):  # what became of that one says it all
            continue
        try:
            run_stage(spec, store, sources, resources, should_stop, silent=silent.get(spec.stage_id), job=job)
        except Exception as error:
            problems[spec.stage_id] = first_line(error)
            logger.info("%s: %s", spec.label(), problems[spec.stage_id])
        else:
            unfinished.discard(spec.stage_id)
    return problems


def run_stage(
    spec: StageSpec,
    store: Store,
    sources: Sources,
    resources: Resources,
    should_stop: Callable[[], bool],
    *,
    silent: int | None = None,
    job: str = "",
) -> bool:
    """Run a stage to its record, or end its attempt with the reason and raise. False: it was finished already.

    silent: the generation of its lease whose holder is known to be dead. job: noted with the attempt, so that the
    driver that handed the stage out knows it for its own.

    Raises StageBusy when another worker holds its lease, ParentGone when it cannot begin, Cancelled when the stage is
    cancelled (before it starts or while it runs), Interrupted when asked to stop, LeaseLost when it was taken over
    meanwhile, and the stage's own exception when it fails.
    """
    provenance()  # read now: the source may change before the stage ends
    stage_id = spec.stage_id

    def is_dead(holder: Holder) -> bool:
        return holder.generation == silent or is_gone(holder)

    lease = acquire(store.lease_path(stage_id), this_process(), is_dead)
    if lease is None:
        raise StageBusy(f"stage {stage_id} is held by another worker.")
    with lease.held():
        if store.has_record(stage_id):  # its last holder published between our looking and our taking the lease
            return False
        refuse_cancelled(store, stage_id)
        _check_parents(spec, store)  # with the lease in hand: `invalidate` takes nothing from under who holds one
        who = {**this_process(), "generation": lease.generation, "job": job}
        number = store.begin_attempt(stage_id, {"time": time.time(), **who})
        with _logging_to(store.attempt_log(stage_id, number)):
            try:
                with cancellable(store.cancel_path(stage_id, number), should_stop) as stops:
                    _run_to_record(spec, store, sources, resources, stops, number, lease)
            except BaseException as error:
                logging.getLogger().error("%s", traceback.format_exc())
                ended = {"outcome": outcome_of(error), "message": first_line(error)}
                store.note_end(stage_id, number, {"time": time.time(), **ended})
                raise
            store.note_end(stage_id, number, {"time": time.time(), "outcome": "done"})
            shutil.rmtree(store.checkpoints_path(stage_id), ignore_errors=True)  # last: see `leftovers`
    return True


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """What is logged while the block runs goes to the attempt's file too."""
    logger.setLevel(logging.INFO)
    handler = _AttemptLog(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        with suppress(OSError):  # what a full disk did not take is written once more on closing
            handler.close()


class _AttemptLog(logging.FileHandler):
    """A log that only informs: a disk that is full neither ends the stage nor fills the terminal."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def outcome_of(error: BaseException) -> str:
    """The class of an attempt's end, one of `attempt_ends.ENDS`, for what its stage raised."""
    if isinstance(error, Cancelled):
        return "cancelled"
    if isinstance(error, LeaseLost):
        return "lease-lost"
    if isinstance(error, Interrupted | KeyboardInterrupt | SystemExit):
        return "interrupted"
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "out of memory" in str(error).lower()
    ):
        return "out-of-memory"
    return "infrastructure" if isinstance(error, OSError) or is_disk_full(error) else "code"


def first_line(error: BaseException) -> str:
    """The reason of a failure in one line."""
    if is_disk_full(error):
        return f"the disk is full ({_told(error)}). Free some space and give the same command again."
    return _told(error)


def _told(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    prefix = "" if isinstance(error, HarnessError) else f"{type(error).__name__}: "
    return prefix + text.splitlines()[0]


def _run_to_record(
    spec: StageSpec,
    store: Store,
    sources: Sources,
    resources: Resources,
    should_stop: Callable[[], bool],
    attempt: int,
    lease: Lease,
) -> None:
    started = time.time()
    _check_version(spec)
    watch(kind_of(spec).run)
    check_source()
    in_memory = set(sys.modules)
    records = {role: store.read_record(parent) for role, parent in spec.parents.items()}
    for role, parent in spec.parents.items():
        _check_artifact(store, role, parent, records[role])
    checkpoints = store.checkpoints_path(spec.stage_id)
    checkpoints.mkdir(parents=True, exist_ok=True)
    with store.new_artifact(spec.stage_id, guard=lease.check) as artifact:
        context = StageContext(
            spec=spec,
            parent_records=records,
            parent_artifacts={role: store.artifact_path(parent) for role, parent in spec.parents.items()},
            artifact=artifact,
            checkpoints=checkpoints,
            sources=sources,
            resources=resources,
            should_stop=should_stop,
            report=ProgressFile(store.attempt_progress(spec.stage_id, attempt)),
        )
        result: StageResult = kind_of(spec).function()(context)
        check_source(imported_after=in_memory)
        files = [path for path in artifact.rglob("*") if path.is_file()]
        described = {
            "digest": folder_digest(artifact),
            "bytes": sum(path.stat().st_size for path in files),
            "files": sorted(path.relative_to(artifact).as_posix() for path in files),
        }
    store.publish_record(
        {
            "stage_id": spec.stage_id,
            **spec.identity(),
            "parent_digests": {role: record["digest"] for role, record in records.items()},
            "result": {"metrics": result.metrics, "did": result.did, **result.details},
            "artifact": described,
            "times": {"started": started, "ended": time.time(), "attempt": attempt},
            "provenance": {**provenance(), "kind_version": kind_of(spec).version},
        },
        guard=lease.check,
    )


def _check_parents(spec: StageSpec, store: Store) -> None:
    gone = [f"{role} ({parent})" for role, parent in spec.parents.items() if not store.has_record(parent)]
    if gone:
        raise ParentGone(
            f"stage {spec.stage_id} was not begun: its {' and '.join(gone)} has no record in {store.root}, perhaps "
            "taken back with harness invalidate. The grid's command makes it again."
        )


def _check_version(spec: StageSpec) -> None:
    """The code that runs must be of the version that the stage was planned for."""
    planned, here = spec.versions.get("kind"), identity_version(kind_of(spec))
    if planned is not None and planned != here:
        raise SourceChanged(
            f"kind {spec.kind!r} was planned in version {planned} and is version {here} here; "
            "give the grid's command again."
        )


def _check_artifact(store: Store, role: str, parent: str, record: Mapping[str, Any]) -> None:
    folder = store.artifact_path(parent)
    if not folder.is_dir():
        raise StoreError(
            f"the artifact of the {role} stage {parent} is gone ({folder}); its record is still there. "
            f"Bring the folder back, or make it and what rests on it again: {store.invalidation(parent)}"
        )
    if folder_digest(folder) != record["artifact"]["digest"]:
        raise StoreError(
            f"the artifact of the {role} stage {parent} ({folder}) is not the one its record describes. "
            f"Bring back what was there, or make it and what rests on it again: {store.invalidation(parent)}"
        )
