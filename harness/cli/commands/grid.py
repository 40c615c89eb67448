"""`harness grid`: axes to cells to stages, and running what is not done."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from harness.execution.outcome import Outcome
from harness.grids.planned import (
    Planned,
    cancelled_note,
    plan_as_json,
    plan_as_text,
    planned_grid,
    start,
    without_effect,
)
from harness.grids.request import asked
from harness.store.store import Store


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 all is done (or planned, with --dry-run), 1 a stage failed or is cancelled, 4 some run elsewhere.

    Raises UsageError, Interrupted.
    """
    planned = planned_grid(asked(options), Store(Path(options.store)))
    for assignment in without_effect(planned):
        print(f"note: --set {assignment} changes nothing in this grid.", file=sys.stderr)
    outlook = planned.outlook()
    if options.dry_run and options.json:
        print(json.dumps(plan_as_json(planned, outlook), indent=1))
    else:
        print(plan_as_text(planned, outlook), file=sys.stderr if options.json else sys.stdout)
    if options.dry_run:
        for sentence in outlook.missing:
            print(f"warning: {sentence}", file=sys.stderr)
        return 0
    outcome = start(planned, outlook, executor=options.executor, workers=options.workers)
    _tell(planned, outcome, as_json=options.json)
    if outcome.failed or outcome.cancelled:
        return 1
    return 4 if outcome.elsewhere else 0


def _tell(planned: Planned, outcome: Outcome, *, as_json: bool) -> None:
    """What a run came to, and the next move."""
    if as_json:
        print(json.dumps({"study": planned.study, **asdict(outcome)}))
        return
    print(f"{len(outcome.done)} stages done, {len(outcome.failed)} failed, {len(outcome.blocked)} blocked.")
    if outcome.elsewhere:
        print(f"{len(outcome.elsewhere)} run in another process; the same command goes on when they are done.")
    elif not outcome.failed and not outcome.cancelled:
        print(f"next: harness tables --store {planned.store.root} --study {planned.study}")
    if outcome.cancelled:
        print(cancelled_note(len(outcome.cancelled)))
