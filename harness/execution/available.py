"""Which executors there are, and whether a grid can be run as chosen. Apart from them: naming one imports none."""

from __future__ import annotations

from harness.errors import Problem, unknown_name
from harness.wording import option

EXECUTORS = ("debug", "local", "slurm")
AVAILABLE_EXECUTORS = ("local", "debug")  # of these, the ones that this version has


def execution_problems(executor: str, workers: int | None) -> list[Problem]:
    """What is wrong with how a grid is to be run."""
    found = _executor_problems(executor)
    if workers is not None and workers < 1:
        found.append(Problem(f"{option('workers')} {workers}: expected 1 or more.", "workers"))
    return found


def _executor_problems(name: str) -> list[Problem]:
    if name not in EXECUTORS:
        return [Problem(unknown_name("executor", name, AVAILABLE_EXECUTORS), "executor")]
    if name not in AVAILABLE_EXECUTORS:
        instead = f"{option('executor')} {AVAILABLE_EXECUTORS[0]}"
        return [Problem(f"executor {name!r} is not in this version; use {instead}.", "executor")]
    return []
