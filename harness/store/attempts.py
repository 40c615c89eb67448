"""How an attempt can end, and what follows from it: the one table that states, drivers and verbs read.

An attempt whose worker was killed has no outcome: its stage is pending. The driver under which the worker died gives
the attempt the outcome "killed", as it does to one that was interrupted though the driver stopped nothing, and starts
the stage again. How often is decided from the attempts alone (`may_try_again`), so that a driver
that died itself is followed by one that goes on counting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from harness.identity import parse_json

STOP_REQUESTED = "stop-requested"  # an event


@dataclass(frozen=True)
class AttemptOutcome:
    """One way to end, and what drivers do about it.

    label: before the attempt's message, for people.
    is_failure: the stage counts as failed until somebody starts it again; otherwise it is pending, or done.
    retry: the driver whose attempt it was starts the stage again by itself. tries: after so many attempts that ended
    so, one after another without a newer checkpoint, it does not (0: they are not counted).
    others_may_retry: a driver that waited for another one's attempt may start the stage; otherwise it has failed there
    too.
    """

    label: str
    is_failure: bool = True
    retry: bool = False
    tries: int = 0
    others_may_retry: bool = False


OUTCOMES = {
    "done": AttemptOutcome("done", is_failure=False, retry=True, others_may_retry=True),  # where the record was removed
    "interrupted": AttemptOutcome("interrupted", is_failure=False, retry=True, others_may_retry=True),
    "time-limit": AttemptOutcome(
        "stopped by the time limit", is_failure=False, retry=True, tries=2, others_may_retry=True
    ),
    "timeout": AttemptOutcome("timeout", others_may_retry=True),  # the last of those: no checkpoint within the limit
    "killed": AttemptOutcome("killed", retry=True, tries=3, others_may_retry=True),
    "lease-lost": AttemptOutcome("lease-lost", retry=True, others_may_retry=True),
    "cancelled": AttemptOutcome("cancelled", others_may_retry=True),  # others: they check for it before they start
    "infrastructure": AttemptOutcome(
        "infrastructure", others_may_retry=True
    ),  # a disk or file, of this machine perhaps
    "out-of-memory": AttemptOutcome("out-of-memory"),
    "source-changed": AttemptOutcome("not started", others_may_retry=True),  # by a task of an earlier submission
    "code": AttemptOutcome("failed"),
}


def outcome_named(name: str) -> AttemptOutcome:
    """The outcome of that name; one that a later version wrote is a failure that goes by its own name."""
    return OUTCOMES.get(name) or AttemptOutcome(name)


@dataclass(frozen=True)
class Attempt:
    """One try at a stage, folded from its event lines.

    outcome: a key of `OUTCOMES`; "cancelled" where a stop was requested and it did not finish before it noticed. None
    while it runs, after a kill, and once `harness retry` has cleared it. retried: whether it has.
    generation: of the lease under which it began. job: of the driver that submitted it, a name no other driver gives.
    0 and "": unknown, as earlier versions wrote neither. allocation, restart: as in `processes.this_process`, where it
    ran in a task of a cluster. checkpoint: the name of the newest one when it ended; "": there was none.
    stop_requested: its task was asked to stop while it ran, and not ahead of a time limit.
    """

    number: int
    started: float | None
    host: str
    process: int
    process_started: str
    ended: float | None
    outcome: str | None
    message: str
    retried: bool = False
    generation: int = 0
    job: str = ""
    allocation: str = ""
    restart: int = 0
    checkpoint: str = ""
    stop_requested: bool = False


def fold_events(number: int, text: str, cancel_requested: bool) -> Attempt:
    """text: the attempt's lines, one JSON object an event; a torn line is ignored. number: of the attempt."""
    merged: dict[str, Any] = {}
    for line in text.split("\n"):  # not splitlines: messages may hold other line separators
        if not (event := _event(line)):
            continue
        merged.update({key: value for key, value in event.items() if key not in ("event", "time")})
        merged[event["event"]] = event.get("time")
        if event["event"] == "retried":
            merged.update(outcome=None, message="")
    if cancel_requested and merged.get("outcome") != "done" and "retried" not in merged:
        merged.update(outcome="cancelled", message=merged.get("message") or "asked to stop")
    return Attempt(
        number=number,
        started=merged.get("started"),
        host=merged.get("host", ""),
        process=merged.get("process", 0),
        process_started=merged.get("process_started", ""),
        ended=merged.get("ended"),
        outcome=merged.get("outcome"),
        message=merged.get("message", ""),
        retried="retried" in merged,
        generation=merged.get("generation", 0),
        job=merged.get("job", ""),
        allocation=merged.get("allocation", ""),
        restart=merged.get("restart", 0),
        checkpoint=merged.get("checkpoint", ""),
        stop_requested=STOP_REQUESTED in merged,
    )


def _event(line: str) -> dict[str, Any]:
    """The event of a line; none where the line is torn or somebody else's."""
    try:
        event = parse_json(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else {}


def may_try_again(own: Sequence[Attempt]) -> bool:
    """Whether a stage without a record is to be started again by whom its last attempts are of. Pure.

    own: the attempts of one run at it, oldest first: of one driver, or of one task of a cluster through all its
    restarts; the last of them has ended. What came before `harness retry` does not count.
    """
    while own and any(attempt.retried for attempt in own):
        own = own[1:]
    if not own:
        return True
    name = own[-1].outcome or "killed"
    outcome = outcome_named(name)
    return outcome.retry and not 0 < outcome.tries <= num_stalled(own, name)


def num_stalled(own: Sequence[Attempt], outcome: str) -> int:
    """How many of the attempts that ended so, the last ones, ended at one checkpoint: without getting any further."""
    reached = [attempt.checkpoint for attempt in own if (attempt.outcome or "killed") == outcome]
    return sum(1 for _ in takewhile(lambda checkpoint: checkpoint == reached[-1], reversed(reached)))
