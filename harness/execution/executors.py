"""Executors: ways to run the stages of a plan that are not done.

`debug` runs them in this process, in order; `local` in worker processes of this machine, side by side.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from harness.errors import Interrupted
from harness.execution.decisions import NextStep, after_outcome, begin_run
from harness.execution.display import Display
from harness.execution.driver import Driver
from harness.execution.hardware import this_machine
from harness.execution.local import LocalScheduler
from harness.execution.outcome import Outcome
from harness.planning.graph import Plan
from harness.stages.context import Resources, Sources
from harness.store.store import Store
from harness.worker.run import StageBusy, first_line, outcome_of, run_stage


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
    """Run every stage that must run and is not cancelled, parents first. A failure blocks only stages downstream.

    Raises Interrupted when a signal stops it; the running stage has saved a checkpoint.
    """
    _, remaining = begin_run(plan, store)
    outcome = Outcome(cancelled=[*remaining.cancelled], blocked=[*remaining.downstream])
    waiting = remaining.waiting
    with stop_on_signals() as should_stop:
        for position, stage_id in enumerate(waiting, start=1):
            if outcome.not_done() & set(plan.stages[stage_id].parents.values()):
                outcome.blocked.append(stage_id)
            elif store.stage(stage_id).has_record():
                report(
                    f"[{position}/{len(waiting)}] {plan.label(stage_id)} was finished by another process ({stage_id})"
                )
            elif should_stop():
                raise Interrupted("stopped by a signal; the same command goes on.")
            else:
                report(f"[{position}/{len(waiting)}] {plan.label(stage_id)} ({stage_id})")
                _run_one(plan, stage_id, store, sources, resources, should_stop, outcome, report)
    return outcome


def _run_one(
    plan: Plan,
    stage_id: str,
    store: Store,
    sources: Sources,
    resources: Resources,
    should_stop: Callable[[], bool],
    outcome: Outcome,
    report: Callable[[str], None],
) -> None:
    try:
        ran = run_stage(plan.stages[stage_id], store, sources, resources, should_stop)
    except StageBusy:
        report("    runs in another process; passed over")
        outcome.elsewhere.append(stage_id)
    except (Exception, KeyboardInterrupt) as error:
        match after_outcome(outcome_of(error)):
            case NextStep.USE_A_TRY:  # interrupted, by a signal to this process
                raise Interrupted(f"stopped in {plan.label(stage_id)}; the same command goes on.") from None
            case NextStep.CANCELLED:
                report(f"    {first_line(error)}")
                outcome.cancelled.append(stage_id)
            case _:  # nothing is retried here
                log = store.stage(stage_id).last_log()
                outcome.failed[stage_id] = first_line(error)
                report(f"    failed: {first_line(error)}" + (f" (log: {log})" if log is not None else ""))
    else:
        if ran:
            outcome.done.append(stage_id)


def run_locally(
    plan: Plan, store: Store, sources: Sources, resources: Resources, workers: int | None, display: Display
) -> Outcome:
    """Run every stage that must run in `workers` processes (None: as many as GPUs or cores allow).

    Raises Interrupted when a signal stops it; running stages have saved a checkpoint. A second Ctrl-C kills.
    """
    machine = this_machine()
    threads = max((spec.parameters.get("threads", 1) for spec in plan.stages.values()), default=1)
    scheduler = LocalScheduler(store, sources, resources, workers or machine.workers(threads), machine.gpus)
    driver = Driver(plan, store, scheduler, scheduler.wait, display.report, display.show)
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
