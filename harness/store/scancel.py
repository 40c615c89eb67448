"""Taking tasks out of a cluster's queue."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from harness.store.squeue import TIMEOUT_SECONDS

MOST_AT_ONCE = 1000  # names of tasks on one command line


def scancel_waiting(jobs: Sequence[str], seconds: float = TIMEOUT_SECONDS) -> list[str]:
    """Cancel tasks, named as "123_4", unless they have started meanwhile.

    Waits up to `seconds` for each thousand. Returns a sentence for what could not be done, with the command that does it.
    """
    problems = []
    for start in range(0, len(jobs), MOST_AT_ONCE):
        command = ["scancel", "--state=PENDING", *jobs[start : start + MOST_AT_ONCE]]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds, check=False)
            reason = "" if done.returncode == 0 else " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        except subprocess.TimeoutExpired:
            reason = f"it did not answer within {seconds:g} s"
        except OSError as error:
            reason = f"it cannot be started: {error.strerror}"
        if reason:
            problems.append(f"scancel failed ({reason}). Tasks without work wait in the queue; end them with: {' '.join(command)}")
    return problems
