"""What every executor decides alike: what a run has to do, and what follows when a stage's attempt has ended."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto

from harness.planning.graph import Plan
from harness.store.attempts import Attempt, outcome_named
from harness.store.leftovers import finalize_after_kill
from harness.store.store import Store
from harness.studies.state import Remaining, read_states, remaining


def begin_run(plan: Plan, store: Store, only: Collection[str] | None = None) -> tuple[set[str], Remaining]:
    """The finished stages of a plan, and what is left to do of it. Tidies up after workers that were killed.

    only: stages besides which nothing is to be done; None: all that the plan's cells need.
    """
    states = read_states(plan, store)
    finished = {stage_id for stage_id, state in states.items() if state == "done"}
    finalize_after_kill(store, finished)
    return finished, remaining(plan, states, only)


class NextStep(Enum):
    """What an executor does with a stage.

    RETRY: run it again. USE_A_TRY: note how its attempt ended; then `may_try_again`. ELSEWHERE: leave it to another
    process.
    """

    DONE = auto()
    RETRY = auto()
    USE_A_TRY = auto()
    ELSEWHERE = auto()
    CANCELLED = auto()
    FAILED = auto()


@dataclass(frozen=True, kw_only=True)
class EndedStage:
    """What the store holds on a stage whose job has ended.

    own: the last attempt, where the job made it. last_is_foreign: another process began one since the job was
    submitted. is_held: a live process holds the lease, and has not ended its attempt. can_begin: its parents
    are finished.
    """

    has_record: bool
    is_held: bool
    is_cancelled: bool
    own: Attempt | None
    last_is_foreign: bool
    can_begin: bool


def after_job(stage: EndedStage, *, stopping: bool) -> NextStep:
    """What follows for a stage whose job has ended. stopping: the run starts nothing any more. Pure."""
    if stage.has_record:
        return NextStep.DONE
    if stage.is_held:
        return NextStep.ELSEWHERE
    if stage.is_cancelled:
        return NextStep.CANCELLED
    if stage.own is None:
        if stage.last_is_foreign:
            return NextStep.ELSEWHERE
        never_begun = stopping or not stage.can_begin  # the job did not come to it, or a parent was invalidated
        return NextStep.RETRY if never_begun else NextStep.USE_A_TRY
    if stage.own.retried:
        return NextStep.RETRY
    if stage.own.outcome is None or stage.own.outcome == "time-limit":  # its worker died, or is about to be killed
        return NextStep.USE_A_TRY
    return NextStep.RETRY if stopping else after_outcome(stage.own.outcome)


def after_outcome(name: str) -> NextStep:
    """What follows for a stage without a record whose attempt ended so. name: as in `attempts.OUTCOMES`. Pure."""
    if name == "cancelled":
        return NextStep.CANCELLED
    outcome = outcome_named(name)
    if not outcome.retry:
        return NextStep.FAILED
    return NextStep.USE_A_TRY if outcome.tries or name == "interrupted" else NextStep.RETRY
