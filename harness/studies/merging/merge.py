"""Merge: several stores' studies and records into one store, all of it checked before anything is written.

What is written appears in an order in which the target is sound at every moment: of each stage the artifact, the twins
and the record, parents first, and the studies last. So a merge that was interrupted is finished by the same command.
Sources are read and never written to.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HarnessError, Problems, StoreError, require
from harness.files import files_of, folder_digest, sync_folder, sync_tree
from harness.specs import StageSpec, stage_label
from harness.store.cancellation import described
from harness.store.processes import is_live
from harness.store.stage import StoredStage
from harness.store.store import Store
from harness.store.turns import wait_for_lease
from harness.studies.merging.contents import Contents, Record, read_contents
from harness.studies.merging.records import Choice, choose
from harness.studies.merging.studies import united
from harness.studies.study import Study, parents_first, read_study, study_names, write_study
from harness.studies.twins import EVALUATION
from harness.wording import counted


@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """study: the one to merge; None: all. prefer: whose records count where two stores have other results.

    artifacts: bring those of every stage; otherwise those of evaluations alone, which hold predictions.
    records_only: bring no file but records and studies, as a repository keeps them.
    """

    sources: tuple[Path, ...]
    into: Path
    study: str | None = None
    prefer: Path | None = None
    artifacts: bool = False
    records_only: bool = False


@dataclass
class Merge:
    """What a merge comes to. problems: sentences about what keeps it from being done; notes: about what to know.

    studies: those to write; unchanged: names of those that the target has so already. artifacts, attempts: stage ->
    the folder to copy.
    """

    options: MergeOptions
    target: Contents
    choice: Choice
    studies: list[Study] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    artifacts: dict[str, Path] = field(default_factory=dict)
    attempts: dict[str, Path] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_refused(self) -> bool:
        return bool(self.problems or self.choice.conflicts)

    @property
    def new_records(self) -> list[str]:
        """The stages whose record the target lacks, parents first."""
        return [stage_id for stage_id in self.choice.taken if stage_id not in self.target.records]


def plan_merge(options: MergeOptions) -> Merge:
    """Reads and checks everything, writes nothing.

    Raises UsageError for stores that are not there, are given twice or hold nothing, and for a study that none has.
    """
    _check_places(options)
    sources = [read_contents(Store(path), str(path), options.study) for path in options.sources]
    target = read_contents(Store(options.into), str(options.into), options.study, others=sources)
    _check_contents(options, sources, target)
    every = [target, *sources]
    preferred = None if options.prefer is None else _at(every, options.prefer)
    specs: dict[str, StageSpec] = {}
    for contents in every:
        specs.update(contents.specs)
    ordered = {stage_id: specs[stage_id] for stage_id in parents_first(specs)}
    first = every if preferred is None else [preferred, *(each for each in every if each is not preferred)]
    merge = Merge(options, target, choose(_target_first(first, target), ordered, preferred))
    for contents in every:
        merge.problems += [f"{contents.name}: {problem}" for problem in contents.problems]
        merge.notes += [f"{contents.name}: {note}" for note in contents.notes]
    _unite_studies(merge, every, preferred)
    if not merge.choice.conflicts:
        _check_target_kept(merge)
        if not options.records_only:
            _find_artifacts(merge, sources)
            _note_predictions(merge, sources)
            _find_attempts(merge, sources)
    _check_not_running(merge)
    return merge


def _target_first(every: Sequence[Contents], target: Contents) -> list[Contents]:
    """Of records with one outcome the target's stays: nothing is written then."""
    return [target, *(each for each in every if each is not target)]


