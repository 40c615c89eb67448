"""Runs one stage: verifies its parents, calls the kind's function, writes artifact and record. Knows no grid."""

from __future__ import annotations

import logging
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from harness.errors import (
    Cancelled,
    HarnessError,
    Interrupted,
    RankLost,
    StoreError,
    TimeLimit,
    full_disk_behind,
    is_disk_full,
    text_of,
)
from harness.files import folder_digest
from harness.inputs.machine_facts import machine_facts
from harness.planning.equivalents import identity_version
from harness.planning.method_registry import kind_of
from harness.progress import ProgressFile, StageProgress, StopFlag
from harness.specs import StageSpec, stage_label
from harness.stages.context import Resources, Sources, StageContext
from harness.store.cancellation import cancellable, refuse_cancelled
from harness.store.intervals import OFTEN, Intervals
from harness.store.leases import Holder, Lease, LeaseLost
from harness.store.processes import is_gone, this_process
from harness.store.stage import StoredStage
from harness.store.store import Store
from harness.worker.code_versions import own_source
from harness.worker.heap import freed_memory_kept
from harness.worker.provenance import provenance
from harness.worker.ranks import team_of
from harness.worker.source_state import SourceChanged, check_source, watch
from harness.worker.stage_call import call_stage
from harness.worker.stop_request import reason_told

logger = logging.getLogger("harness")


class StageBusy(HarnessError):
    """Another worker holds the stage's lease."""


class ParentGone(HarnessError):
    """A stage's parent has no record: it has not run in this store, or was invalidated."""


def run_bundle(
    stages: Sequence[StageSpec],
    store: Store,
    sources: Sources,
    resources: Resources,
    should_stop: Callable[[], bool],
    expired_leases: Mapping[str, int],
    job: str = "",
    intervals: Intervals = OFTEN,
) -> dict[str, str]:
    """Run the stages of a bundle in order; where one fails, only those that depend on it do not run.

    Returns stage id -> reason, for each stage that was begun or refused and did not finish; the rest is in the store.
    expired_leases: stage id -> generation of its lease, which may be taken over. job, should_stop and intervals:
    as in `run_stage`.
    """
    specs = {spec.stage_id: spec for spec in stages}
    problems: dict[str, str] = {}
    unfinished: set[str] = set()
    for spec in stages:
        if should_stop():
            break
        if store.stage(spec.stage_id).has_record():
            continue
        unfinished.add(spec.stage_id)
        if unfinished & set(spec.parents.values()):  # the parent's error is the reason
            continue
        try:
            expired = expired_leases.get(spec.stage_id)
            with freed_memory_kept():
                run_stage(
                    spec, store, sources, resources, should_stop, expired_lease=expired, job=job, intervals=intervals
                )
        except Exception as error:
            problems[spec.stage_id] = first_line(error)
            logger.info("%s: %s", stage_label(spec, specs), problems[spec.stage_id])
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
    expired_lease: int | None = None,
    job: str = "",
    intervals: Intervals = OFTEN,
) -> bool:
    """Run a stage to its record, or end its attempt with the reason and raise. False: it was finished already.

    expired_lease: the generation of its lease that may be taken over. job: stored with the attempt, so that the driver
    that submitted the stage knows the attempt as its own. intervals: how often the store is touched meanwhile.

    Raises StageBusy when another worker holds its lease, ParentGone when it cannot begin, Cancelled when the stage is
    cancelled (before it starts or while it runs), Interrupted when `should_stop` (a TimeLimit where a
    `StopRequest` knows of one), LeaseLost when it was taken over
    meanwhile, and the stage's own exception when it fails.
    """
    provenance()  # read now: the source may change before the stage ends
    stage = store.stage(spec.stage_id)

    def is_dead(holder: Holder) -> bool:
        return holder.generation == expired_lease or is_gone(holder)

    lease = stage.acquire_lease(is_dead)
    if lease is None:
        raise StageBusy(f"stage {spec.stage_id} is held by another worker.")

    def ends() -> bool:
        return should_stop() or lease.lost.is_set()

    with lease.held(intervals.heartbeat):
        if stage.has_record():  # its last holder published after we looked and before we took the lease
            return False
        refuse_cancelled(stage)
        _check_parents(spec, store)  # while holding the lease: `invalidate` then leaves the parents alone
        number = stage.begin_attempt({**this_process(), "generation": lease.generation, "job": job})
        with _logging_to(stage.log_path(number)):
            try:
                watched = cancellable(stage.cancel_path(number), ends, intervals.cancel)
                with reason_told(should_stop), _loss_told(lease), watched as stops:
                    progress = ProgressFile(stage.progress_path(number), intervals.progress)
                    _run_to_record(spec, store, sources, resources, stops, progress, number, lease)
            except BaseException as error:
                if isinstance(error, Cancelled | Interrupted):  # it was asked for: where in the code is of no use
                    logger.info("%s", first_line(error))
                else:
                    logging.getLogger().error("%s", traceback.format_exc())
                stage.try_to_end_attempt(number, {"outcome": outcome_of(error), "message": first_line(error)})
                raise
            stage.try_to_end_attempt(number, {"outcome": "done"})
            shutil.rmtree(stage.checkpoints_path, ignore_errors=True)  # last: see `leftovers`
    return True


