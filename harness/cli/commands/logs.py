"""`harness logs`: the logs of attempts; with -f, as they are written.

On a cluster a stage may have no attempt yet: then its task's own log says what there is to say. -f waits for the first
attempt of a stage that is queued, and goes on with the next one where its task is queued again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from pathlib import Path

from harness.cli.commands.chosen import Chosen, number_of, read_chosen
from harness.errors import UsageError
from harness.store.attempts import Attempt, outcome_named
from harness.store.processes import is_live
from harness.store.stage import StoredStage
from harness.studies.activity import last_tasks, read_activity
from harness.wording import MOST_STAGES_LISTED

POLL_SECONDS = 0.5
ASK_SECONDS = 30.0  # between two questions to squeue
BLOCK = 1 << 16
LAST_LINES = 20  # of a task's log


def run(options: argparse.Namespace) -> int:
    """Exit code 0. Raises UsageError when there is no such attempt, or -f with several stages."""
    chosen = read_chosen(options)
    if options.follow and len(chosen.stage_ids) > 1:
        raise UsageError(f"{options.what!r} matches {number_of(len(chosen.stage_ids))}; -f follows one. Name its id.")
    if options.follow and options.attempt is None and not chosen.in_state("done"):
        return _follow_stage(chosen, chosen.stage_ids[0])
    found = _attempts(chosen, options.attempt)
    untried = [stage_id for stage_id in chosen.stage_ids if stage_id not in found]
    if not found and (options.attempt is not None or not _print_tasks(chosen, untried)):
        which = "" if options.attempt is None else f" {options.attempt}"
        raise UsageError(f"no attempt{which} yet at what {options.what!r} matches ({chosen.counted()}).")
    for stage_id, attempt in found.items():
        if len(chosen.stage_ids) > 1:
            print(_heading(chosen.study.plan.label(stage_id), stage_id, attempt))
        stage = chosen.store.stage(stage_id)
        position = _print_attempt(stage, attempt)
        if options.follow:
            position = _follow(stage, attempt.number, position)
        if not position:
            print(_empty(stage, attempt), file=sys.stderr)
    if found and untried:
        print(f"{number_of(len(untried))} without such an attempt.", file=sys.stderr)
    return 0


def _attempts(chosen: Chosen, number: int | None) -> dict[str, Attempt]:
    """The attempt of that number, or the last, of every stage that has it."""
    found: dict[str, Attempt] = {}
    for stage_id in chosen.stage_ids:
        attempts = chosen.store.stage(stage_id).attempts()
        wanted = attempts[-1:] if number is None else [attempt for attempt in attempts if attempt.number == number]
        found.update((stage_id, attempt) for attempt in wanted)
    return found


def _heading(label: str, stage_id: str, attempt: Attempt) -> str:
    return f"== {label} ({stage_id}), attempt {attempt.number}"


def _print_attempt(stage: StoredStage, attempt: Attempt) -> int:
    """Print how an attempt ended and its log so far; returns where the log ended."""
    if attempt.outcome not in (None, "done"):
        print(f"{outcome_named(attempt.outcome).label}: {attempt.message}")
    return _print_from(stage.log_path(attempt.number), 0)


def _print_from(path: Path, position: int) -> int:
    """Print what a log holds from a byte on; returns where it ended. A log that is not there yet is empty."""
    sys.stdout.flush()
    try:
        with path.open("rb") as handle:
            handle.seek(position)
            while block := handle.read(BLOCK):
                sys.stdout.buffer.write(block)
            position = handle.tell()
    except FileNotFoundError:
        pass
    return position


def _empty(stage: StoredStage, attempt: Attempt) -> str:
    """The sentence for an attempt that has logged nothing."""
    if attempt.outcome is None and stage.is_held():
        return f"attempt {attempt.number} is running and has logged nothing yet."
    return f"the log of attempt {attempt.number} is empty ({stage.log_path(attempt.number)})."


# -- tasks of a cluster


def _print_tasks(chosen: Chosen, stage_ids: list[str]) -> bool:
    """Print what is known of stages that were submitted and have no attempt; False where none was submitted."""
    tasks = last_tasks(chosen.store, set(stage_ids))
    for number, (stage_id, task) in enumerate(tasks.items()):
        if number == MOST_STAGES_LISTED:
            print(f"and {len(tasks) - number} more without an attempt.")
            break
        print(f"{chosen.study.plan.label(stage_id)} ({stage_id}) has no attempt yet: {_waiting(chosen, stage_id)}.")
        _print_end(chosen.store.ledger.log_path(task))
    return bool(tasks)


def _print_end(path: Path) -> None:
    """The last lines of a task's log, with its name."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            last = deque(file, maxlen=LAST_LINES)
    except OSError:
        print(f"    its task has logged nothing yet ({path})")
        return
    print(f"    the end of its task's log ({path}):")
    for line in last:
        print(f"    {line.rstrip()}")