def _check_places(options: MergeOptions) -> None:
    """Raises UsageError with everything that is wrong with the stores as they were named."""
    problems, seen = Problems(), set[str]()
    if not options.sources:
        problems.add("no STORE to merge from is given.")
    into = os.path.realpath(options.into)
    for path in options.sources:
        real = os.path.realpath(path)
        if not path.exists():
            problems.add(f"store {path} is not there: expected the folder of a store, with studies and records in it.")
        elif not path.is_dir():
            problems.add(f"store {path} is a file: expected the folder of a store.")
        elif real == into:
            problems.add(f"store {path} is the one to merge into. Leave it out: what it has stays.")
        elif into.startswith(os.path.join(real, "")):
            problems.add(
                f"--into {options.into} lies in store {path}, which is only read. Name a folder outside.", "into"
            )
        elif real in seen:
            problems.add(f"store {path} is given twice.")
        seen.add(real)
    if options.into.is_symlink() and not options.into.exists():
        problems.add(f"--into {options.into} is a link to nothing. Name a folder, or remove the link.", "into")
    elif (file := Store(options.into).blocked_by()) is not None:
        problems.add(f"--into {options.into}: {file} is a file. Name a folder.", "into")
    if options.prefer is not None and os.path.realpath(options.prefer) not in {*seen, into}:
        problems.add(f"--prefer {options.prefer}: expected one of the stores of this merge.", "prefer")
    problems.check()


def _check_contents(options: MergeOptions, sources: Sequence[Contents], target: Contents) -> None:
    problems = Problems()
    for contents in sources:
        if options.study is None and contents.is_empty:
            problems.add(f"store {contents.name} is empty: it has no study and no record. Is it the right folder?")
    if options.study is not None and not any(
        options.study in each.studies or each.problems for each in (*sources, target)
    ):
        problems.add(f"no store has a study {options.study!r}.", "study")
    problems.check()


def _at(every: Sequence[Contents], path: Path) -> Contents:
    real = os.path.realpath(path)
    return next(each for each in every if os.path.realpath(each.store.root) == real)


def _unite_studies(merge: Merge, every: Sequence[Contents], preferred: Contents | None) -> None:
    for name in sorted({name for contents in every for name in contents.studies}):
        holders = [contents for contents in every if name in contents.studies]
        study, problems, notes = united(name, holders, preferred)
        merge.problems += problems
        merge.notes += notes
        older = merge.target.studies.get(name)
        if older is not None and older.as_json() == study.as_json():
            merge.unchanged.append(name)
        else:
            merge.studies.append(study)


def _check_target_kept(merge: Merge) -> None:
    """The target's records stay: a finished record is never written over, nor hidden."""
    for stage_id, names in merge.choice.left_out.items():
        if merge.target.name in names:
            stage = merge.target.store.stage(stage_id)
            label = stage_label(merge.choice.specs[stage_id], merge.choice.specs)
            merge.problems.append(
                f"{label} ({stage_id}): {merge.target.name} has another record than the one to be taken, and no record "
                f"is written over. Prefer {merge.target.name}, or take its record away first, with all that depends on "
                f"it: {stage.command('invalidate')}"
            )
    left = {stage_id: names for stage_id, names in merge.choice.left_out.items() if merge.target.name not in names}
    for name in sorted({name for names in left.values() for name in names}):
        stages = [stage_id for stage_id, names in left.items() if name in names]
        merge.notes.append(
            f"{counted(len(stages), 'record')} of {name} stay behind: other results, or made from such. Stages that "
            "have no record then run again with the next harness grid."
        )


