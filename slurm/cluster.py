"""The cluster's own commands, beside squeue: its limits, and sbatch. Every call has a time-out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.store.slurm_command import cluster_settings, say

SBATCH_SECONDS = 60.0  # sbatch itself tries again without end where MaxJobCount is reached
DEFAULT_MAX_ARRAY, DEFAULT_MAX_JOBS = 1001, 10_000  # SLURM's own
# After these the controller may have taken the file, or not.
NO_ANSWER = re.compile(r"timed out|contact slurm controller|communication|zero bytes|unexpected message", re.I)
# A limit on what may be submitted, of the cluster, an account or a QOS; a limit on time or size is a wrong profile.
_LIMIT = re.compile(r"submit\w*limit|submit limit|accounting/qos policy|job ?count|resource temporarily", re.I)


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
        """Whether it did not answer, or said no id: the queue has the array, or not."""
        return not self.job and not self.refusal

    @property
    def is_limit(self) -> bool:
        """Whether it refused for a limit on what may be submitted: the next array would be refused too."""
        return bool(_LIMIT.search(self.refusal))


def read_limits() -> ClusterLimits:
    """The limits of the cluster; SLURM's defaults where it does not tell."""
    settings = cluster_settings()

    def limit(key: str, default: int) -> int:
        found = re.fullmatch(r"\d{1,9}", settings.get(key, ""))
        return int(found[0]) if found else default

    return ClusterLimits(
        max_array=limit("MaxArraySize", DEFAULT_MAX_ARRAY), max_jobs=limit("MaxJobCount", DEFAULT_MAX_JOBS)
    )


def sbatch(path: Path, environment: Mapping[str, str], seconds: float = SBATCH_SECONDS) -> Accepted:
    """Submit a batch file; waits up to `seconds`."""
    said = say(["sbatch", "--parsable", os.fspath(path)], seconds, environment)
    if said.code is None:
        return Accepted()
    if said.code == 0:  # it took the file, whatever else a site has it print
        return Accepted(job=_job_in(said.printed))
    words = " ".join((said.complained or said.printed or said.problem).replace("sbatch: error: ", "").split())
    return Accepted() if NO_ANSWER.search(words) else Accepted(refusal=words)


def _job_in(text: str) -> str:
    """The id that sbatch printed, "123" or "123;cluster" on a line of its own; "": none."""
    found = [line.strip().partition(";")[0] for line in text.splitlines()]
    return next((word for word in reversed(found) if word.isdigit()), "")
