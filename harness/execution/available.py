"""Which executors there are, and whether a grid can be run as chosen. Apart from them: naming one imports none."""

from __future__ import annotations

from dataclasses import replace

from harness.errors import Problem, unknown
from harness.wording import option

EXECUTORS = ("debug", "local", "slurm")
AVAILABLE_EXECUTORS = ("local", "debug")  # of these, the ones that this version has


def execution_problems(executor: str, workers: int | None) -> list[Problem]:
    """What is wrong with how a grid is to be run."""
    found = _executor_problems(executor)
    if workers is not None and workers < 1:
        found.append(Problem(f"{option('workers')} {workers}", "workers", "1 or more"))
    return found


def _executor_problems(name: str) -> list[Problem]:
    if name not in EXECUTORS:
        return [replace(unknown("executor", name, AVAILABLE_EXECUTORS), option="executor")]
    if name not in AVAILABLE_EXECUTORS:
        instead = f"{option('executor')} {AVAILABLE_EXECUTORS[0]}"
        return [Problem(f"executor {name!r} is not in this version", "executor", next_move=f"Use {instead}.")]
    return []
