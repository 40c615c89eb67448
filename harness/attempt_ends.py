"""How an attempt can end, and what follows from it: the one table that the state of a stage, drivers and verbs read.

An attempt that never said its end (its worker was killed) has no class: its stage waits, and a driver under which the
worker died says "infrastructure" of it and starts the stage again, up to its number of tries.
"""

from __future__ import annotations

from dataclasses import dataclass


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
