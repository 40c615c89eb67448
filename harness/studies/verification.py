"""Whether the records of a plan can be trusted. Every verb that reports numbers verifies them first.

Each record carries its own digest and its parents'. So reading finds an edited record, one that describes another
stage, and a parent swapped for another store's. A finished stage without its artifact (`harness gc` removes what nobody
needs) is found before anything starts.
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
    """The records of the finished stages, by id. Raises StoreError with every one that cannot be trusted."""
    records: dict[str, Mapping[str, Any]] = {}
    problems: list[str] = []
    for stage_id, spec in plan.stages.items():
        stage = store.stage(stage_id)
        if not stage.has_record():
            continue
        try:
            record = stage.read_record()
        except StoreError as error:
            problems.append(str(error))
            continue
        records[stage_id] = record
        if {name: record.get(name) for name in spec.fingerprint_fields()} != spec.fingerprint_fields():
            problems.append(f"record {stage.record_path} describes another computation than stage {stage_id}.")
        for role, parent in spec.parents.items():
            if parent in records and record.get("parent_digests", {}).get(role) != records[parent]["digest"]:
                problems.append(
                    f"record {stage.record_path} was made from another {role} than the record of {parent} in this "
                    f"store. Bring the one it was made from, or redo it: {stage.invalidate_command}"
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
    return [_gone_artifact(plan, parent, count, store) for parent, count in users.items() if _is_gone(store, parent)]


def _gone_artifact(plan: Plan, stage_id: str, users: int, store: Store) -> str:
    commands = [store.stage(highest).invalidate_command for highest in _highest_gone(plan, stage_id, store)]
    return (
        f"the artifact of {plan.label(stage_id)} ({stage_id}) is gone ({store.stage(stage_id).artifact_path}); its "
        f"record exists, and {users} of the stages to run start from it. Bring the folder back, or redo it and all "
        f"that depends on it: {', '.join(commands)}"
    )


def _is_gone(store: Store, stage_id: str) -> bool:
    return store.stage(stage_id).has_record() and not store.stage(stage_id).has_artifact()


def _highest_gone(plan: Plan, stage_id: str, store: Store) -> list[str]:
    """The stages to invalidate: redoing `stage_id` may need parents whose artifacts are gone as well."""
    gone = [parent for parent in plan.stages[stage_id].parents.values() if _is_gone(store, parent)]
    return list(dict.fromkeys(i for parent in gone for i in _highest_gone(plan, parent, store))) or [stage_id]
