"""What one store brings to a merge: its studies and sound records; and all that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import StoreError, UsageError
from harness.planning.graph import Plan
from harness.planning.method_summary import MethodFacts
from harness.specs import StageSpec
from harness.store.store import Store
from harness.studies.results import result_problems
from harness.studies.study import Study, parents_first, read_study, study_names
from harness.studies.twins import outcome
from harness.studies.unread import Unread, find_unread
from harness.studies.verification import sound_records

Record = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Contents:
    """name: of the store, as the user wrote it. specs: every known stage, parents first.

    records: the sound ones, by stage. twins: of each stage, by digest. problems: sentences about what cannot be
    trusted; notes: about what is left behind.
    """

    store: Store
    name: str
    studies: Mapping[str, Study] = field(default_factory=dict)
    specs: Mapping[str, StageSpec] = field(default_factory=dict)
    records: Mapping[str, Record] = field(default_factory=dict)
    twins: Mapping[str, Mapping[str, Record]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.studies or self.specs or self.problems)

    def digests(self, stage_id: str) -> dict[str, Record]:
        """The records of a stage that children may have been made from, by digest."""
        own = self.records.get(stage_id)
        return {**({own["digest"]: own} if own is not None else {}), **self.twins.get(stage_id, {})}


def read_contents(store: Store, name: str, only: str | None = None, *, others: Sequence[Contents] = ()) -> Contents:
    """only: the one study that is wanted, with the records that its stages have, and those of the others' stages."""
    problems: list[str] = []
    studies = _read_studies(store, only, problems)
    specs: dict[str, StageSpec] = {}
    methods: dict[str, MethodFacts] = {}
    for study in (*(study for each in others for study in each.studies.values()), *studies.values()):
        specs.update(study.plan.stages)
        methods.update(study.plan.methods)
    unread = find_unread(store, specs if only else None)
    if only is None:
        specs.update(_of_no_study(store, unread, specs, problems))
    ordered = {stage_id: specs[stage_id] for stage_id in parents_first(specs)}
    plan = Plan(stages=ordered, methods=methods)
    records, unsound = sound_records(plan, store)
    problems += [*unsound, *result_problems(plan, records, store), *unread.problems]
    return Contents(
        store=store,
        name=name,
        studies=studies,
        specs=ordered,
        records=records,
        twins={stage_id: found for stage_id, own in records.items() if (found := _twins(store, stage_id, own))},
        problems=tuple(dict.fromkeys(problems)),
        notes=tuple(unread.notes),
    )


def _read_studies(store: Store, only: str | None, problems: list[str]) -> dict[str, Study]:
    found: dict[str, Study] = {}
    try:
        names = study_names(store)
    except StoreError as error:
        problems.append(str(error))
        return found
    for name in names:
        if only in (None, name):
            try:
                found[name] = read_study(store, name)
            except (StoreError, UsageError) as error:
                problems.append(str(error))
    return found


def _of_no_study(
    store: Store, unread: Unread, known: Mapping[str, StageSpec], problems: list[str]
) -> dict[str, StageSpec]:
    told = {store.stage(stage_id).record_path.parent for stage_id in known}  # by who reads these records
    for folder, reason in unread.unlisted.items():
        if folder not in (*told, store.records_path):
            problems.append(f"records in {folder} cannot be read ({reason}). Bring the folder back, or move it away.")
    found: dict[str, StageSpec] = {}
    for stage_id in unread.recorded:
        if stage_id not in known:
            try:
                found[stage_id] = StageSpec.from_json(store.stage(stage_id).read_record())
            except (StoreError, FileNotFoundError) as error:
                problems.append(str(error))
    return found


def _twins(store: Store, stage_id: str, own: Record) -> dict[str, Record]:
    """Those that say the same as the stage's record; others are of one that was invalidated since."""
    stage, said = store.stage(stage_id), outcome(own)
    found = {digest: stage.read_twin(digest) for digest in stage.twin_digests()}
    return {digest: record for digest, record in found.items() if record is not None and outcome(record) == said}
