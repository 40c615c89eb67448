"""Running one stage: attempt, parents checked, the kind's function, artifact, record. Knows nothing of grids."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import __version__
from harness.cancellation import cancellable, refuse_cancelled
from harness.equivalents import identity_version
from harness.errors import Cancelled, HarnessError, Interrupted, StoreError, is_disk_full
from harness.identity import ContentHashes, sha256_of
from harness.kinds import get_kind
from harness.leases import Holder, Lease, LeaseLost, acquire
from harness.models import BaseModel
from harness.processes import is_gone, this_process
from harness.progress import ProgressFile, StageProgress
from harness.source_state import SourceChanged, check_source
from harness.sparse_checkpoints import SparseCheckpoint
from harness.specs import StageSpec
from harness.store import Store, folder_digest

if TYPE_CHECKING:
    from harness.data.places import DataPlace

logger = logging.getLogger("harness")
PACKAGES = ("torch", "transformers", "accelerate", "datasets", "evaluate", "tokenizers", "numpy", "scikit-learn")


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where this machine keeps what a plan names by identity: base models by alias, and the data.

    checkpoints: sparse checkpoints from outside, by identity.
    """

    models: Mapping[str, BaseModel]
    data: DataPlace
    checkpoints: Mapping[str, SparseCheckpoint] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For another process on this machine, or on one that sees the same files."""
        return {
            "models": {alias: _with_path(model) for alias, model in self.models.items()},
            "data": self.data.as_json(),
            "checkpoints": {identity: _with_path(checkpoint) for identity, checkpoint in self.checkpoints.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], hashes: ContentHashes) -> Sources:
        from harness.data.places import place_from_json

        def located(told: Mapping[str, Any]) -> dict[str, Any]:
            return {**told, "folder": None if told["folder"] is None else Path(told["folder"])}

        return cls(
            models={alias: BaseModel(**located(told)) for alias, told in value["models"].items()},
            data=place_from_json(value["data"], hashes),
            checkpoints={key: SparseCheckpoint(**located(told)) for key, told in value["checkpoints"].items()},
        )


def _with_path(found: BaseModel | SparseCheckpoint) -> dict[str, Any]:
    return {**asdict(found), "folder": None if found.folder is None else str(found.folder.absolute())}


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Choices that enter no identity.

    checkpoint_minutes: time between two checkpoints of a training stage. Changes no number.
    device_batch: most examples of a training stage's batch on the device at a time; 0 is the whole batch. Either way
        it is halved when the device runs out of memory. Loss, gradient and data order are those of the whole batch up
        to rounding; dropout draws anew for every part, so the numbers are another sample of the same run, and the
        record says how the batch was cut.
    """

    checkpoint_minutes: float = 3.0
    device_batch: int = 0


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """All a stage function may lean on.

    artifact: an empty folder; what stands in it at the end becomes the stage's artifact.
    checkpoints: the stage's own folder, kept across attempts until the record is in.
    should_stop: polled between steps; a stage that sees True saves a checkpoint and raises Interrupted.
    report: told after every step how far the stage is.
    """

    spec: StageSpec
    parent_records: Mapping[str, Mapping[str, Any]]
    parent_artifacts: Mapping[str, Path]
    artifact: Path
    checkpoints: Path
    sources: Sources
    resources: Resources
    should_stop: Callable[[], bool]
    report: Callable[[StageProgress], None]

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.spec.parameters


@dataclass(kw_only=True)
class StageResult:
    """What a stage function hands back; it becomes the record's `result`.

    metrics: named values with their raw counts. did: what was done, with counts, for people and for tests.
    """

    metrics: dict[str, Any] = field(default_factory=dict)
    did: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


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
        result: StageResult = get_kind(spec.kind).function()(context)
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
            "provenance": {**provenance(), "kind_version": get_kind(spec.kind).version},
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
    planned, here = spec.versions.get("kind"), identity_version(get_kind(spec.kind))
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


@cache
def provenance() -> dict[str, Any]:
    """Where and with what a record was made: commit, package versions, hardware. Enters no identity."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "absent"
    return {
        "harness": __version__,
        **_commit(),
        "python": platform.python_version(),
        "versions": versions,
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def _commit() -> dict[str, Any]:
    """The source's commit and a digest of uncommitted changes, when the package runs from a checkout."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *words], capture_output=True, text=True, check=True, timeout=20
        ).stdout

    try:
        if not git("ls-files", "--", __file__).strip():
            return {"commit": None}
        changes = git("status", "--porcelain") + git("diff", "HEAD")
        return {"commit": git("rev-parse", "HEAD").strip(), "uncommitted": sha256_of(changes) if changes else None}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None}
