"""The outcomes of an attempt; what drivers do about them is in execution/test_decisions.py."""

import pytest

from harness.errors import Cancelled, Interrupted, TimeLimit
from harness.store.attempts import OUTCOMES, Attempt, AttemptOutcome, may_try_again, outcome_named
from harness.store.leases import LeaseLost
from harness.store.store import Store
from harness.studies.activity import Activity
from harness.studies.state import state
from harness.worker.run import outcome_of

# outcome, state of its stage, label, retried by its driver, so many times in a row, retried by others
TABLE = [
    ("done", "pending", "done", True, 0, True),
    ("interrupted", "pending", "interrupted", True, 0, True),
    ("lease-lost", "failed", "lease-lost", True, 0, True),
    ("cancelled", "cancelled", "cancelled", False, 0, True),
    ("infrastructure", "failed", "infrastructure", False, 0, True),
    ("out-of-memory", "failed", "out-of-memory", False, 0, False),
    ("killed", "failed", "killed", True, 3, True),
    ("time-limit", "pending", "stopped by the time limit", True, 2, True),
    ("timeout", "failed", "timeout", False, 0, True),
    ("source-changed", "failed", "not started", False, 0, True),
    ("code", "failed", "failed", False, 0, False),
    ("of a later version", "failed", "of a later version", False, 0, False),
]


@pytest.mark.parametrize(("name", "found", "label", "retry", "tries", "others"), TABLE)
def test_the_table(name: str, found: str, label: str, retry: bool, tries: int, others: bool) -> None:
    outcome = outcome_named(name)
    assert (outcome.label, outcome.retry, outcome.tries) == (label, retry, tries)
    assert outcome.others_may_retry is others
    attempt = Attempt(1, 1.0, "h", 1, "boot:1", 2.0, name, "")
    assert state("a", [], (), [attempt], Activity()) == found


def test_every_outcome_is_in_the_table_above() -> None:
    assert OUTCOMES.keys() == {name for name, *_ in TABLE} - {"of a later version"}
    assert outcome_named("of a later version") == AttemptOutcome("of a later version")


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (Cancelled(""), "cancelled"),
        (LeaseLost(""), "lease-lost"),
        (Interrupted(""), "interrupted"),
        (TimeLimit(""), "time-limit"),
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(1), "code"),
        (GeneratorExit(), "code"),
        (MemoryError(), "out-of-memory"),
        (RuntimeError("CUDA out of memory"), "out-of-memory"),
        (OSError(5, "Input/output error"), "infrastructure"),
        (RuntimeError("No space left on device"), "infrastructure"),
        (ValueError("x"), "code"),
    ],
)
def test_what_a_stage_raises_gives_one_of_these_outcomes(error: BaseException, name: str) -> None:
    assert outcome_of(error) == name
    assert name in OUTCOMES


def test_a_stop_that_is_noted_leaves_how_the_attempt_ended_as_it_was(store: Store) -> None:
    stage = store.stage("a" * 32)
    open_one = stage.begin_attempt({})
    stage.note_stop(open_one)
    (attempt,) = stage.attempts()
    assert (attempt.outcome, attempt.ended, attempt.stop_requested) == (None, None, True)
    ended = stage.begin_attempt({})
    stage.end_attempt(ended, {"outcome": "interrupted", "message": "saved"})
    stage.note_stop(ended)  # its worker was faster
    last = stage.last_attempt()
    assert last is not None
    assert (last.outcome, last.message, last.stop_requested) == ("interrupted", "saved", True)
    assert stage.begin_attempt({})
    assert not stage.attempts()[-1].stop_requested


def at(checkpoint: str, outcome: str | None, *, retried: bool = False) -> Attempt:
    return Attempt(1, 1.0, "h", 1, "boot:1", 2.0, outcome, "", retried=retried, checkpoint=checkpoint)


KILLED, LIMIT = at("", "killed"), at("", "time-limit")
AGAIN: dict[str, tuple[list[Attempt], bool]] = {
    "never tried": ([], True),
    "killed once": ([KILLED], True),
    "killed twice": ([KILLED] * 2, True),
    "killed three times": ([KILLED] * 3, False),
    "three times, the last before anybody could note it": ([KILLED, KILLED, at("", None)], False),
    "three times, and further each time": ([at(f"checkpoint-{n}", "killed") for n in range(9)], True),
    "three times at one checkpoint": (
        [at("checkpoint-1", "killed"), *[at("checkpoint-2", "killed")] * 3],
        False,
    ),
    "three times, and pre-empted between": ([KILLED, at("", "interrupted"), KILLED, KILLED], False),
    "pre-empted ten times": ([at("", "interrupted")] * 10, True),
    "one limit": ([LIMIT], True),
    "two limits without a newer checkpoint": ([LIMIT] * 2, False),
    "ten limits, and further each time": ([at(f"checkpoint-{n}", "time-limit") for n in range(10)], True),
    "two limits and a kill": ([LIMIT, KILLED, LIMIT], False),
    "an error of its code": ([at("", "code")], False),
    "an error after kills": ([KILLED, at("", "code")], False),
    "killed three times before a retry": ([*[KILLED] * 2, at("", None, retried=True)], True),
    "and once after it": ([*[KILLED] * 2, at("", None, retried=True), KILLED], True),
}


@pytest.mark.parametrize("name", AGAIN)
def test_whether_a_run_tries_again_is_told_by_its_attempts(name: str) -> None:
    attempts, expected = AGAIN[name]
    assert may_try_again(attempts) is expected
