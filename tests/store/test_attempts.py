"""The classes of an attempt's end; what drivers make of them is in test_local_executor.py."""

import pytest

from harness.errors import Cancelled, Interrupted
from harness.store.attempts import ENDS, Attempt, End, end_of
from harness.store.leases import LeaseLost
from harness.studies.state import Snapshot, state
from harness.worker.run import outcome_of

# class, state of its stage, label, started again by its driver, as one of its tries, started by others
TABLE = [
    ("done", "missing", "done", True, False, True),
    ("interrupted", "missing", "interrupted", True, True, True),
    ("lease-lost", "failed", "lease-lost", True, False, True),
    ("cancelled", "failed", "cancelled", False, False, True),
    ("infrastructure", "failed", "infrastructure", False, False, True),
    ("out-of-memory", "failed", "out-of-memory", False, False, False),
    ("code", "failed", "failed", False, False, False),
    ("of a later version", "failed", "of a later version", False, False, False),
]


@pytest.mark.parametrize(("name", "found", "label", "again", "counts", "others"), TABLE)
def test_the_table(name: str, found: str, label: str, again: bool, counts: bool, others: bool) -> None:
    end = end_of(name)
    assert (end.label, end.again, end.counts, end.others_go_on) == (label, again, counts, others)
    attempt = Attempt(1, 1.0, "h", 1, "boot:1", 2.0, name, "")
    assert state("a", [], (), [attempt], Snapshot()) == found


def test_every_class_is_in_the_table_above() -> None:
    assert ENDS.keys() == {name for name, *_ in TABLE} - {"of a later version"}
    assert end_of("of a later version") == End("of a later version")


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (Cancelled(""), "cancelled"),
        (LeaseLost(""), "lease-lost"),
        (Interrupted(""), "interrupted"),
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(1), "interrupted"),
        (MemoryError(), "out-of-memory"),
        (RuntimeError("CUDA out of memory"), "out-of-memory"),
        (OSError(5, "Input/output error"), "infrastructure"),
        (RuntimeError("No space left on device"), "infrastructure"),
        (ValueError("x"), "code"),
    ],
)
def test_what_a_stage_raises_has_one_of_these_classes(error: BaseException, name: str) -> None:
    assert outcome_of(error) == name
    assert name in ENDS
