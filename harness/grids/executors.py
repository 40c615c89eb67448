"""How a planned grid is run: on this machine, or queued on a cluster; a function for each executor, by name."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from harness.errors import HarnessError, Problem, Problems, UsageError
from harness.execution.available import RunOptions, execution_problems
from harness.execution.display import display_on
from harness.execution.executors import run_in_process, run_locally
from harness.execution.hardware import Machine, this_machine
from harness.execution.outcome import Outcome
from harness.planning.graph import Plan
from harness.planning.kinds import TRAINS, StageKind
from harness.planning.method_registry import kind_of
from harness.stages.context import Resources, Sources
from harness.store.store import Store
from harness.wording import counted, option

if TYPE_CHECKING:
    from slurm.preview import Preview
    from slurm.profiles import Profile, Profiles
    from slurm.submission import Submitted, Target


@dataclass(frozen=True, kw_only=True)
class Work:
    """What an executor gets. estimated: seconds of each stage that waits."""

    plan: Plan
    store: Store
    study: str
    sources: Sources
    resources: Resources
    estimated: Mapping[str, float]


def run_debug(work: Work, run: RunOptions) -> Outcome:
    with _progress_on(sys.stderr):
        return run_in_process(work.plan, work.store, work.sources, work.resources, _say, work.estimated)


def run_local(work: Work, run: RunOptions) -> Outcome:
    with display_on(sys.stderr) as display:
        return run_locally(work.plan, work.store, work.sources, work.resources, run.workers, display, work.estimated)


def run_slurm(work: Work, run: RunOptions) -> Outcome:
    """Queue what is not done; returns as soon as it is queued."""
    from slurm.submission import submit

    target = target_of(work.plan, run, work.estimated)
    found = submit(work.plan, work.store, work.study, work.sources, work.resources, target, report=_say)
    _say(_in_words(found))
    if found.reason:
        _say(f"left out: {counted(len(found.left_out), 'stage')}: {found.reason}.")
    if found.elsewhere:
        _say(f"{counted(len(found.elsewhere), 'stage')} in other processes; what depends on them is queued after that.")
    if found.refused:
        lines = [f"sbatch refuses the tasks of {place}: {words}" for place, words in found.refused.items()]
        left = counted(len(found.left_out), "stage")
        raise HarnessError("\n".join([*lines, f"{left} not queued. Correct the profile, and give the command again."]))
    return Outcome(
        queued=[*found.queued],
        left_out=[*found.left_out],
        elsewhere=[*found.elsewhere],
        cancelled=[*found.cancelled],
        blocked=[*found.blocked],
    )


EXECUTORS: Mapping[str, Callable[[Work, RunOptions], Outcome]] = {
    "local": run_local,
    "debug": run_debug,
    "slurm": run_slurm,
}


def run_problems(run: RunOptions, store: Store) -> list[Problem]:
    """What is wrong with how a grid is to be run, its profiles included."""
    found = Problems(execution_problems(run))
    if not found.found and run.executor == "slurm":
        from slurm.batch_file import store_problems
        from slurm.profiles import load_profiles

        found.extend(store_problems(store.root.absolute()))
        found.attempt(lambda: load_profiles(run.profile_name), None, "profile")
    if run.track:
        from harness.tracking.trackers import default_folder, track_problems

        found.extend(track_problems(run.track, default_folder(store)))
    return found.found


def tracked_by(run: RunOptions, store: Store, study: str) -> AbstractContextManager[object]:
    """Within it, finished stages of the study are written to the trackers that the run names."""
    if not run.track:
        return nullcontext()
    from harness.tracking.behind import tracked

    return tracked(store, study, run.track)


def check_can_start(run: RunOptions) -> None:
    """Raises UsageError where this machine cannot start a run so."""
    if run.executor == "slurm" and shutil.which("sbatch") is None:
        here = f"Submit from a login node, or use {option('executor')} local."
        raise UsageError(Problem("there is no sbatch on this machine", "executor", next_move=here))


def preview_of(plan: Plan, store: Store, run: RunOptions) -> Preview | None:
    """What a run would submit to a cluster; None where it runs on this machine."""
    if run.executor != "slurm":
        return None
    from slurm.preview import preview

    return preview(plan, store, target_of(plan, run))


def target_of(plan: Plan, run: RunOptions, estimated: Mapping[str, float] | None = None) -> Target:
    """The profiles of a plan's stages. estimated: seconds by stage.

    Raises UsageError with everything that is wrong in their file.
    """
    from slurm.submission import Target

    return Target(profiles=_load_profiles(plan, run), max_jobs=run.max_jobs, estimated=estimated or {})


def profiles_of(plan: Plan, run: RunOptions) -> Profiles | None:
    """Of a run on a cluster; None where it runs on this machine. Raises UsageError as `target_of`."""
    return _load_profiles(plan, run) if run.executor == "slurm" else None


def machine_of(plan: Plan, profiles: Profiles | None) -> Machine:
    """The machine that a run is estimated for: this one, or what the profiles ask of the cluster."""
    if profiles is None:
        return this_machine()
    asked = set(_training_profiles(plan, profiles).values()) or {profiles.default}
    largest = max(asked, key=lambda profile: (profile.num_gpus, profile.cpus))
    return Asked(gpus=tuple(map(str, range(largest.num_gpus))), cores=largest.cpus)


def ranks_of(plan: Plan, profiles: Profiles | None, resources: Resources) -> dict[str, int]:
    """The ranks that train a stage of each kind: those of its profile on a cluster, where it asks for several."""
    if profiles is None:
        return dict.fromkeys(_training_kinds(plan), resources.ranks)
    asked = _training_profiles(plan, profiles)
    return {kind: profile.ranks if profile.ranks > 1 else resources.ranks for kind, profile in asked.items()}


def _training_kinds(plan: Plan) -> set[str]:
    return {spec.kind for spec in plan.stages.values() if plan.work_of_kind(spec.kind) in TRAINS}


def _training_profiles(plan: Plan, profiles: Profiles) -> dict[str, Profile]:
    return {kind: profiles.for_stage(kind, plan.work_of_kind(kind)) for kind in _training_kinds(plan)}


def _load_profiles(plan: Plan, run: RunOptions) -> Profiles:
    from slurm.profiles import load_profiles

    return load_profiles(run.profile_name, _kinds(plan))


class Asked(Machine):
    """What a profile asks for; what memory its node has, nobody here can tell."""

    def memory_bytes(self) -> int | None:
        return None


def _kinds(plan: Plan) -> dict[str, StageKind]:
    from harness.planning.kinds import KINDS

    return {**KINDS, **{spec.kind: kind_of(spec) for spec in plan.stages.values()}}


def _in_words(found: Submitted) -> str:
    if not found.arrays:
        return "nothing was submitted." if found.left_out else "nothing new to submit."
    jobs = f"job {found.jobs[0]}" if found.arrays == 1 else f"jobs {found.jobs[0]} to {found.jobs[-1]}"
    return f"submitted {counted(found.tasks, 'task')} in {counted(found.arrays, 'array')} ({jobs})."


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def _progress_on(stream: TextIO) -> Iterator[None]:
    """The stages' own progress lines, indented under the line that announces the stage."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("    %(message)s"))
    logger = logging.getLogger("harness")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