def _find_artifacts(merge: Merge, sources: Sequence[Contents]) -> None:
    """Which folders are copied; one that is not what its record describes is a problem."""
    gone = 0
    for stage_id, contents in merge.choice.taken.items():
        is_evaluation = merge.choice.specs[stage_id].kind == EVALUATION
        described_as = contents.records[stage_id].get("artifact") or {}
        if not (merge.options.artifacts or is_evaluation) or _target_has_artifact(merge, stage_id):
            continue
        folders = [
            each.store.stage(stage_id).artifact_path
            for each in sources
            if stage_id in each.records
            and _artifact_digest(each.records[stage_id]) == described_as.get("digest")
            and each.store.stage(stage_id).has_artifact()
        ]
        if not folders:
            gone += bool(described_as.get("files"))
            continue
        sound = [folder for folder in folders if _digest(folder) == described_as.get("digest")]
        if sound:
            merge.artifacts[stage_id] = sound[0]
        else:
            merge.problems.append(
                f"artifact {folders[0]} is not the one that its record describes. Bring the original back, move the "
                f"folder away, or redo it there: {Store(folders[0].parents[1]).stage(stage_id).command('invalidate')}"
            )
    if gone:
        merge.notes.append(
            f"{counted(gone, 'artifact')} that records describe are in no store; the records come alone."
        )


def _note_predictions(merge: Merge, sources: Sequence[Contents]) -> None:
    """Evaluations scored again for their predictions have the same result: the older record stays, which has none."""
    behind = sum(
        not _has_files(taken, stage_id) and any(_has_files(each, stage_id) for each in sources)
        for stage_id, taken in merge.choice.taken.items()
        if merge.choice.specs[stage_id].kind == EVALUATION
    )
    if behind:
        merge.notes.append(
            f"the predictions of {counted(behind, 'evaluation')} stay behind: a record that says the same is taken, "
            "of a version that kept none."
        )


def _has_files(contents: Contents, stage_id: str) -> bool:
    record = contents.records.get(stage_id)
    return record is not None and bool((record.get("artifact") or {}).get("files"))


def _target_has_artifact(merge: Merge, stage_id: str) -> bool:
    """Whether the target has the artifact of the record that is taken.

    What is there without a record is of an attempt that died before it wrote one, and may be another.
    """
    stage, record = merge.target.store.stage(stage_id), merge.choice.taken[stage_id].records[stage_id]
    if not stage.has_artifact():
        return False
    return stage_id in merge.target.records or _digest(stage.artifact_path) == _artifact_digest(record)


def _artifact_digest(record: Record) -> str | None:
    return (record.get("artifact") or {}).get("digest")


def _digest(folder: Path) -> str | None:
    try:
        return folder_digest(folder)
    except OSError:
        return None


def _find_attempts(merge: Merge, sources: Sequence[Contents]) -> None:
    """Attempts come with what they led to, where the target knows none of the stage: numbers are never changed."""
    own = merge.target.store.attempted()
    left = 0
    others: Counter[str] = Counter()
    for contents in sources:
        for stage_id in sorted(contents.store.attempted() & contents.specs.keys()):
            taken = merge.choice.taken.get(stage_id)
            if stage_id in own:
                left += 1
            elif contents.store.stage(stage_id).is_held():
                continue
            elif taken in (None, contents) and stage_id not in merge.attempts:
                merge.attempts[stage_id] = contents.store.stage(stage_id).attempts_path
            else:
                others[contents.name] += 1
    if left:
        merge.notes.append(f"the attempts of {counted(left, 'stage')} stay behind: {merge.target.name} has its own.")
    for name, count in others.items():
        merge.notes.append(
            f"the attempts of {counted(count, 'stage')} of {name} stay behind, and with them their hours and failures: "
            "those of another store come."
        )


def _check_not_running(merge: Merge) -> None:
    """A stage that the target runs now, and whose record would come from elsewhere."""
    store = merge.target.store
    leased = store.leased()
    holders = {stage_id: store.stage(stage_id).holder() for stage_id in merge.new_records if stage_id in leased}
    for stage_id, holder in holders.items():
        if is_live(holder):
            label = stage_label(merge.choice.specs[stage_id], merge.choice.specs)
            merge.problems.append(
                f"{label} ({stage_id}) is running in {merge.target.name}: {described(holder)}. Wait for its end, or "
                f"stop it with {store.stage(stage_id).command('cancel')}"
            )


# -- writing


