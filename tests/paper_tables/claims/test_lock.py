"""The lock keeps every zero: counted in records that were written by hand, some of them by a lock that leaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.studies.study import Study
from paper_tables.claims.verdicts import ClaimVerdict

Make = Callable[..., Study]
Verdict = Callable[..., ClaimVerdict]
LOCK = "lock-keeps-zeros"


def sparse(zeros: dict[str, int], pattern: str, pooler: int | None = 9) -> dict[str, Any]:
    counted = {
        "encoder_zeros": sum(zeros.values()),
        "encoder_numel": 100,
        "zeros_by_matrix": zeros,
        "pattern_sha256": pattern,
        "pooler": {} if pooler is None else {"pooler": [pooler, 10]},
    }
    metrics = {"mlm_accuracy": 0.25, "mlm_correct": 1, "mlm_positions": 4}
    return {"sparsity": counted, "metrics": metrics, "training": {"tokens_seen": 131_072}}


PRUNED = sparse({"query": 40, "key": 45}, "aa")


@pytest.fixture
def locked(make_study: Make, record_models: Any) -> Callable[..., Study]:
    """locked(transfer, quantization) -> a study of two seeds whose pruned, locked and quantized models are recorded."""

    def make(transfer: dict[str, Any], quantization: dict[str, Any] | None = None, *, most: int | None = None) -> Study:
        study = make_study(tasks=["sst2"], methods=["prune-ofa"], quantization=["none", "int8"], seeds=(0, 1))
        record_models(study, "student_pruning", PRUNED)
        record_models(study, "transfer", transfer, most=most)
        if quantization:
            record_models(study, "quantization", quantization, most=most)
        return study

    return make


def int8(result: dict[str, Any], codes: dict[str, int]) -> dict[str, Any]:
    return {**result, "int8": {"zeros_by_matrix": codes, "encoder_zeros": sum(codes.values())}}


def test_models_that_end_with_the_pattern_they_were_given_keep_every_zero(locked: Any, verdict_on: Verdict) -> None:
    """Codes that round to zero besides are no loss."""
    found = verdict_on(locked(PRUNED, int8(PRUNED, {"query": 42, "key": 45})), LOCK)
    assert (found.verdict, found.found.effect, found.found.n, found.found.interval) == ("held", 0.0, 4, None)
    assert found.reasons == ("Each of 4 locked stages ends with the pattern it was given, digest for digest.",)
    assert [(each.kind, each.stages, each.kept, each.zeros, each.patterns) for each in found.found.kept] == [
        ("transfer", 2, 2, 85, 1),
        ("quantization", 2, 2, 85, 1),
    ]


@pytest.mark.parametrize(
    ("transfer", "quantization", "lost"),
    [
        (sparse({"query": 37, "key": 45}, "bb"), None, 3 * 2),
        (sparse({"query": 37, "key": 48}, "bb"), None, 3 * 2),  # what one matrix gains makes up for no other
        (sparse({"query": 40, "key": 45}, "bb"), None, 1 * 2),  # as many in other places: at least one
        (sparse({"query": 40, "key": 45}, "aa", pooler=7), None, 2 * 2),
        (PRUNED, int8(PRUNED, {"query": 40, "key": 41}), 4 * 2),  # codes that lost them
    ],
)
def test_a_lost_zero_is_found_in_whichever_matrix(
    locked: Any, verdict_on: Verdict, transfer: dict[str, Any], quantization: dict[str, Any] | None, lost: int
) -> None:
    found = verdict_on(locked(transfer, quantization), LOCK)
    assert (found.verdict, found.found.effect) == ("not held", lost)
    assert found.reasons[0].startswith("2 of ")


def test_a_head_that_needs_no_pooler_has_lost_none_of_its_zeros(locked: Any, verdict_on: Verdict) -> None:
    assert verdict_on(locked(sparse({"query": 40, "key": 45}, "aa", pooler=None)), LOCK).verdict == "held"


def test_more_zeros_in_another_pattern_are_unclear(locked: Any, verdict_on: Verdict) -> None:
    found = verdict_on(locked(sparse({"query": 41, "key": 45}, "cc")), LOCK)
    assert (found.verdict, found.found.effect) == ("cannot say", 0.0)
    assert found.reasons == ("2 of 2 locked stages have another pattern and no fewer zeros.",)


@pytest.mark.parametrize("gone", ["zeros_by_matrix", "pattern_sha256", "encoder_zeros", "pooler"])
def test_stages_that_do_not_count_by_matrix_are_not_judged(locked: Any, verdict_on: Verdict, gone: str) -> None:
    """As of an author's kind, whose record says what it likes."""
    counts = {name: value for name, value in PRUNED["sparsity"].items() if name != gone}
    found = verdict_on(locked({**PRUNED, "sparsity": counts}), LOCK)
    assert (found.verdict, found.found.n) == ("cannot say", 0)


def test_codes_that_are_not_counted_by_matrix_are_not_judged(locked: Any, verdict_on: Verdict) -> None:
    found = verdict_on(locked(PRUNED, {**PRUNED, "int8": {"encoder_zeros": 85}}), LOCK)
    assert [(each.kind, each.kept, each.missing) for each in found.found.kept] == [
        ("transfer", 2, 0),
        ("quantization", 0, 2),
    ]


def test_stages_without_a_record_are_counted_as_missing(locked: Any, verdict_on: Verdict) -> None:
    found = verdict_on(locked(PRUNED, int8(PRUNED, {"query": 40, "key": 45}), most=1), LOCK)
    assert (found.verdict, found.found.n, found.missing) == ("held", 2, 2)


def test_without_a_record_it_cannot_say(make_study: Make, verdict_on: Verdict) -> None:
    found = verdict_on(make_study(tasks=["sst2"], methods=["prune-ofa"], seeds=(0, 1)), LOCK)
    assert (found.verdict, found.found.n, found.found.effect, found.missing) == ("cannot say", 0, None, 2)
