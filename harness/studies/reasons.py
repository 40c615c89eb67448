"""Why the stages of a plan run, or do not: what a dry run says of each unfinished one.

What a stage went through tells its attempts. Of one that was never tried, the study as it was before tells whether it
is new, waits its turn, or stands in the place of another because something changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.planning.graph import Plan
from harness.specs import StageSpec
from harness.store.attempts import outcome_named
from harness.store.store import Store
from harness.studies.state import Remaining
from harness.studies.study import read_cells, read_stage_fields, stages_named

# In the order in which a dry run lists them.
FAILED, INTERRUPTED, RETRIED, INVALIDATED = "failed before", "interrupted", "retried", "invalidated"
CHANGED, PARENT, NOT_YET, NEW = "changed", "parent runs again", "not run yet", "new"
ELSEWHERE, CANCELLED, AFTER_CANCELLED = "runs elsewhere", "cancelled", "waits for a cancelled stage"
REASONS = (
    *(FAILED, INTERRUPTED, RETRIED, INVALIDATED, CHANGED, PARENT, ELSEWHERE, NOT_YET, NEW),
    *(CANCELLED, AFTER_CANCELLED),
)
AGAIN = (FAILED, INTERRUPTED, RETRIED, INVALIDATED, PARENT)
MOST_CHANGES_NAMED = 3


@dataclass(frozen=True)
class Reason:
    """why: one of `REASONS`. detail: what failed, or what changed; "" where there is nothing to say."""

    why: str
    detail: str = ""


def read_reasons(plan: Plan, work: Remaining, states: Mapping[str, str], store: Store, study: str) -> dict[str, Reason]:
    """The reason of every unfinished stage that the plan needs, parents first. study: its name, in the store or not."""
    reasons = {stage_id: Reason(CANCELLED) for stage_id in work.cancelled}
    reasons |= {stage_id: Reason(AFTER_CANCELLED) for stage_id in work.downstream}
    reasons |= _told_by_attempts(work.waiting, states, store)
    untried = [stage_id for stage_id in work.waiting if stage_id not in reasons]
    known = stages_named(store, study, untried)
    changed = _changes(plan, store, study) if len(known) < len(untried) else {}
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
            reasons[stage_id] = not_yet if stage_id in known else new
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


def _changes(plan: Plan, store: Store, study: str) -> dict[str, str]:
    """What changed of each stage of a cell that had other stages in the study."""
    before = read_cells(store, study)
    pairs = [
        (path[-1], before[cell][-1]) for cell, path in plan.paths.items() if cell in before and before[cell] != path
    ]
    if not pairs:
        return {}
    fields = read_stage_fields(store, study)
    found: dict[str, str] = {}
    while pairs:
        now, old = pairs.pop()
        if now == old or now in found or old not in fields:
            continue
        spec = plan.stages[now]
        found[now] = ", ".join(_differences(spec, fields[old]))
        if spec.kind == fields[old]["kind"]:
            pairs += _parents(spec, fields[old])
    return found


def _parents(spec: StageSpec, old: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return ((parent, old["parents"][role]) for role, parent in spec.parents.items() if role in old["parents"])


def _differences(spec: StageSpec, old: Mapping[str, Any]) -> list[str]:
    """What differs between a stage and the one that was in its place; its own before its parents'."""
    if spec.kind != old["kind"]:
        return [f"{spec.kind} in the place of {old['kind']}"]
    parameters, before = spec.parameters, old["parameters"]
    differing = [name for name in sorted({*parameters, *before}) if parameters.get(name) != before.get(name)]
    named = [f"{name} {_value(parameters, name)} (was {_value(before, name)})" for name in differing]
    more = len(named) - MOST_CHANGES_NAMED
    named = named if more <= 0 else [*named[:MOST_CHANGES_NAMED], f"{more} more settings"]
    if dict(spec.versions) != old["versions"]:
        named.append(f"code version {spec.versions.get('kind')} (was {old['versions'].get('kind')})")
    inputs = sorted({*spec.inputs, *old["inputs"]})
    named += [f"other content of {role}" for role in inputs if spec.inputs.get(role) != old["inputs"].get(role)]
    roles = sorted({*spec.parents, *old["parents"]})
    other = [role for role in roles if spec.parents.get(role) != old["parents"].get(role)]
    return named or [f"its {role} changed" for role in other]


def _value(parameters: Mapping[str, Any], name: str) -> str:
    return str(parameters[name]) if name in parameters else "none"
