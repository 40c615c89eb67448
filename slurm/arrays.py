"""Job arrays: the bundles of a whole graph, grouped by what they need and what they wait for. Pure.

A bundle waits for the tasks that have its unfinished parents. Bundles of one profile that wait for the same tasks make
one array; what nothing else waits for can be packed, several bundles to a task, which is how a limit on submitted tasks
is met.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.execution.bundles import Bundle, next_bundles
from harness.planning.graph import Plan
from slurm.profiles import Profile


@dataclass(frozen=True)
class Task:
    """What one index of an array runs: stage ids, parents first."""

    stage_ids: tuple[str, ...]


@dataclass(frozen=True)
class Array:
    """profile: of the first stage of each task. tasks: by index. after: stages of earlier tasks, which it waits for.
    needed: its own stages that stages of later arrays start from.
    """

    profile: Profile
    tasks: tuple[Task, ...]
    after: tuple[str, ...]
    needed: tuple[str, ...]

    def first(self, num_tasks: int) -> Array:
        """The array of its first tasks."""
        kept = self.tasks[: max(num_tasks, 0)]
        inside = {stage_id for task in kept for stage_id in task.stage_ids}
        return replace(self, tasks=kept, needed=tuple(i for i in self.needed if i in inside))

    @property
    def stage_ids(self) -> tuple[str, ...]:
        return tuple(stage_id for task in self.tasks for stage_id in task.stage_ids)


def plan_bundles(plan: Plan, waiting: Collection[str], settled: Collection[str]) -> list[Bundle]:
    """All bundles of the stages that wait, each after those that it depends on; no stage is in two.

    settled: stages that are finished, or in a task that is queued or runs. What depends on a stage that neither is
    settled nor waits is left out.
    """
    rest, done, found = set(waiting), set(settled), []
    while rest and (level := next_bundles(plan, rest, done)):
        found += level
        for bundle in level:
            rest.difference_update(bundle.ids)
            done.update(bundle.ids)
    return found


def plan_arrays(
    plan: Plan,
    bundles: Sequence[Bundle],
    finished: Collection[str],
    profile_of: Callable[[Bundle], Profile],
    pack: Callable[[Profile], int],
    most_tasks: int,
) -> list[Array]:
    """The arrays of the bundles, each after those that it waits for.

    finished: stages with a record; nothing waits for them. pack: how many leaves a task of a profile takes at least.
    most_tasks: of one array.
    """
    inside = {stage_id for bundle in bundles for stage_id in bundle.ids}
    needed = _needed_elsewhere(plan, bundles)
    groups: dict[tuple[int, Profile, tuple[str, ...], bool], list[Bundle]] = {}
    depth: dict[str, int] = {}  # of a bundle's stages: how many arrays come before
    for bundle in bundles:
        after = _waits_for(plan, bundle, finished)
        level = 1 + max((depth[parent] for parent in after if parent in inside), default=-1)
        depth.update(dict.fromkeys(bundle.ids, level))
        is_leaf = not needed.intersection(bundle.ids)
        groups.setdefault((level, profile_of(bundle), after, is_leaf), []).append(bundle)
    arrays: list[Array] = []
    for (_, profile, after, is_leaf), members in sorted(groups.items(), key=lambda group: group[0][0]):
        tasks = _tasks(members, pack(profile) if is_leaf else 1)
        for start in range(0, len(tasks), most_tasks):
            chosen = tasks[start : start + most_tasks]
            own = tuple(i for task in chosen for i in task.stage_ids if i in needed)
            arrays.append(Array(profile, tuple(chosen), after, own))
    return arrays


def packed_to(arrays: Sequence[Array], most: int) -> list[Array]:
    """The arrays in at most `most` tasks, if packing their leaves is enough; else as few as that gives."""
    spread = sum(len(array.tasks) for array in arrays)
    if spread <= most:
        return list(arrays)
    fixed = sum(len(array.tasks) for array in arrays if array.needed)
    leaves = [len(array.tasks) for array in arrays if not array.needed]
    factor = 2
    while fixed + sum(math.ceil(count / factor) for count in leaves) > most and factor < max(leaves, default=0):
        factor += 1
    return [array if array.needed else replace(array, tasks=tuple(_merged(array.tasks, factor))) for array in arrays]


def _waits_for(plan: Plan, bundle: Bundle, finished: Collection[str]) -> tuple[str, ...]:
    """The unfinished stages outside of a bundle that it starts from, in order."""
    own = set(bundle.ids)
    parents = {parent for spec in bundle.stages for parent in spec.parents.values()}
    return tuple(sorted(parent for parent in parents if parent not in own and parent not in finished))


def _needed_elsewhere(plan: Plan, bundles: Iterable[Bundle]) -> set[str]:
    """The stages from which stages of other bundles start."""
    home = {stage_id: number for number, bundle in enumerate(bundles) for stage_id in bundle.ids}
    return {
        parent
        for stage_id, number in home.items()
        for parent in plan.stages[stage_id].parents.values()
        if home.get(parent, number) != number
    }


def _tasks(bundles: Sequence[Bundle], pack: int) -> list[Task]:
    return _merged([Task(bundle.ids) for bundle in bundles], pack)


def _merged(tasks: Sequence[Task], factor: int) -> list[Task]:
    """Dealt to ceil(n / factor) tasks, as evenly as can be."""
    number = math.ceil(len(tasks) / factor)
    return [Task(tuple(i for task in tasks[start::number] for i in task.stage_ids)) for start in range(number)]


def tasks_waited_for(array: Array, homes: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the tasks that an array waits for. homes: stage id -> task."""
    return tuple(dict.fromkeys(homes[stage_id] for stage_id in array.after))
