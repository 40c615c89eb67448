"""What a submission would look like: its arrays, a batch file for each profile, and what SLURM says of these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from harness.planning.graph import Plan
from harness.store.squeue import THE_QUEUE
from harness.store.store import Store
from harness.wording import counted
from slurm.arrays import Array
from slurm.batch_file import Answer, ask_sbatch
from slurm.profiles import Profile, Profiles
from slurm.submission import Prospect, Target, batch_text, prospect

NAME = "0" * 32  # stands for the uuid that a submission gets
MOST_ARRAYS = 20


@dataclass(frozen=True, kw_only=True)
class BatchFile:
    """The batch file of the largest array of a profile, and what `sbatch --test-only` says of it."""

    profile: Profile
    text: str
    tested: Answer

    def as_text(self) -> str:
        verdict = {True: "accepts it", False: "refuses it", None: "was not asked"}[self.tested.accepted]
        told = f"sbatch --test-only {verdict}: {self.tested.words}"
        return f"-- batch file of {self.profile.place}\n{self.text.rstrip()}\n--\n{told}"

    def as_json(self) -> dict[str, Any]:
        return {"text": self.text, "accepted": self.tested.accepted, "words": self.tested.words}


@dataclass(frozen=True, kw_only=True)
class Preview:
    """queue: why the queue is not known; then what is queued counts as not queued."""

    plan: Plan
    prospect: Prospect
    files: Sequence[BatchFile]
    queue: str = ""

    def as_text(self) -> str:
        arrays = self.prospect.arrays
        tasks = sum(len(array.tasks) for array in arrays)
        size = f"{counted(tasks, 'task')} in {counted(len(arrays), 'array')}"
        lines = [f"on the cluster: {size} to submit, {self._held()}"]
        lines += [f"queue: unknown ({self.queue})"] if self.queue else []
        if arrays:
            rows = [[_kinds(self.plan, a), a.profile.name, len(a.tasks), _after(self.plan, a)] for a in arrays]
            headers = ["array of", "profile", "tasks", "waits for"]
            lines.append(tabulate(rows[:MOST_ARRAYS], headers, disable_numparse=True))
            lines += [f"and {len(rows) - MOST_ARRAYS} more arrays"] * (len(rows) > MOST_ARRAYS)
        lines += [f"\n{file.as_text()}" for file in self.files]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        return {
            "arrays": [
                {
                    "profile": array.profile.name,
                    "tasks": [list(task.stage_ids) for task in array.tasks],
                    "after": list(array.after),
                }
                for array in self.prospect.arrays
            ],
            "queued": dict(self.prospect.held),
            "queue": self.queue,
            "batch_files": {file.profile.name: file.as_json() for file in self.files},
        }

    def _held(self) -> str:
        tasks = len(set(self.prospect.held.values()))
        return f"{tasks} queued or running" if tasks else "none queued"


def preview(plan: Plan, store: Store, target: Target) -> Preview:
    """What would be submitted now; submits and writes nothing. Raises UsageError for paths that SLURM cannot hold."""
    queue = THE_QUEUE.fresh(store.ledger.submitters())
    found = prospect(plan, store, target, queue)
    largest: dict[Profile, int] = {}
    for array in found.arrays:
        largest[array.profile] = max(len(array.tasks), largest.get(array.profile, 0))
    files = [tried(store, profile, tasks) for profile, tasks in largest.items()]
    return Preview(plan=plan, prospect=found, files=files, queue=queue.problem)


def tried(store: Store, profile: Profile, num_tasks: int = 1) -> BatchFile:
    """The batch file of an array, and what SLURM says of it. Raises UsageError for paths that SLURM cannot hold."""
    text = batch_text(store, NAME, num_tasks, profile)
    return BatchFile(profile=profile, text=text, tested=ask_sbatch(text))


def tried_profiles(store: Store, profiles: Profiles) -> list[BatchFile]:
    """The batch file of each table of a file."""
    every = {profile.name: profile for profile in (profiles.default, *profiles.work.values(), *profiles.kind.values())}
    return [tried(store, profile) for profile in every.values()]


def _kinds(plan: Plan, array: Array) -> str:
    """The kinds of the stages that the array's tasks begin with."""
    found = Counter(plan.stages[task.stage_ids[0]].kind for task in array.tasks)
    return ", ".join(found)


def _after(plan: Plan, array: Array) -> str:
    found = Counter(plan.stages[stage_id].kind for stage_id in array.after)
    return ", ".join(f"{count} {kind}" for kind, count in found.items())
