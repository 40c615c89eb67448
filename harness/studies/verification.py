"""Whether the records of a plan are what they claim to be. Used by whatever hands numbers on.

Each record carries its own digest and its parents'. So an edited record, one that describes another stage, and a parent
swapped for another store's are all found by reading. An artifact that is gone while its record is there (`harness gc`
takes what nobody needed) is found before anything starts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from harness.errors import StoreError
from harness.planning.graph import Plan
from harness.store.store import Store

Records = Mapping[str, Mapping[str, Any]]


def verified_records(plan: Plan, store: Store) -> Records:
    """The records that are in, by stage id. Raises StoreError with every one that cannot be trusted."""
    records: dict[str, Mapping[str, Any]] = {}
    problems: list[str] = []
    for stage_id, spec in plan.stages.items():
        if not store.has_record(stage_id):
            continue
        try:
            record = store.read_record(stage_id)
        except StoreError as error:
            problems.append(str(error))
            continue
        records[stage_id] = record
        if {name: record.get(name) for name in spec.fingerprint_fields()} != spec.fingerprint_fields():
            problems.append(
                f"record {store.record_path(stage_id)} describes another computation than stage {stage_id}."
            )
        for role, parent in spec.parents.items():
            if parent in records and record.get("parent_digests", {}).get(role) != records[parent]["digest"]:
                problems.append(
                    f"record {store.record_path(stage_id)} was made from another {role} than the record of {parent} "
                    f"in this store. Bring the one it was made from, or make it again: {store.invalidation(stage_id)}"
                )
    if problems:
        raise StoreError("\n".join(problems))
    return records


def gone_artifacts(plan: Plan, waiting: Collection[str], store: Store) -> list[str]:
    """A sentence for every finished stage whose artifact is gone and that a stage of `waiting` starts from."""
    users: dict[str, int] = defaultdict(int)
    for stage_id in waiting:
        for parent in set(plan.stages[stage_id].parents.values()):
            users[parent] += 1
    return [
        f"the artifact of {plan.label(parent)} ({parent}) is gone ({store.artifact_path(parent)}); its record "
        f"is there, and {count} of the stages to run start from it. Bring the folder back, or make it and what rests "
        f"on it again: {', '.join(store.invalidation(highest) for highest in _highest_gone(plan, parent, store))}"
        for parent, count in users.items()
        if _is_gone(store, parent)
    ]


def _is_gone(store: Store, stage_id: str) -> bool:
    return store.has_record(stage_id) and not store.artifact_path(stage_id).is_dir()


def _highest_gone(plan: Plan, stage_id: str, store: Store) -> list[str]:
    """The stages to invalidate: making `stage_id` again may need parents whose artifacts are gone as well."""
    gone = [parent for parent in plan.stages[stage_id].parents.values() if _is_gone(store, parent)]
    return list(dict.fromkeys(i for parent in gone for i in _highest_gone(plan, parent, store))) or [stage_id]
