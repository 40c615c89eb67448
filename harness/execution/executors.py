"""Executors: ways to run the stages of a plan that are not done.

`debug` runs them in this process, in order; `local` in worker processes of this machine, side by side.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType, MappingProxyType

from harness.errors import Interrupted
from harness.execution.decisions import NextStep, after_outcome, begin_run
from harness.execution.display import Display
from harness.execution.driver import Driver
from harness.execution.hardware import this_machine
from harness.execution.local import LocalScheduler
from harness.execution.outcome import Outcome
from harness.execution.pace import Pace, done_line
from harness.planning.graph import Plan
from harness.stages.context import Resources, Sources
from harness.store.store import Store
from harness.worker.run import StageBusy, first_line, outcome_of, run_stage
from harness.worker.stop_request import STOPPING, StopRequest

NOTHING_ESTIMATED: Mapping[str, float] = MappingProxyType({})


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """SIGINT, SIGTERM and SIGUSR2 request a stop, which stages poll; a second SIGINT interrupts at once."""
    request = StopRequest()

    def remember(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and request():
            raise KeyboardInterrupt
        request.ask(number)

    if threading.current_thread() is not threading.main_thread():  # a notebook's helper thread: no handler may be set
        yield request
        return
    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, *STOPPING)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_in_process(
    plan: Plan,
    store: Store,
    sources: Sources,
    resources: Resources,
    report: Callable[[str], None],
    estimated: Mapping[str, float] = NOTHING_ESTIMATED,
) -> Outcome:
    """Run every stage that must run and is not cancelled, parents first. A failure blocks only stages downstream.

    estimated: seconds by stage, as in `Driver`. Raises Interrupted when a signal stops it; the running stage has saved
    a checkpoint.
    """
    _, remaining = begin_run(plan, store)
    outcome = Outcome(cancelled=[*remaining.cancelled], blocked=[*remaining.downstream])
    waiting, pace = remaining.waiting, Pace(plan, estimated)
    with stop_on_signals() as should_stop:
        for position, stage_id in enumerate(waiting):
            label = plan.label(stage_id)
            if outcome.not_done() & set(plan.stages[stage_id].parents.values()):
                outcome.blocked.append(stage_id)
            elif store.stage(stage_id).has_record():
                report(f"done by another process: {label}")
            elif should_stop():
                raise should_stop.interruption("stopped")
            else:
                report(f"started: {label}")
                begun = time.monotonic()
                if _run_one(plan, stage_id, store, sources, resources, should_stop, outcome, report):
                    seconds = time.monotonic() - begun
                    pace.took(stage_id, seconds)
                    left = pace.left(_runnable(plan, waiting[position + 1 :], outcome), {}, at_once=1)
                    report(done_line(label, seconds, len(outcome.done), len(waiting), left))
    return outcome


def _runnable(plan: Plan, waiting: Sequence[str], outcome: Outcome) -> list[str]:
    """Those of the stages that do not depend on one that is not done; parents first."""
    cannot = outcome.not_done()
    for stage_id in waiting:
        if cannot & set(plan.stages[stage_id].parents.values()):
            cannot.add(stage_id)
    return [stage_id for stage_id in waiting if stage_id not in cannot]


def _run_one(
    plan: Plan,
    stage_id: str,
    store: Store,
    sources: Sources,
    resources: Resources,
    should_stop: StopRequest,
    outcome: Outcome,
    report: Callable[[str], None],
) -> bool:
    """Whether the stage ran to its end here; what else became of it is noted and reported."""
    label = plan.label(stage_id)
    try:
        ran = run_stage(plan.stages[stage_id], store, sources, resources, should_stop)
    except StageBusy:
        report(f"runs in another process; passed over: {label}")
        outcome.elsewhere.append(stage_id)
    except (Interrupted, KeyboardInterrupt):
        raise should_stop.interruption(f"stopped in {label}") from None
    except Exception as error:
        match after_outcome(outcome_of(error)):
            case NextStep.CANCELLED:
                report(f"cancelled: {label}: {first_line(error)}")
                outcome.cancelled.append(stage_id)
            case _:  # nothing is retried here
                log = store.stage(stage_id).last_log()
                outcome.failed[stage_id] = first_line(error)
                where = f" (log: {log})" if log is not None else ""
                report(f"failed: {label}: {first_line(error)}{where}")
    else:
        if ran:
            outcome.done.append(stage_id)
            return True
        report(f"done by another process: {label}")
    return False


def run_locally(
    plan: Plan,
    store: Store,
    sources: Sources,
    resources: Resources,
    workers: int | None,
    display: Display,
    estimated: Mapping[str, float] = NOTHING_ESTIMATED,
) -> Outcome:
    """Run every stage that must run in `workers` processes (None: as many as GPUs or cores allow).

    estimated: seconds by stage, as in `Driver`.
    Raises Interrupted when a signal stops it; running stages have saved a checkpoint. A second Ctrl-C kills.
    """
    machine = this_machine()
    threads = max((spec.parameters.get("threads", 1) for spec in plan.stages.values()), default=1)
    side_by_side = workers or machine.workers(threads, resources.ranks)
    scheduler = LocalScheduler(store, sources, resources, side_by_side, machine.gpus)
    driver = Driver(plan, store, scheduler, scheduler.wait, display.report, display.show, estimated=estimated)
    with stop_on_signals() as should_stop:
        try:
            outcome = driver.run(should_stop, lambda: scheduler.stop(should_stop.signal))
        except KeyboardInterrupt:
            scheduler.close(kill=True)
            raise
        except Interrupted:
            scheduler.close()
            raise should_stop.interruption("stopped") from None
        except BaseException:
            scheduler.close()
            raise
        scheduler.close()
    return outcome
