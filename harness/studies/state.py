"""One pure function decides what a stage's state is; grid, status and tables all use it, and nothing else does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from harness.planning.graph import Plan
from harness.store.attempts import Attempt, outcome_named
from harness.store.store import Store
from harness.studies.activity import Activity, read_activity

STATES = ("done", "running", "queued", "failed", "cancelled", "blocked", "pending")
STOPS = ("failed", "cancelled", "blocked")  # states of a parent whose children cannot start


def state(
    stage_id: str,
    parent_states: Sequence[str],
    finished: Collection[str],
    attempts: Sequence[Attempt],
    activity: Activity,
) -> str:
    """The state of one stage.

    done: it has a record. running, queued: as `activity` says. failed: its last attempt ended in an error. cancelled:
    its last attempt was cancelled, and no `harness retry` has cleared that. blocked: it cannot start because a stage
    that it depends on failed or is cancelled. pending: it can start, or will once its parents are done.
    """
    if stage_id in finished:
        return "done"
    if stage_id in activity.running:
        return "running"
    if stage_id in activity.queued:
        return "queued"
    if attempts and (outcome := attempts[-1].outcome) is not None and outcome_named(outcome).is_failure:
        return "cancelled" if outcome == "cancelled" else "failed"
    if any(parent in STOPS for parent in parent_states):
        return "blocked"
    return "pending"


def plan_states(
    plan: Plan, finished: Collection[str], attempts: Mapping[str, Sequence[Attempt]], activity: Activity
) -> dict[str, str]:
    """The state of every stage of a plan, parents first."""
    states: dict[str, str] = {}
    for stage_id, spec in plan.stages.items():
        parents = [states[parent] for parent in spec.parents.values()]
        states[stage_id] = state(stage_id, parents, finished, attempts.get(stage_id, ()), activity)
    return states


def to_run(plan: Plan, states: Mapping[str, str]) -> list[str]:
    """Stages that must run for every cell to be done and measured, parents first: ends, and what they depend on."""
    needed = plan.ends()
    for stage_id in reversed(list(plan.stages)):
        if stage_id in needed and states[stage_id] != "done":
            needed.update(plan.stages[stage_id].parents.values())
    return [stage_id for stage_id in plan.stages if stage_id in needed and states[stage_id] != "done"]


@dataclass(frozen=True)
class Remaining:
    """What is left to do of a plan. Stage ids, parents first.

    waiting: to be run. cancelled: not run until `harness retry` clears it. downstream: cannot run because they depend
    on those.
    """

    waiting: tuple[str, ...] = ()
    cancelled: tuple[str, ...] = ()
    downstream: tuple[str, ...] = ()


def remaining(plan: Plan, states: Mapping[str, str], only: Collection[str] | None = None) -> Remaining:
    """`to_run`, split by what is cancelled. only: the unfinished of these stages instead."""
    needed = to_run(plan, states) if only is None else [i for i in plan.stages if i in only and states[i] != "done"]
    cancelled = tuple(stage_id for stage_id in needed if states[stage_id] == "cancelled")
    out = {*cancelled}
    downstream = []
    for stage_id in needed:
        if stage_id not in out and out & set(plan.stages[stage_id].parents.values()):
            out.add(stage_id)
            downstream.append(stage_id)
    return Remaining(
        waiting=tuple(stage_id for stage_id in needed if stage_id not in out),
        cancelled=cancelled,
        downstream=tuple(downstream),
    )


def read_states(plan: Plan, store: Store, activity: Activity | None = None) -> dict[str, str]:
    """The states of a plan's stages, from the files of a store. activity: None for `read_activity`."""
    activity = read_activity(plan, store) if activity is None else activity  # before the records: what ends now is done
    finished = store.finished(plan.stages)
    tried = store.attempted()
    unfinished = (stage_id for stage_id in plan.stages if stage_id in tried and stage_id not in finished)
    attempts = {stage_id: store.stage(stage_id).attempts() for stage_id in unfinished}
    return plan_states(plan, finished, attempts, activity)
