"""Whether the stages that count as done are sound. Whatever reports, builds on or removes results asks here first.

A stage is done where something has its record's name (`StoredStage.has_record`), and sound where that can be read, is
unchanged, describes the stage (`StoredStage.read_record`) and was made from the records that its parents have here, or
from twins of them (`twins`). So reading finds an edited record, another stage's, and a parent swapped for another
store's. A finished stage without its
artifact (`harness gc` removes what nobody needs) is found before anything starts.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from harness.errors import StoreError
from harness.planning.graph import Plan
from harness.planning.planner import without_garbage_collection
from harness.store.store import Store
from harness.studies.twins import is_twin
from harness.wording import counted

Records = Mapping[str, Mapping[str, Any]]


def verified_records(plan: Plan, store: Store) -> Records:
    """The records of the finished stages, by id. Raises StoreError with every one that cannot be trusted."""
    records, problems = sound_records(plan, store)
    if problems:
        raise StoreError("\n".join(problems))
    return records


def sound_records(plan: Plan, store: Store) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """The records that can be read, by id, and a sentence for every one that cannot be trusted."""
    problems: list[str] = []
    with without_garbage_collection():
        return dict(_sound_records(plan, store, problems)), problems


def _sound_records(plan: Plan, store: Store, problems: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The records one by one; what is wrong with others is added to `problems`."""
    digests: dict[str, str] = {}
    finished = _finished(plan, store, problems)
    for stage_id, spec in plan.stages.items():
        if stage_id not in finished:
            continue
        stage = store.stage(stage_id)
        try:
            record = stage.read_record(spec)
        except StoreError as error:
            problems.append(str(error))
            continue
        except (FileNotFoundError, NotADirectoryError):  # invalidated between the two
            continue
        digests[stage_id] = record["digest"]
        for role, parent in spec.parents.items():
            made_from = record.get("parent_digests", {}).get(role)
            if parent in digests and made_from != digests[parent] and not is_twin(store, parent, made_from):
                problems.append(
                    f"record {stage.record_path} was made from another {role} than the record of {parent} in this "
                    f"store. Bring the one it was made from, or redo it: {stage.command('invalidate')}"
                )
        yield stage_id, record


def _finished(plan: Plan, store: Store, problems: list[str]) -> set[str]:
    """The stages with a record; a folder of records that cannot be listed is added to `problems`."""
    by_folder: dict[str, list[str]] = defaultdict(list)
    for stage_id in plan.stages:
        by_folder[stage_id[:2]].append(stage_id)
    finished: set[str] = set()
    if os.path.lexists(store.records_path) and not store.records_path.is_dir():
        problems.append(f"{store.records_path} is no folder: expected the store's records. Bring the folder back.")
        return finished
    for _, stage_ids in sorted(by_folder.items()):
        folder = store.stage(stage_ids[0]).record_path.parent
        try:
            finished |= store.finished(stage_ids)
            is_none = os.path.lexists(folder) and not folder.is_dir()
            reason = "not a folder" if is_none else ""
        except OSError as error:
            reason = error.strerror or type(error).__name__
        if reason:
            problems.append(
                f"records in {folder} cannot be read ({reason}); {counted(len(stage_ids), 'stage')} may have theirs "
                "there. Bring the folder back, or make it readable."
            )
    return finished


def check_records(plans: Iterable[Plan], store: Store) -> None:
    """Raises StoreError with every record of these plans that cannot be trusted, each once."""
    problems: dict[str, None] = {}
    for plan in plans:
        found: list[str] = []
        for _ in _sound_records(plan, store, found):  # one at a time: a plan may have many
            pass
        problems |= dict.fromkeys(found)
    if problems:
        raise StoreError("\n".join(problems))


def gone_artifacts(plan: Plan, waiting: Collection[str], store: Store) -> list[str]:
    """A sentence for every finished stage whose artifact is gone and that a stage of `waiting` starts from."""
    users: dict[str, int] = defaultdict(int)
    for stage_id in waiting:
        for parent in set(plan.stages[stage_id].parents.values()):
            users[parent] += 1
    return [_gone_artifact(plan, parent, count, store) for parent, count in users.items() if _is_gone(store, parent)]


def _gone_artifact(plan: Plan, stage_id: str, users: int, store: Store) -> str:
    commands = [store.stage(highest).command("invalidate") for highest in _highest_gone(plan, stage_id, store)]
    waiting = f"{counted(users, 'stage')} to run {'starts' if users == 1 else 'start'} from it"
    return (
        f"the artifact of {plan.label(stage_id)} ({stage_id}) is gone ({store.stage(stage_id).artifact_path}); its "
        f"record exists, and {waiting}. Bring the folder back, or redo it and all that depends on it: "
        f"{', '.join(commands)}"
    )


def _is_gone(store: Store, stage_id: str) -> bool:
    return store.stage(stage_id).has_record() and not store.stage(stage_id).has_artifact()


def _highest_gone(plan: Plan, stage_id: str, store: Store) -> list[str]:
    """The stages to invalidate: redoing `stage_id` may need parents whose artifacts are gone as well."""
    gone = [parent for parent in plan.stages[stage_id].parents.values() if _is_gone(store, parent)]
    return list(dict.fromkeys(i for parent in gone for i in _highest_gone(plan, parent, store))) or [stage_id]