@contextmanager
def _loss_told(lease: Lease) -> Iterator[None]:
    """An error of the block goes on as LeaseLost where another worker took over meanwhile, and with it the files."""
    try:
        yield
    except Exception as error:
        try:
            lease.check_not_taken_over()
        except LeaseLost as lost:
            raise lost from error
        raise


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Everything logged while the block runs goes to the attempt's file too."""
    logger.setLevel(logging.INFO)
    handler = _AttemptLog(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        with suppress(OSError):  # closing writes once more what a full disk did not take
            handler.close()


class _AttemptLog(logging.FileHandler):
    """A log that tolerates a full disk: the error neither ends the stage nor fills the terminal."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def outcome_of(error: BaseException) -> str:
    """The outcome of an attempt, a key of `attempts.OUTCOMES`, whose stage raised `error`."""
    if isinstance(error, Cancelled):
        return "cancelled"
    if isinstance(error, LeaseLost):
        return "lease-lost"
    if isinstance(error, TimeLimit):
        return "time-limit"
    if isinstance(error, RankLost):
        return "killed"
    if isinstance(error, Interrupted | KeyboardInterrupt):
        return "interrupted"
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "out of memory" in text_of(error).lower()
    ):
        return "out-of-memory"
    return "infrastructure" if isinstance(error, OSError) or is_disk_full(error) else "code"


def first_line(error: BaseException) -> str:
    """The reason of a failure in one line."""
    if (cause := full_disk_behind(error)) is not None:
        return f"the disk is full ({_summary(cause)}). Free some space and give the same command again."
    return _summary(error)


def _summary(error: BaseException) -> str:
    text = text_of(error).strip() or type(error).__name__
    prefix = "" if isinstance(error, HarnessError) else f"{type(error).__name__}: "
    return prefix + text.splitlines()[0]


def _run_to_record(
    spec: StageSpec,
    store: Store,
    sources: Sources,
    resources: Resources,
    should_stop: Callable[[], bool],
    report: Callable[[StageProgress], None],
    attempt: int,
    lease: Lease,
) -> None:
    started = time.time()
    _check_version(spec)
    watch(kind_of(spec).run)
    check_source()
    source = own_source(kind_of(spec))  # read now: as the provenance
    in_memory = set(sys.modules)
    stage, parents = store.stage(spec.stage_id), {role: store.stage(parent) for role, parent in spec.parents.items()}
    records = {role: parent.read_record() for role, parent in parents.items()}
    for role, parent in parents.items():
        _check_artifact(role, parent, records[role], StopFlag(should_stop))
    stage.checkpoints_path.mkdir(parents=True, exist_ok=True)
    with stage.new_artifact(guard=lease.check) as artifact:
        context = StageContext(
            spec=spec,
            parent_records=records,
            parent_artifacts={role: parent.artifact_path for role, parent in parents.items()},
            artifact=artifact,
            checkpoints=stage.checkpoints_path,
            sources=sources,
            resources=resources,
            should_stop=should_stop,
            report=report,
            guard=lease.check,
            team=team_of(spec, store, sources, resources),
        )
        result = call_stage(kind_of(spec), context)
        check_source(imported_after=in_memory)
        files = [path for path in artifact.rglob("*") if path.is_file()]
        described = {
            "digest": folder_digest(artifact),
            "bytes": sum(path.stat().st_size for path in files),
            "files": sorted(path.relative_to(artifact).as_posix() for path in files),
        }
    stage.publish_record(
        {
            **spec.fingerprint_fields(),
            "parent_digests": {role: record["digest"] for role, record in records.items()},
            "result": {"metrics": result.metrics, "did": result.did, **result.details},
            "artifact": described,
            "times": {"started": started, "ended": time.time(), "attempt": attempt},
            "provenance": {
                **provenance(),
                **machine_facts(),
                "kind_version": kind_of(spec).version,
                **({} if source is None else {"kind_source": source}),
            },
        },
        guard=lease.check,
    )


def _check_parents(spec: StageSpec, store: Store) -> None:
    gone = [f"{role} ({parent})" for role, parent in spec.parents.items() if not store.stage(parent).has_record()]
    if gone:
        raise ParentGone(
            f"stage {spec.stage_id} did not begin: its {' and '.join(gone)} has no record in {store.root}, perhaps "
            "because of harness invalidate. The grid's command runs it again."
        )


def _check_version(spec: StageSpec) -> None:
    """The code that runs must be of the version that the stage was planned for."""
    planned, here = spec.versions.get("kind"), identity_version(kind_of(spec))
    if planned is not None and planned != here:
        raise SourceChanged(
            f"kind {spec.kind!r} was planned in version {planned} and is version {here} here; "
            "give the grid's command again."
        )


def _check_artifact(role: str, parent: StoredStage, record: Mapping[str, Any], stops: StopFlag) -> None:
    if not parent.has_artifact():
        raise StoreError(
            f"the artifact of the {role} stage {parent.stage_id} is gone ({parent.artifact_path}); its record is still "
            f"there. Bring the folder back, or redo it and all that depends on it: {parent.command('invalidate')}"
        )
    if folder_digest(parent.artifact_path, stops.reading) != record["artifact"]["digest"]:
        raise StoreError(
            f"the artifact of the {role} stage {parent.stage_id} ({parent.artifact_path}) is not the one its record "
            f"describes. Bring the original back, or redo it and all that depends on it: {parent.command('invalidate')}"
        )
