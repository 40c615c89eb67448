"""Whether the records of a plan are what they claim to be. Used by whatever hands numbers on.

Each record carries its own digest and its parents'. So an edited record, one that describes another stage, and a parent
swapped for another store's are all found by reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import StoreError
from harness.plan import Plan
from harness.store import Store

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
        if {name: record.get(name) for name in spec.identity()} != spec.identity():
            problems.append(
                f"record {store.record_path(stage_id)} describes another computation than stage {stage_id}."
            )
        for role, parent in spec.parents.items():
            if parent in records and record.get("parent_digests", {}).get(role) != records[parent]["digest"]:
                problems.append(
                    f"record {store.record_path(stage_id)} was made from another {role} than the record of {parent} "
                    "in this store. Bring the one it was made from, or remove it to run the stage again."
                )
    if problems:
        raise StoreError("\n".join(problems))
    return records
