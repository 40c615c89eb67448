"""How an attempt can end, and what follows from it: the one table that states, drivers and verbs read.

An attempt whose worker was killed has no outcome: its stage is pending. A driver under which the worker died gives the
attempt the outcome "infrastructure" and starts the stage again, up to its number of tries. It gives that outcome too to
the last of as many attempts that were interrupted though it stopped none: its stage has failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.identity import parse_json


@dataclass(frozen=True)
class AttemptOutcome:
    """One way to end, and what drivers do about it.

    label: before the attempt's message, for people.
    is_failure: the stage counts as failed until somebody starts it again; otherwise it is pending, or done.
    retry: the driver whose attempt it was starts the stage again by itself. uses_a_try: that is one of its tries.
    others_may_retry: a driver that waited for another one's attempt may start the stage; otherwise it has failed there
    too.
    """

    label: str
    is_failure: bool = True
    retry: bool = False
    uses_a_try: bool = False
    others_may_retry: bool = False


OUTCOMES = {
    "done": AttemptOutcome("done", is_failure=False, retry=True, others_may_retry=True),  # where the record was removed
    "interrupted": AttemptOutcome("interrupted", is_failure=False, retry=True, uses_a_try=True, others_may_retry=True),
    "time-limit": AttemptOutcome(
        "stopped by the time limit", is_failure=False, retry=True, others_may_retry=True
    ),  # of the job, not of the stage
    "lease-lost": AttemptOutcome("lease-lost", retry=True, others_may_retry=True),
    "cancelled": AttemptOutcome("cancelled", others_may_retry=True),  # others: they check for it before they start
    "infrastructure": AttemptOutcome(
        "infrastructure", others_may_retry=True
    ),  # a disk or file, of this machine perhaps
    "out-of-memory": AttemptOutcome("out-of-memory"),
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
    0 and "": unknown, as earlier versions wrote neither.
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
    )


def _event(line: str) -> dict[str, Any]:
    """The event of a line; none where the line is torn or somebody else's."""
    try:
        event = parse_json(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else {}
