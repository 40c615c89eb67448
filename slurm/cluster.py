"""The cluster's own commands, beside squeue: its limits, and sbatch. Every call has a time-out."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.store.squeue import TIMEOUT_SECONDS, slurm_environment

SBATCH_SECONDS = 60.0  # sbatch itself tries again without end where MaxJobCount is reached
DEFAULT_MAX_ARRAY, DEFAULT_MAX_JOBS = 1001, 10_000  # SLURM's own


@dataclass(frozen=True)
class ClusterLimits:
    """max_array: the highest index of an array, and 1. max_jobs: how many tasks the cluster holds at a time, of all."""

    max_array: int = DEFAULT_MAX_ARRAY
    max_jobs: int = DEFAULT_MAX_JOBS


@dataclass(frozen=True)
class Accepted:
    """What sbatch said. job: SLURM's id; "": it did not take the file, or nobody knows. refusal: its own words."""

    job: str = ""
    refusal: str = ""

    @property
    def is_unknown(self) -> bool:
        """Whether it did not answer in time: the queue has the array, or not."""
        return not self.job and not self.refusal


def read_limits() -> ClusterLimits:
    """The limits of the cluster; SLURM's defaults where it does not tell."""
    try:
        done = subprocess.run(
            ["scontrol", "show", "config"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            env=slurm_environment(),
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ClusterLimits()
    found = dict(re.findall(r"^(MaxArraySize|MaxJobCount)\s*=\s*(\d+)", done.stdout, re.MULTILINE))
    return ClusterLimits(
        max_array=int(found.get("MaxArraySize", DEFAULT_MAX_ARRAY)),
        max_jobs=int(found.get("MaxJobCount", DEFAULT_MAX_JOBS)),
    )


def sbatch(path: Path, environment: Mapping[str, str], seconds: float = SBATCH_SECONDS) -> Accepted:
    """Submit a batch file; waits up to `seconds`."""
    try:
        done = subprocess.run(
            ["sbatch", "--parsable", os.fspath(path)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env=dict(environment),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Accepted()
    except OSError as error:
        return Accepted(refusal=f"sbatch cannot be started ({error.strerror})")
    job = done.stdout.strip().partition(";")[0]
    if done.returncode == 0 and job.isdigit():
        return Accepted(job=job)
    words = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
    return Accepted() if "timed out" in words.lower() else Accepted(refusal=words)
