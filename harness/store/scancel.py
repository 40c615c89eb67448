"""Taking tasks out of a cluster's queue."""

from __future__ import annotations

from collections.abc import Sequence

from harness.store.slurm_command import TIMEOUT_SECONDS, say

MOST_AT_ONCE = 1000  # names of tasks on one command line


def scancel_waiting(jobs: Sequence[str], seconds: float = TIMEOUT_SECONDS) -> list[str]:
    """Cancel tasks, named as "123_4", unless they have started meanwhile; waits up to `seconds` for each thousand.

    Returns a sentence for each thousand of which that could not be done, with the command that does it.
    """
    problems = []
    for start in range(0, len(jobs), MOST_AT_ONCE):
        command = ["scancel", "--state=PENDING", *jobs[start : start + MOST_AT_ONCE]]
        if reason := say(command, seconds).problem:
            waits = "tasks without work wait in the queue"
            problems.append(f"scancel failed ({reason}), so that {waits}. End them with: {' '.join(command)}")
    return problems
