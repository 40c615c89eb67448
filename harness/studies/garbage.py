"""Garbage: what of a store nobody needs, and removing it. Records, attempts and their logs are never garbage.

    --keep all        removes artifacts that no study names, checkpoints of stages that are finished or in no study, and
                      what a kill left half-written more than an hour ago
    --keep final      also artifacts of intermediate stages, but not the models that a cell's evaluation scores; and
                      what old submissions to a cluster left (`old_submissions`)
    --keep records    also every other artifact

The artifacts that unfinished stages of any study start from always stay, and so do those of evaluations: small
files of predictions, without which two models cannot be compared example by example any more.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from harness.files import discard_folder
from harness.identity import STAGE_ID_HEX_DIGITS, is_stage_id
from harness.planning.graph import Plan
from harness.store.processes import is_live
from harness.store.store import Store
from harness.studies.lineage import read_studies
from harness.studies.old_submissions import files_of_old_submissions
from harness.studies.verification import check_records

KEEPS = ("records", "final", "all")
CATEGORIES = ("artifacts of no study", "artifacts", "checkpoints", "temporaries", "submissions")
ABANDONED_SECONDS = 3600.0
_TEMPORARY = re.compile(rf"\.([0-9a-f]{{{STAGE_ID_HEX_DIGITS}}})\.[0-9a-f]{{32}}")


@dataclass(frozen=True, order=True)
class Garbage:
    """One folder that may be removed; of a submission, one file. category: one of CATEGORIES.

    stage_id: of a submission, its uuid.
    """

    stage_id: str
    path: Path
    category: str

    @property
    def is_file(self) -> bool:
        return self.category == "submissions"


def kept_artifacts(plans: Sequence[Plan], finished: Collection[str], keep: str) -> set[str]:
    """The stages whose artifacts are kept. Pure.

    plans: of all studies of the store. finished: stages with a record. keep: one of KEEPS.
    """
    specs = {stage_id: spec for plan in plans for stage_id, spec in plan.stages.items()}
    if keep == "all":
        return set(specs)
    kept = {p for stage_id, spec in specs.items() if stage_id not in finished for p in spec.parents.values()}
    for end in {plan.endpoint(cell) for plan in plans for cell in plan.paths}:
        kept |= {end, *(specs[end].parents.values() if keep == "final" else ())}
    return kept


def find_garbage(store: Store, keep: str, clock: float | None = None) -> list[Garbage]:
    """What may be removed now, by stage; nothing of a stage whose lease is held.

    clock: seconds since the epoch; default now. Raises StoreError for a study that is damaged, and for records that
    cannot be trusted: redoing those needs what would be removed.
    """
    plans = [study.plan for study in read_studies(store)]
    check_records(plans, store)
    named = {stage_id for plan in plans for stage_id in plan.stages}
    finished = store.finished(named)
    kept = kept_artifacts(plans, finished, keep)
    clock = time.time() if clock is None else clock
    abandoned = clock - ABANDONED_SECONDS
    found = []
    for path in _folders(store.root / "artifacts"):
        if is_stage_id(path.name) and path.name not in kept:
            category = CATEGORIES[1] if path.name in named else CATEGORIES[0]
            found.append(Garbage(path.name, path, category))
    for path in _folders(store.root / "checkpoints"):
        if is_stage_id(path.name) and path.name not in named - finished:
            found.append(Garbage(path.name, path, "checkpoints"))
    for parent in ("artifacts", "checkpoints"):
        for path in _folders(store.root / parent):
            match = _TEMPORARY.fullmatch(path.name)
            if match and _last_change(path) < abandoned:
                found.append(Garbage(match[1], path, "temporaries"))
    holders = {item.stage_id: store.stage(item.stage_id).holder() for item in found}
    held = {stage_id for stage_id, holder in holders.items() if is_live(holder)}
    free = sorted(item for item in found if item.stage_id not in held)
    old = {} if keep == "all" else files_of_old_submissions(store, named, finished, clock)
    return free + [Garbage(uuid, path, "submissions") for uuid, paths in old.items() for path in paths]


def remove_garbage(store: Store, keep: str, items: Collection[Garbage]) -> list[Garbage]:
    """Remove those of `items` that are still garbage; returns them. Holds each stage's lease meanwhile."""
    removed: list[Garbage] = []
    still = [item for item in find_garbage(store, keep) if item in set(items)]
    for item in still:
        if item.is_file:
            item.path.unlink(missing_ok=True)
            removed.append(item)
    folders = [item for item in still if not item.is_file]
    for stage_id, group in groupby(folders, key=lambda item: item.stage_id):
        lease = store.stage(stage_id).acquire_lease()
        if lease is None:
            continue
        with lease.held():
            for item in group:
                if item.category == "temporaries":
                    shutil.rmtree(item.path)
                else:
                    discard_folder(item.path)
                removed.append(item)
    return removed


def bytes_of(item: Garbage) -> int:
    """Bytes of a file, or of all files below a folder; 0 where it is gone."""
    if not item.is_file:
        return sum(status.st_size for status in _files(item.path))
    try:
        return item.path.lstat().st_size
    except FileNotFoundError:
        return 0


def _last_change(folder: Path) -> float:
    return max([folder.stat().st_mtime, *(status.st_mtime for status in _files(folder))])


def _files(folder: Path) -> Iterator[os.stat_result]:
    for directory, _, names in os.walk(folder):
        for name in names:
            try:
                yield os.lstat(os.path.join(directory, name))
            except FileNotFoundError:  # removed while we look
                continue


def _folders(parent: Path) -> list[Path]:
    """The folders in a folder, without links: those point outside the store."""
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.is_symlink())
