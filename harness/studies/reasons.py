"""Why the stages of a plan run, or do not: what a dry run says of each unfinished one.

What a stage went through tells its attempts. Of one that was never tried, the study as it was before tells whether it
is new, waits its turn, or stands in the place of another because something changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from harness.planning.difference import BEFORE, Comparison, counterparts, described
from harness.planning.graph import Plan
from harness.store.attempts import outcome_named
from harness.store.store import Store
from harness.studies.state import Remaining

# In the order in which a dry run lists them.
FAILED, INTERRUPTED, RETRIED, INVALIDATED = "failed before", "interrupted", "retried", "invalidated"
CHANGED, PARENT, NOT_YET, NEW = "changed", "parent runs again", "not run yet", "new"
ELSEWHERE, CANCELLED, AFTER_CANCELLED = "runs elsewhere", "cancelled", "waits for a cancelled stage"
REASONS = (
    *(FAILED, INTERRUPTED, RETRIED, INVALIDATED, CHANGED, PARENT, ELSEWHERE, NOT_YET, NEW),
    *(CANCELLED, AFTER_CANCELLED),
)
AGAIN = (FAILED, INTERRUPTED, RETRIED, INVALIDATED, PARENT)


@dataclass(frozen=True)
class Reason:
    """why: one of `REASONS`. detail: what failed, or what changed; "" where there is nothing to say."""

    why: str
    detail: str = ""


def read_reasons(
    plan: Plan, work: Remaining, states: Mapping[str, str], store: Store, before: Plan
) -> dict[str, Reason]:
    """The reason of every unfinished stage that the plan needs, parents first.

    before: the plan of the study that it belongs to, as the store has it; without cells where it has none.
    """
    reasons = {stage_id: Reason(CANCELLED) for stage_id in work.cancelled}
    reasons |= {stage_id: Reason(AFTER_CANCELLED) for stage_id in work.downstream}
    reasons |= _told_by_attempts(work.waiting, states, store)
    untried = [stage_id for stage_id in work.waiting if stage_id not in reasons]
    changed = _changes(plan, before) if any(stage_id not in before.stages for stage_id in untried) else {}
    again = {stage_id for stage_id, reason in reasons.items() if reason.why in AGAIN}
    new, not_yet = Reason(NEW), Reason(NOT_YET)
    for stage_id in untried:  # parents first
        parent = next((parent for parent in plan.stages[stage_id].parents.values() if parent in again), None)
        if stage_id in changed:
            reasons[stage_id] = Reason(CHANGED, changed[stage_id])
        elif parent is not None:
            again.add(stage_id)
            reasons[stage_id] = Reason(PARENT, plan.label(parent))
        else:
            reasons[stage_id] = not_yet if stage_id in before.stages else new
    return {stage_id: reasons[stage_id] for stage_id in plan.stages if stage_id in reasons}


def counts(reasons: Mapping[str, Reason]) -> dict[str, int]:
    """Number of stages by reason, in the order of `REASONS`."""
    found = Counter(reason.why for reason in reasons.values())
    return {why: found[why] for why in REASONS if found[why]}


def _told_by_attempts(waiting: Collection[str], states: Mapping[str, str], store: Store) -> dict[str, Reason]:
    found: dict[str, Reason] = {}
    tried = store.attempted()
    for stage_id in waiting:
        if states[stage_id] == "running":
            found[stage_id] = Reason(ELSEWHERE)
        elif stage_id in tried and (last := store.stage(stage_id).last_attempt()) is not None:
            if last.retried:
                found[stage_id] = Reason(RETRIED, last.message)
            elif last.outcome is None:
                found[stage_id] = Reason(INTERRUPTED, "its worker was killed")
            elif last.outcome == "done":
                found[stage_id] = Reason(INVALIDATED)
            elif outcome_named(last.outcome).is_failure:
                found[stage_id] = Reason(FAILED, last.message)
            else:
                found[stage_id] = Reason(INTERRUPTED, last.message)
    return found


# -- what changed since the study was written


def _changes(plan: Plan, before: Plan) -> dict[str, str]:
    """What changed of each stage of a cell that had other stages before."""
    pairs = [
        (before.endpoint(cell), path[-1])
        for cell, path in plan.paths.items()
        if cell in before.paths and before.paths[cell] != path
    ]
    comparison = Comparison(before, plan)
    found: dict[str, str] = {}
    while pairs:
        old, now = pairs.pop()
        if old == now or now in found:
            continue
        parents = counterparts(before.stages[old], plan.stages[now])
        own = described(comparison.own(old, now), BEFORE)
        found[now] = ", ".join(own or [f"its {role} changed" for role, (one, other) in parents.items() if one != other])
        pairs += parents.values()
    return found
