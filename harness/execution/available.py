"""Which executors there are, and whether a grid can be run as chosen. Apart from them: naming one imports none."""

from __future__ import annotations

from dataclasses import replace

from harness.errors import Problem, unknown
from harness.wording import option, shown

EXECUTORS = ("debug", "local", "slurm")
AVAILABLE_EXECUTORS = ("local", "debug")  # of these, the ones that this version has


def execution_problems(executor: object, workers: object) -> list[Problem]:
    """What is wrong with how a grid is to be run, whatever was given."""
    found = _executor_problems(executor)
    if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool) or workers < 1):
        expected = "1 or more" if type(workers) is int else "a whole number, 1 or more"
        found.append(Problem(f"{option('workers')} {shown(workers)}", "workers", expected))
    return found


def _executor_problems(name: object) -> list[Problem]:
    if not isinstance(name, str):
        expected = " or ".join(AVAILABLE_EXECUTORS)
        return [Problem(f"{option('executor')} {shown(name)}", "executor", expected)]
    if name not in EXECUTORS:
        return [replace(unknown("executor", name, AVAILABLE_EXECUTORS), option="executor")]
    if name not in AVAILABLE_EXECUTORS:
        instead = f"{option('executor')} {AVAILABLE_EXECUTORS[0]}"
        return [Problem(f"executor {name!r} is not in this version", "executor", next_move=f"Use {instead}.")]
    return []
