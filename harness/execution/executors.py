"""Executors: how the stages of a plan that are not done get done.

`debug` runs them in this process, in order; `local` in worker processes of this machine, side by side.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from harness.errors import Cancelled, Interrupted
from harness.execution.display import Display
from harness.execution.driver import Driver
from harness.execution.hardware import this_machine
from harness.execution.local import LocalScheduler
from harness.execution.outcome import Outcome
from harness.planning.graph import Plan
from harness.specs import StageSpec
from harness.stages.context import Resources, Sources
from harness.store.leftovers import close_finished
from harness.store.store import Store
from harness.studies.state import local_snapshot, read_cancelled, read_states, work
from harness.worker.run import StageBusy, first_line, run_stage

if TYPE_CHECKING:
    pass


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """SIGINT and SIGTERM set a flag that stages poll; a second SIGINT interrupts at once."""
    seen: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and seen:
            raise KeyboardInterrupt
        seen.append(number)

    if threading.current_thread() is not threading.main_thread():  # a notebook's helper thread: no handler may be set
        yield lambda: False
        return
    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_in_process(
    plan: Plan, store: Store, sources: Sources, resources: Resources, report: Callable[[str], None]
) -> Outcome:
    """Run every stage that must run and is not cancelled, parents first. A failure blocks only what rests on it.

    Raises Interrupted when a signal asked to stop; what was under way has left a checkpoint.
    """
    states = read_states(plan, store, local_snapshot(plan, store))
    found = work(plan, states, read_cancelled(states, store))
    close_finished(store, [stage_id for stage_id, state in states.items() if state == "done"])
    outcome, waiting = Outcome(cancelled=[*found.cancelled], blocked=[*found.resting]), found.waiting
    with stop_on_signals() as should_stop:
        for position, stage_id in enumerate(waiting, start=1):
            spec = plan.stages[stage_id]
            stopped = {*outcome.failed, *outcome.elsewhere, *outcome.cancelled, *outcome.blocked}
            if stopped & set(spec.parents.values()):
                outcome.blocked.append(stage_id)
            elif store.has_record(stage_id):
                report(
                    f"[{position}/{len(waiting)}] {plan.label(stage_id)} was finished by another process ({stage_id})"
                )
            elif should_stop():
                raise Interrupted("stopped by a signal; the same command goes on.")
            else:
                report(f"[{position}/{len(waiting)}] {plan.label(stage_id)} ({stage_id})")
                _run_one(spec, store, sources, resources, should_stop, outcome, report)
    return outcome


def _run_one(
    spec: StageSpec,
    store: Store,
    sources: Sources,
    resources: Resources,
    should_stop: Callable[[], bool],
    outcome: Outcome,
    report: Callable[[str], None],
) -> None:
    stage_id = spec.stage_id
    try:
        ran = run_stage(spec, store, sources, resources, should_stop)
    except StageBusy:
        report("    runs in another process; passed over")
        outcome.elsewhere.append(stage_id)
    except Cancelled as error:
        report(f"    {first_line(error)}")
        outcome.cancelled.append(stage_id)
    except (Interrupted, KeyboardInterrupt):
        raise Interrupted(f"stopped in {spec.label()}; the same command goes on.") from None
    except Exception as error:
        outcome.failed[stage_id] = first_line(error)
        report(f"    failed: {outcome.failed[stage_id]}{_last_log(store, stage_id)}")
    else:
        if ran:
            outcome.done.append(stage_id)


def _last_log(store: Store, stage_id: str) -> str:
    """Where to read more; nothing where not even an attempt could be begun, as on a full disk."""
    attempts = store.attempts(stage_id)
    log = store.attempt_log(stage_id, attempts[-1].number) if attempts else None
    return f" (log: {log})" if log is not None and log.is_file() else ""


def run_locally(
    plan: Plan, store: Store, sources: Sources, resources: Resources, workers: int | None, display: Display
) -> Outcome:
    """Run every stage that must run in `workers` processes (None: as many as GPUs or cores allow).

    Raises Interrupted when a signal asked to stop; what was under way has left a checkpoint. A second Ctrl-C kills.
    """
    machine = this_machine()
    threads = max((spec.parameters.get("threads", 1) for spec in plan.stages.values()), default=1)
    scheduler = LocalScheduler(store, sources, resources, workers or machine.workers(threads), machine.gpus)
    driver = Driver(plan, store, scheduler, scheduler.wait, display.tell, display.show)
    with stop_on_signals() as should_stop:
        try:
            outcome = driver.run(should_stop, scheduler.stop)
        except KeyboardInterrupt:
            scheduler.close(kill=True)
            raise
        except BaseException:
            scheduler.close()
            raise
        scheduler.close()
    return outcome
