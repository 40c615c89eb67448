"""One pure function decides what a stage's state is; grid, status and tables all use it, and nothing else does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from harness.planning.graph import Plan
from harness.store.attempts import Attempt, end_of
from harness.store.leases import current_holder
from harness.store.processes import is_live
from harness.store.store import Store

STATES = ("done", "running", "queued", "failed", "blocked", "missing")


@dataclass(frozen=True)
class Snapshot:
    """What the scheduler says at one moment: stages with a live attempt, and stages it holds but has not started."""

    running: Collection[str] = ()
    queued: Collection[str] = ()


def state(
    stage_id: str,
    parent_states: Sequence[str],
    finished: Collection[str],
    attempts: Sequence[Attempt],
    snapshot: Snapshot,
) -> str:
    """The state of one stage.

    done: its record is in. running, queued: the scheduler says so. failed: its last attempt ended in an error, or was
    cancelled.
    blocked: it cannot start because something it rests on failed. missing: it waits to be started (never tried, or
    cut off).
    """
    if stage_id in finished:
        return "done"
    if stage_id in snapshot.running:
        return "running"
    if stage_id in snapshot.queued:
        return "queued"
    if attempts and (outcome := attempts[-1].outcome) is not None and end_of(outcome).is_failure:
        return "failed"
    if any(parent in ("failed", "blocked") for parent in parent_states):
        return "blocked"
    return "missing"


def plan_states(
    plan: Plan, finished: Collection[str], attempts: Mapping[str, Sequence[Attempt]], snapshot: Snapshot
) -> dict[str, str]:
    """The state of every stage of a plan, parents first."""
    states: dict[str, str] = {}
    for stage_id, spec in plan.stages.items():
        parents = [states[parent] for parent in spec.parents.values()]
        states[stage_id] = state(stage_id, parents, finished, attempts.get(stage_id, ()), snapshot)
    return states


def to_run(plan: Plan, states: Mapping[str, str]) -> list[str]:
    """Stages that must run for every cell to be done, parents first: unfinished ends and their unfinished ancestors."""
    needed: set[str] = {plan.endpoint(cell) for cell in plan.paths}
    for stage_id in reversed(list(plan.stages)):
        if stage_id in needed and states[stage_id] != "done":
            needed.update(plan.stages[stage_id].parents.values())
    return [stage_id for stage_id in plan.stages if stage_id in needed and states[stage_id] != "done"]


@dataclass(frozen=True)
class Work:
    """What a driver has before it. Stage ids, parents first.

    waiting: to be run. cancelled: would have to run, and are not until `harness retry` lifts it. resting: cannot run
    because they rest on those.
    """

    waiting: tuple[str, ...] = ()
    cancelled: tuple[str, ...] = ()
    resting: tuple[str, ...] = ()


def work(plan: Plan, states: Mapping[str, str], cancelled: Collection[str]) -> Work:
    """`to_run`, told apart by what was cancelled."""
    needed = to_run(plan, states)
    out = {stage_id for stage_id in needed if stage_id in cancelled}
    resting = []
    for stage_id in needed:
        if stage_id not in out and out & set(plan.stages[stage_id].parents.values()):
            out.add(stage_id)
            resting.append(stage_id)
    return Work(
        waiting=tuple(stage_id for stage_id in needed if stage_id not in out),
        cancelled=tuple(stage_id for stage_id in needed if stage_id in cancelled),
        resting=tuple(resting),
    )


def read_cancelled(states: Mapping[str, str], store: Store) -> set[str]:
    """Those of the failed stages whose last attempt was cancelled."""
    failed = [stage_id for stage_id, state in states.items() if state == "failed"]
    return {stage_id for stage_id in failed if store.attempts(stage_id)[-1].outcome == "cancelled"}


def read_states(plan: Plan, store: Store, snapshot: Snapshot) -> dict[str, str]:
    """The states of a plan's stages, from the files of a store."""
    finished = store.finished(plan.stages)
    tried = store.attempted()
    unfinished = (stage_id for stage_id in plan.stages if stage_id in tried and stage_id not in finished)
    attempts = {stage_id: store.attempts(stage_id) for stage_id in unfinished}
    return plan_states(plan, finished, attempts, snapshot)


def local_snapshot(plan: Plan, store: Store) -> Snapshot:
    """Stages under way: their lease is neither released nor held by a process that is gone."""
    leased, finished = store.leased(), store.finished(plan.stages)
    unfinished = (stage for stage in plan.stages if stage in leased and stage not in finished)
    holders = {stage: current_holder(store.lease_path(stage)) for stage in unfinished}
    return Snapshot(running=frozenset(stage for stage, holder in holders.items() if is_live(holder)))
