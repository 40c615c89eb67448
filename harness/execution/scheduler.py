"""The scheduler: a port of five calls between the driver and whatever runs bundles."""

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
    """Where a job stands.

    message: why it ended, where that was not in order (a signal, the last words of its log). problems: stage id -> the
    error that ended the stage, where the job could tell.
    """

    state: Literal["queued", "running", "ended"]
    message: str = ""
    problems: Mapping[str, str] = field(default_factory=dict)


class Scheduler(Protocol):
    """Runs bundles. What came of a bundle's stages stands in the store, not here."""

    def submit(self, bundle: Bundle, silent: Mapping[str, int]) -> str:
        """Hand a bundle over; returns the job's name, which no other job has, of this scheduler or of another.

        The attempts at the bundle's stages bear it.
        silent: stage id -> generation of a lease whose holder has gone silent and may be taken over.
        """

    def snapshot(self) -> Mapping[str, JobStatus]:
        """The status of every job that was submitted."""

    def cancel(self, job: str) -> None:
        """Take a queued job back, or ask a running one to stop at its next checkpoint. An ended one stays so."""

    def requeue(self, job: str) -> None:
        """Hand a job that ended over once more, under its own name. Raises ValueError for one that has not."""

    def limits(self) -> Limits:
        """What the driver may ask for."""
