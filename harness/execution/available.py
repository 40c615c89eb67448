"""Which executors there are, and whether a grid can be run as chosen. Apart from them: naming one imports none."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.errors import Problem, unknown
from harness.wording import option, shown

EXECUTORS = ("local", "debug", "slurm")
PROFILE = "cpu"  # a shipped one


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a grid is run. executor: one of `EXECUTORS`.

    workers: of the executor local, stages side by side; None: as many as GPUs or cores allow. profile: of slurm, a file
    or the name of a shipped one; None: `PROFILE`. max_jobs: the most tasks of the store that slurm may have.
    track: names of trackers that finished stages are written to.
    """

    executor: str = "local"
    workers: int | None = None
    profile: str | None = None
    max_jobs: int | None = None
    track: tuple[str, ...] = ()

    @property
    def profile_name(self) -> str:
        return PROFILE if self.profile is None else self.profile


def execution_problems(run: RunOptions) -> list[Problem]:
    """What is wrong with how a grid is to be run, whatever was given."""
    found = _executor_problems(run.executor)
    found += _count_problems("workers", run.workers) + _count_problems("max-jobs", run.max_jobs)
    if run.profile is not None and (not isinstance(run.profile, str) or not run.profile or "\0" in run.profile):
        found.append(Problem(f"{option('profile')} {shown(run.profile)}", "profile", "a file, or a shipped profile"))
    if not found:
        found += _useless(run)
    return found


def _useless(run: RunOptions) -> list[Problem]:
    """Options that the executor does not read."""
    of_slurm = {"profile": run.profile, "max-jobs": run.max_jobs}
    unread = of_slurm if run.executor != "slurm" else {"workers": run.workers}
    instead = "stages_at_once in a profile" if run.executor == "slurm" else f"{option('executor')} slurm"
    return [
        Problem(f"{option(name)} has no meaning for the executor {run.executor}", name, next_move=f"Use {instead}.")
        for name, value in unread.items()
        if value is not None and not (run.executor == "debug" and name == "workers")
    ]


def _count_problems(name: str, value: object) -> list[Problem]:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return []
    expected = "1 or more" if type(value) is int else "a whole number, 1 or more"
    return [Problem(f"{option(name)} {shown(value)}", name, expected)]


def _executor_problems(name: object) -> list[Problem]:
    if not isinstance(name, str):
        expected = " or ".join(EXECUTORS)
        return [Problem(f"{option('executor')} {shown(name)}", "executor", expected)]
    if name not in EXECUTORS:
        return [replace(unknown("executor", name, EXECUTORS), option="executor")]
    return []