def _waiting(chosen: Chosen, stage_id: str) -> str:
    """Where a stage is, in words."""
    activity = chosen.activity
    if stage_id in activity.queued:
        return f"queued, {activity.waits_for(chosen.study.plan, stage_id)}"
    if activity.problem:
        return f"whether it is queued is not known ({activity.problem})"
    return f"{chosen.states[stage_id]}, and its task is not in the queue"


# -- following


def _follow_stage(chosen: Chosen, stage_id: str) -> int:
    """Print the last attempt and those that follow it, until the stage neither runs nor is queued."""
    stage = chosen.store.stage(stage_id)
    seen = 0
    said = ""
    while True:
        last = stage.last_attempt()
        if last is not None and last.number > seen:
            if seen:
                print(_heading(chosen.study.plan.label(stage_id), stage_id, last))
            position = _follow(stage, last.number, _print_attempt(stage, last))
            seen, said = last.number, ""
            if not position:
                print(_empty(stage, last), file=sys.stderr)
            continue
        if not stage.has_record() and stage.is_held():  # an attempt begins or ends just now
            time.sleep(POLL_SECONDS)
            continue
        activity = read_activity(chosen.study.plan, chosen.store)
        if stage_id not in activity.queued:
            break
        reason = activity.waits_for(chosen.study.plan, stage_id)
        if reason != said:
            said = reason
            print(f"queued: {chosen.study.plan.label(stage_id)} ({stage_id}): {reason}", file=sys.stderr, flush=True)
        _wait_for_attempt(stage, seen)
    if not seen and not _print_tasks(chosen, [stage_id]):
        raise UsageError(f"no attempt yet at {stage_id} ({chosen.states[stage_id]}).")
    return 0


def _wait_for_attempt(stage: StoredStage, seen: int) -> None:
    """Wait until there is an attempt after `seen`, or it is time to ask squeue again."""
    until = time.monotonic() + ASK_SECONDS
    while time.monotonic() < until:
        last = stage.last_attempt()
        if (last is not None and last.number > seen) or stage.has_record():
            return
        time.sleep(POLL_SECONDS)


def _follow(stage: StoredStage, number: int, position: int) -> int:
    """Print what is added until the attempt has ended, or its worker is gone; returns where the log ended."""
    look = time.monotonic()  # at who runs it
    while True:
        over = _has_ended(stage, number)  # before the log, so that all that was written before the end is shown
        if not over and time.monotonic() >= look:
            holder = stage.holder()
            over = not is_live(holder)
            look = time.monotonic() + (ASK_SECONDS if holder is not None and "allocation" in holder.owner else 0.0)
        position = _print_from(stage.log_path(number), position)
        sys.stdout.flush()
        if over:
            return position
        time.sleep(POLL_SECONDS)


def _has_ended(stage: StoredStage, number: int) -> bool:
    last = stage.last_attempt()
    return last is None or last.number != number or last.ended is not None
