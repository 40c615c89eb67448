"""Studies with scores by seed, and the verdict on one claim of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from harness.specs import StageSpec
from harness.store.store import Store
from harness.studies.study import Study
from paper_tables.claims.file import parse_claims
from paper_tables.claims.verdicts import ClaimVerdict, read_claims
from paper_tables.numbers.study_numbers import StudyNumbers, read_numbers


@pytest.fixture
def numbers_of(store: Store) -> Callable[[Study], StudyNumbers]:
    """numbers_of(study) -> what its records say now."""
    return lambda study: read_numbers(store, study.name)


@pytest.fixture
def verdict_on(numbers_of: Callable[[Study], StudyNumbers]) -> Callable[..., ClaimVerdict]:
    """verdict_on(study, id) -> of one of the paper's claims; with toml=.. the one claim of that text."""

    def verdict(study: Study, claim_id: str = "", toml: str | None = None) -> ClaimVerdict:
        if toml is not None:
            (only,) = read_claims(numbers_of(study), parse_claims("mine.toml", toml))
            return only
        found = {each.claim.id: each for each in read_claims(numbers_of(study))}
        return found[claim_id]

    return verdict


@pytest.fixture
def score(publish: Callable[..., None]) -> Callable[..., None]:
    """score(study, values, method=.., ..) publishes sst2 accuracy in percent, one value a seed from seed 0 on."""

    def write(study: Study, values: Sequence[float | None], **cell: Any) -> None:
        for seed, value in enumerate(values):
            if value is not None:
                publish(study, {"sst2": {"accuracy": value / 100}}, seed=seed, **cell)

    return write


@pytest.fixture
def record_models(store: Store) -> Callable[..., None]:
    """record_models(study, kind, result) publishes the records of the stages of a kind; parents need theirs first.

    kind: or one stage. most: how many of them.
    """

    def write(study: Study, kind: str | StageSpec, result: Mapping[str, Any], *, most: int | None = None) -> None:
        stages = [(name, spec) for name, spec in study.plan.stages.items() if kind in (spec.kind, spec)]
        assert stages, kind
        for stage_id, spec in stages[:most]:
            parents = {role: parent for role, parent in spec.parents.items() if store.stage(parent).has_record()}
            digests = {role: store.stage(parent).read_record()["digest"] for role, parent in parents.items()}
            store.stage(stage_id).publish_record(
                {**spec.fingerprint_fields(), "parent_digests": digests, "result": result}
            )

    return write


@pytest.fixture
def make_scored(make_study: Callable[..., Study], score: Callable[..., None]) -> Callable[..., Study]:
    """make_scored(ofa, finetune, *assignments) -> a study of both on sst2 at 85 %, with these scores by seed."""

    def make(ofa: Sequence[float | None], finetune: Sequence[float | None], *assignments: str) -> Study:
        seeds = range(max(len(ofa), len(finetune)))
        study = make_study(*assignments, tasks=["sst2"], methods=["prune-ofa", "finetune-pruning"], seeds=seeds)
        score(study, ofa, method="prune-ofa", quantization="none")
        score(study, finetune, method="finetune-pruning")
        return study

    return make
