"""What a run of an executor came to."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """Stage ids by how they ended.

    failed: with the reason. elsewhere: another process is at them. cancelled: before or while they ran; `harness retry`
    lifts it. blocked: they rest on a stage of these three.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
