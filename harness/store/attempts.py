"""How an attempt can end, and what follows from it: the one table that the state of a stage, drivers and verbs read.

An attempt that never said its end (its worker was killed) has no class: its stage waits, and a driver under which the
worker died says "infrastructure" of it and starts the stage again, up to its number of tries.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class End:
    """One class of end.

    label: before the attempt's message, for people.
    is_failure: the stage counts as failed until somebody starts it again; otherwise it waits, or is done.
    again: the driver whose attempt it was starts the stage again by itself. counts: as one of its tries.
    others_go_on: a driver that waited for another one's attempt may start the stage; otherwise it has failed there too.
    """

    label: str
    is_failure: bool = True
    again: bool = False
    counts: bool = False
    others_go_on: bool = False


ENDS = {
    "done": End("done", is_failure=False, again=True, others_go_on=True),  # again: only where the record is gone
    "interrupted": End("interrupted", is_failure=False, again=True, counts=True, others_go_on=True),
    "lease-lost": End("lease-lost", again=True, others_go_on=True),
    "cancelled": End("cancelled", others_go_on=True),  # others: they find it cancelled before they start it
    "infrastructure": End("infrastructure", others_go_on=True),  # a disk or a file: of this machine perhaps
    "out-of-memory": End("out-of-memory"),
    "code": End("failed"),
}


def end_of(outcome: str) -> End:
    """The class of that name; one that a later version wrote is a failure that goes by its own name."""
    return ENDS.get(outcome) or End(outcome)


@dataclass(frozen=True)
class Attempt:
    """One try at a stage, folded from its event lines.

    outcome None: it never said how it ended, or `harness retry` lifted how it did. "cancelled": it was asked to stop,
    whatever became of it then, unless it was done before it noticed. retried: `harness retry` lifted its end.
    generation: of the lease it was begun under. job: of the driver that handed it out, a name no other driver gives.
    0 and "": not told, as by earlier versions.
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


def fold_events(number: int, text: str, asked_to_stop: bool) -> Attempt:
    merged: dict[str, Any] = {}
    for line in text.split("\n"):  # not splitlines: messages may hold other line separators
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            merged.update({key: value for key, value in event.items() if key not in ("event", "time")})
            merged[event["event"]] = event.get("time")
            if event["event"] == "retried":
                merged.update(outcome=None, message="")
    if asked_to_stop and merged.get("outcome") != "done" and "retried" not in merged:
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
