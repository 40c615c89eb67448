"""How often a run touches its store: often on a disk of its own, seldom on a file system that a cluster shares."""

from __future__ import annotations

from dataclasses import dataclass, fields

from harness.store.leases import EXPIRY_SECONDS, HEARTBEAT_SECONDS

MISSED_BEATS = 4  # a lease expires after so many at the least


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Seconds between two of each. They change no number, and enter no stage id.

    heartbeat: of a held lease. progress: writings of a running stage's progress. cancel: looks for a request to cancel
    it. poll: looks of a driver at its jobs.
    Raises ValueError for one that is not above 0, and for heartbeats of which a lease could miss fewer than 4.
    """

    heartbeat: float = HEARTBEAT_SECONDS
    progress: float = 2.0
    cancel: float = 2.0
    poll: float = 0.1

    def __post_init__(self) -> None:
        for each in fields(self):
            if not getattr(self, each.name) > 0:
                raise ValueError(f"{each.name}={getattr(self, each.name)}: expected seconds above 0.")
        if self.heartbeat * MISSED_BEATS > EXPIRY_SECONDS:
            raise ValueError(
                f"heartbeat={self.heartbeat:g}: expected at most {EXPIRY_SECONDS / MISSED_BEATS:g} seconds, since a "
                f"lease expires after {EXPIRY_SECONDS:g} without one."
            )


OFTEN = Intervals()  # on a disk of one's own
SELDOM = Intervals(heartbeat=30.0, progress=15.0, cancel=15.0, poll=10.0)  # on a cluster's shared file system
