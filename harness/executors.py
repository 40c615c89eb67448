"""Executors: how the stages of a plan that are not done get done. `debug` runs them in this process, in order."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from harness.errors import Interrupted
from harness.plan import Plan
from harness.processes import local_snapshot
from harness.state import read_states, to_run
from harness.store import Store
from harness.worker import Resources, Sources, first_line, run_stage


@dataclass
class Outcome:
    """What a run of an executor came to: stage ids by how they ended."""

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: list[str] = field(default_factory=list)


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """SIGINT and SIGTERM set a flag that stages poll; a second SIGINT interrupts at once."""
    seen: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_in_process(
    plan: Plan, store: Store, sources: Sources, resources: Resources, report: Callable[[str], None]
) -> Outcome:
    """Run every stage that must run, parents first. A failure blocks only what rests on it.

    Raises Interrupted when a signal asked to stop; what was under way has left a checkpoint.
    """
    outcome = Outcome()
    states = read_states(plan, store, local_snapshot(plan, store))
    waiting = to_run(plan, states)
    with stop_on_signals() as should_stop:
        for position, stage_id in enumerate(waiting, start=1):
            spec = plan.stages[stage_id]
            if any(parent in outcome.failed or parent in outcome.blocked for parent in spec.parents.values()):
                outcome.blocked.append(stage_id)
                continue
            if states[stage_id] == "running":
                raise Interrupted(
                    f"{spec.label()} runs in another process (stage {stage_id}); wait for it, or stop it."
                )
            if should_stop():
                raise Interrupted("stopped by a signal; the same command goes on.")
            report(f"[{position}/{len(waiting)}] {spec.label()} ({stage_id})")
            try:
                run_stage(spec, store, sources, resources, should_stop)
            except (Interrupted, KeyboardInterrupt):
                raise Interrupted(f"stopped in {spec.label()}; the same command goes on.") from None
            except Exception as error:
                outcome.failed[stage_id] = first_line(error)
                report(f"    failed: {outcome.failed[stage_id]} (log: {_last_log(store, stage_id)})")
            else:
                outcome.done.append(stage_id)
    return outcome


def _last_log(store: Store, stage_id: str) -> str:
    return str(store.attempt_log(stage_id, store.attempts(stage_id)[-1].number))
