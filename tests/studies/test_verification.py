"""Records that cannot be trusted are found by reading: edited, describing another stage, resting on other parents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from grid_world import plan

from harness.errors import StoreError
from harness.identity import sha256_of
from harness.planning.graph import Plan
from harness.store.store import Store
from harness.studies.verification import verified_records


@pytest.fixture
def planned() -> Plan:
    return plan(methods=["prune-ofa-no-kd"], tasks=["sst2"])


@pytest.fixture
def store(tmp_path: Path, planned: Plan) -> Store:
    """A store with a record for every stage of the plan."""
    made = Store(tmp_path)
    for stage_id in planned.stages:
        publish(made, planned, stage_id)
    return made


def publish(store: Store, planned: Plan, stage_id: str, **result: object) -> None:
    spec = planned.stages[stage_id]
    digests = {role: store.stage(parent).read_record()["digest"] for role, parent in spec.parents.items()}
    store.stage(stage_id).publish_record(
        {**spec.fingerprint_fields(), "parent_digests": digests, "result": {"accuracy": 0.5, **result}}
    )


def rewrite(store: Store, stage_id: str, *, redigest: bool, **changed: object) -> None:
    """Edit a record's fields on disk; with `redigest` as a forger would, its own digest made to fit."""
    path = store.stage(stage_id).record_path
    record = {**json.loads(path.read_text()), **changed}
    if redigest:
        record.pop("digest")
        record["digest"] = sha256_of(record)
    path.write_text(json.dumps(record))


def of_kind(planned: Plan, kind: str) -> str:
    (found,) = [stage_id for stage_id, spec in planned.stages.items() if spec.kind == kind]
    return found


def test_whole_records_are_handed_on(store: Store, planned: Plan) -> None:
    assert set(verified_records(planned, store)) == set(planned.stages)


def test_an_edited_number_is_found(store: Store, planned: Plan) -> None:
    rewrite(store, of_kind(planned, "evaluation"), redigest=False, result={"accuracy": 0.9})
    with pytest.raises(StoreError, match="was changed after it was written"):
        verified_records(planned, store)


def test_a_number_edited_with_a_fitting_digest_is_found_by_its_children(store: Store, planned: Plan) -> None:
    rewrite(store, of_kind(planned, "student_pruning"), redigest=True, result={"accuracy": 0.9})
    with pytest.raises(StoreError, match="was made from another model than the record of"):
        verified_records(planned, store)


def test_other_parameters_under_a_stages_id_are_found(store: Store, planned: Plan) -> None:
    transfer = of_kind(planned, "transfer")
    parameters = {**planned.stages[transfer].parameters, "epochs": 99.0}
    rewrite(store, transfer, redigest=True, parameters=parameters)
    with pytest.raises(StoreError, match="describes another computation"):
        verified_records(planned, store)


def test_every_bad_record_is_listed(store: Store, planned: Plan) -> None:
    for kind in ("corpus", "evaluation"):
        rewrite(store, of_kind(planned, kind), redigest=False, result={})
    with pytest.raises(StoreError) as caught:
        verified_records(planned, store)
    assert str(caught.value).count("was changed after it was written") == 2


def test_records_whose_parents_records_are_elsewhere_are_accepted(store: Store, planned: Plan) -> None:
    """A store may hold a part of a study: what is there is checked, what is not is missing."""
    store.stage(of_kind(planned, "corpus")).record_path.unlink()
    assert set(verified_records(planned, store)) == set(planned.stages) - {of_kind(planned, "corpus")}