def carry_out(merge: Merge) -> None:
    """Write what a merge that is not refused comes to.

    Raises HarnessError where the target changed since it was read: what was written is sound, and the same command
    says what is left. OSError where it cannot be written.
    """
    require(not merge.is_refused, "a merge with conflicts is not written")
    store = merge.target.store
    if not (merge.new_records or merge.studies or merge.artifacts or merge.attempts or merge.choice.twins):
        return
    store.check_writable()
    for (stage_id, digest), contents in merge.choice.twins.items():
        stage = store.stage(stage_id)
        if not stage.twin_path(digest).exists():
            stage.adopt(stage.twin_path(digest), contents.digests(stage_id)[digest])
    new = set(merge.new_records)
    for stage_id in {**merge.choice.taken, **merge.attempts}:
        if stage_id in new or stage_id in merge.artifacts or stage_id in merge.attempts:
            _bring(merge, store.stage(stage_id), is_new=stage_id in new)
    for study in merge.studies:
        _write_study(merge, study)


def _bring(merge: Merge, stage: StoredStage, *, is_new: bool) -> None:
    """What the target lacks of one stage, while nobody can run it."""
    lease = stage.acquire_lease()
    if lease is None:
        raise HarnessError(
            f"stage {stage.stage_id} began to run in {stage.root} meanwhile; give the same command again."
        )
    try:
        if is_new and stage.has_artifact() and not _target_has_artifact(merge, stage.stage_id):
            stage.discard_artifact()  # no record refers to it, and the one that comes describes another
        if folder := merge.artifacts.get(stage.stage_id):
            record = merge.choice.taken[stage.stage_id].records[stage.stage_id]
            _copy(folder, stage.artifact_path, files_of(folder), record["artifact"]["digest"])
        if folder := merge.attempts.get(stage.stage_id):
            _copy(folder, stage.attempts_path, _matching(folder, ("*.jsonl", "*.log")))
        if is_new:
            record = merge.choice.taken[stage.stage_id].records[stage.stage_id]
            try:
                stage.adopt(stage.record_path, record, guard=lease.check)
            except FileExistsError:
                raise HarnessError(
                    f"stage {stage.stage_id} was finished in {stage.root} meanwhile; give the same command again."
                ) from None
    finally:
        lease.release()


def _copy(source: Path, final: Path, files: Iterable[Path], digest: str | None = None) -> None:
    """Copy files of a folder, all or none; a folder that is there stays. digest: of the files, checked on the copy."""
    final.parent.mkdir(parents=True, exist_ok=True)
    for half_written in final.parent.glob(f".{final.name}.*"):
        shutil.rmtree(half_written, ignore_errors=True)
    if final.is_dir():
        return
    temporary = final.with_name(f".{final.name}.{uuid.uuid4().hex}")
    try:
        temporary.mkdir()
        for path in files:
            copy = temporary / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
        sync_tree(temporary)
        if digest is not None and folder_digest(temporary) != digest:
            raise StoreError(f"{source} was changed while it was copied; give the same command again.")
        temporary.rename(final)
        sync_folder(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _matching(folder: Path, patterns: Collection[str]) -> Iterator[Path]:
    """Files of these names; what a link among them leads to is not the store's."""
    for pattern in patterns:
        yield from (path for path in sorted(folder.glob(pattern)) if path.is_file() and not path.is_symlink())


def _write_study(merge: Merge, study: Study) -> None:
    """Write a study while nobody else changes it. Raises UsageError where somebody did since it was read."""
    store = merge.target.store
    with wait_for_lease(store.study_lease_path(study.name)).held() as lease:
        now = read_study(store, study.name) if study.name in study_names(store) else None
        before = merge.target.studies.get(study.name)
        if (now and now.as_json()) != (before and before.as_json()):
            raise HarnessError(
                f"study {study.name!r} of {merge.target.name} was changed meanwhile; its records are there, and the "
                "same command adds the cells."
            )
        lease.check()
        write_study(store, study)
