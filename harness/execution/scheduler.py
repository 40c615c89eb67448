"""The scheduler: a port of three calls between the driver and what runs bundles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from harness.execution.bundles import Bundle


@dataclass(frozen=True, kw_only=True)
class Limits:
    """jobs: how many may be submitted and not ended at one time."""

    jobs: int


@dataclass(frozen=True)
class JobStatus:
    """The state of a job.

    message: why it ended, where it did not end normally (a signal, the last line of its log). problems: stage id -> the
    error that ended the stage, where the job reported it.
    """

    state: Literal["queued", "running", "ended"]
    message: str = ""
    problems: Mapping[str, str] = field(default_factory=dict)


class Scheduler(Protocol):
    """Runs bundles. How a bundle's stages ended is in the store, not here."""

    def submit(self, bundle: Bundle, expired_leases: Mapping[str, int]) -> str:
        """Submit a bundle; returns the job's name, which no other job has, of this scheduler or of another.

        The attempts at the bundle's stages carry it.
        expired_leases: stage id -> generation of a lease that has expired and may be taken over.
        """

    def snapshot(self) -> Mapping[str, JobStatus]:
        """The status of every job that was submitted."""

    def limits(self) -> Limits:
        """How much the driver may submit."""
