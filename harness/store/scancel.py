"""Taking tasks out of a cluster's queue."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from harness.store.squeue import TIMEOUT_SECONDS, slurm_environment

MOST_AT_ONCE = 1000  # names of tasks on one command line


def scancel_waiting(jobs: Sequence[str], seconds: float = TIMEOUT_SECONDS) -> list[str]:
    """Cancel tasks, named as "123_4", unless they have started meanwhile; waits up to `seconds` for each thousand.

    Returns a sentence for each thousand of which that could not be done, with the command that does it.
    """
    problems = []
    for start in range(0, len(jobs), MOST_AT_ONCE):
        command = ["scancel", "--state=PENDING", *jobs[start : start + MOST_AT_ONCE]]
        if reason := _problem(command, seconds):
            waits = "tasks without work wait in the queue"
            problems.append(f"scancel failed ({reason}), so that {waits}. End them with: {' '.join(command)}")
    return problems


def _problem(command: Sequence[str], seconds: float) -> str:
    """Why a command failed; "": it did not."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env=slurm_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it did not answer within {seconds:g} s"
    except OSError as error:
        return f"it cannot be started: {error.strerror}"
    return (" ".join(done.stderr.split()) or f"exit code {done.returncode}") if done.returncode else ""
