"""The outcome of a run."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """Stage ids by how they ended.

    failed: with the reason. elsewhere: another process runs them. cancelled: before or while they ran; `harness retry`
    clears it. blocked: they depend on a stage of these three. queued: in the queue of a cluster, or in a task
    of it that runs. left_out: they could be, but a limit keeps them out.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    queued: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def not_done(self) -> set[str]:
        """The stages whose children cannot run."""
        return {*self.failed, *self.elsewhere, *self.cancelled, *self.blocked}
