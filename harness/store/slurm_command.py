"""SLURM's own commands: each with a time-out, and without the variables of a user's shell that change its answer."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

TIMEOUT_SECONDS = 15.0
# They filter what squeue lists, choose what scancel ends, or send a question to another cluster.
_CHANGE_ANSWERS = ("SQUEUE_", "SCANCEL_", "SCONTROL_", "SLURM_CLUSTERS")


class Said(NamedTuple):
    """What a command came to. printed, complained: standard output and error.

    code: its exit code; None where it did not answer in time, -1 where it cannot be started. problem: why it failed, in
    its own words where it has any; "": it did not.
    """

    printed: str = ""
    complained: str = ""
    code: int | None = 0
    problem: str = ""


def say(
    command: Sequence[str],
    seconds: float = TIMEOUT_SECONDS,
    environment: Mapping[str, str] | None = None,
    given: str | None = None,
) -> Said:
    """Run a command, and wait up to `seconds`. given: its standard input. environment: None for `slurm_environment`."""
    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            env=slurm_environment() if environment is None else dict(environment),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Said(code=None, problem=f"it did not answer within {seconds:g} s")
    except OSError as error:
        return Said(code=-1, problem=f"it cannot be started ({error.strerror})")
    problem = (" ".join(done.stderr.split()) or f"exit code {done.returncode}") if done.returncode else ""
    return Said(done.stdout, done.stderr, done.returncode, problem)


def slurm_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables for SLURM's commands, without those of a user's shell that would change their answers.

    environment: None for this process' own.
    """
    given = os.environ if environment is None else environment
    return {name: value for name, value in given.items() if not name.startswith(_CHANGE_ANSWERS)}


@cache
def cluster_settings() -> Mapping[str, str]:
    """The cluster's configuration, as scontrol shows it, asked once; empty where it does not tell."""
    said = say(["scontrol", "show", "config"])
    pairs = (line.partition("=") for line in said.printed.splitlines()) if not said.problem else ()
    return {key.strip(): value.strip() for key, _, value in pairs}
