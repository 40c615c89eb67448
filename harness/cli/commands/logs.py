"""`harness logs`: the logs of attempts; with -f, as they are written."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from harness.cli.commands.chosen import Chosen, number_of, read_chosen
from harness.errors import UsageError
from harness.store.attempts import Attempt, outcome_named
from harness.store.stage import StoredStage

POLL_SECONDS = 0.5
BLOCK = 1 << 16


def run(options: argparse.Namespace) -> int:
    """Exit code 0. Raises UsageError when there is no such attempt, or -f with several stages."""
    chosen = read_chosen(options)
    if options.follow and len(chosen.stage_ids) > 1:
        raise UsageError(f"{options.what!r} matches {number_of(len(chosen.stage_ids))}; -f follows one. Name its id.")
    found = _attempts(chosen, options.attempt)
    if not found:
        which = "" if options.attempt is None else f" {options.attempt}"
        raise UsageError(f"no attempt{which} yet at what {options.what!r} matches ({chosen.counted()}).")
    for stage_id, attempt in found.items():
        if len(chosen.stage_ids) > 1:
            print(_heading(chosen.study.plan.label(stage_id), stage_id, attempt))
        if attempt.outcome not in (None, "done"):
            print(f"{outcome_named(attempt.outcome).label}: {attempt.message}")
        stage = chosen.store.stage(stage_id)
        position = _print_from(stage.log_path(attempt.number), 0)
        if options.follow:
            position = _follow(stage, attempt.number, position)
        if not position:
            print(_empty(stage, attempt), file=sys.stderr)
    untried = len(chosen.stage_ids) - len(found)
    if untried:
        print(f"{number_of(untried)} without such an attempt.", file=sys.stderr)
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


def _follow(stage: StoredStage, number: int, position: int) -> int:
    """Print what is added until the attempt has ended, or its worker is gone; returns where the log ended."""
    while True:
        over = _is_over(stage, number)  # before the log, so that all that was written before the end is shown
        position = _print_from(stage.log_path(number), position)
        sys.stdout.flush()
        if over:
            return position
        time.sleep(POLL_SECONDS)


def _is_over(stage: StoredStage, number: int) -> bool:
    last = stage.last_attempt()
    ended = last is None or last.number != number or last.ended is not None
    return ended or not stage.is_held()
