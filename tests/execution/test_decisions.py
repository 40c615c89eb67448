"""What follows when a stage's job has ended, as a table: the store's facts, whether the run stops, the next step."""

import pytest

from harness.execution.decisions import EndedStage, NextStep, after_job, after_outcome
from harness.store.attempts import OUTCOMES, Attempt


def attempt(outcome: str | None, *, retried: bool = False) -> Attempt:
    return Attempt(1, 1.0, "host", 1, "boot:1", None if outcome is None else 2.0, outcome, "", retried=retried)


def ended(**facts: object) -> EndedStage:
    nothing = {"has_record": False, "is_held": False, "is_cancelled": False, "own": None, "last_is_foreign": False}
    return EndedStage(**{**nothing, "can_begin": True, **facts})  # type: ignore[arg-type]


DIED, FAILED, INTERRUPTED = attempt(None), attempt("code"), attempt("interrupted")
FULL_DISK, LEASE_LOST = attempt("infrastructure"), attempt("lease-lost")
CANCELLED, UNPUBLISHED, CLEARED = attempt("cancelled"), attempt("done"), attempt(None, retried=True)

# name -> facts, next step, next step while stopping
TABLE: dict[str, tuple[dict[str, object], NextStep, NextStep]] = {
    # A record settles it.
    "finished": ({"has_record": True, "own": attempt("done")}, NextStep.DONE, NextStep.DONE),
    "finished, and held by a later worker": ({"has_record": True, "is_held": True}, NextStep.DONE, NextStep.DONE),
    "finished after a cancel": ({"has_record": True, "is_cancelled": True}, NextStep.DONE, NextStep.DONE),
    # Then whoever holds the lease.
    "another process holds it": ({"is_held": True, "own": DIED}, NextStep.ELSEWHERE, NextStep.ELSEWHERE),
    "another process began it and ended": ({"last_is_foreign": True}, NextStep.ELSEWHERE, NextStep.ELSEWHERE),
    # Then a cancel, by whomever.
    "cancelled while it ran": ({"is_cancelled": True, "own": CANCELLED}, NextStep.CANCELLED, NextStep.CANCELLED),
    "cancelled before it began": ({"is_cancelled": True}, NextStep.CANCELLED, NextStep.CANCELLED),
    # Then its own attempt.
    "failed": ({"own": FAILED}, NextStep.FAILED, NextStep.RETRY),
    "the disk was full": ({"own": FULL_DISK}, NextStep.FAILED, NextStep.RETRY),
    "a signal to its worker alone": ({"own": INTERRUPTED}, NextStep.USE_A_TRY, NextStep.RETRY),
    "it lost its lease": ({"own": LEASE_LOST}, NextStep.RETRY, NextStep.RETRY),
    "its record was removed": ({"own": UNPUBLISHED}, NextStep.RETRY, NextStep.RETRY),
    "retried at once": ({"own": CLEARED}, NextStep.RETRY, NextStep.RETRY),
    "its worker died": ({"own": DIED}, NextStep.USE_A_TRY, NextStep.USE_A_TRY),
    # Else it never began.
    "its worker could not begin it": ({}, NextStep.USE_A_TRY, NextStep.RETRY),
    "a parent was invalidated": ({"can_begin": False}, NextStep.RETRY, NextStep.RETRY),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_step_that_follows_a_job(name: str) -> None:
    facts, running, stopping = TABLE[name]
    assert after_job(ended(**facts), stopping=False) is running
    assert after_job(ended(**facts), stopping=True) is stopping


def test_an_outcome_alone_decides_for_an_executor_that_sees_the_exception() -> None:
    assert {name: after_outcome(name) for name in OUTCOMES} == {
        "done": NextStep.RETRY,
        "interrupted": NextStep.USE_A_TRY,
        "lease-lost": NextStep.RETRY,
        "cancelled": NextStep.CANCELLED,
        "infrastructure": NextStep.FAILED,
        "killed": NextStep.USE_A_TRY,
        "time-limit": NextStep.USE_A_TRY,
        "timeout": NextStep.FAILED,
        "source-changed": NextStep.FAILED,
        "out-of-memory": NextStep.FAILED,
        "code": NextStep.FAILED,
    }
    assert after_outcome("of a later version") is NextStep.FAILED
