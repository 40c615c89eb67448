"""`harness grid`: axes to cells to stages, and running what is not done."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from harness.cli.options import options_from_args, repeated
from harness.errors import Problems
from harness.execution.available import RunOptions
from harness.execution.outcome import Outcome
from harness.grids.executors import preview_of, run_problems
from harness.grids.options import read_names
from harness.grids.planned import (
    GridStatus,
    PlannedGrid,
    cancelled_note,
    plan_as_json,
    plan_as_text,
    plan_grid,
    start,
)
from harness.store.store import Store
from harness.wording import MOST_STAGES_LISTED, counted, for_command_line


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 all is done (or planned, with --dry-run), 1 a stage failed or is cancelled, 4 some run elsewhere.

    On a cluster: 0 all that can run is queued, 4 a limit left some of it out.
    Raises UsageError, Interrupted, CannotCheck.
    """
    problems = Problems()
    how = RunOptions(
        executor=options.executor,
        workers=options.workers,
        profile=options.profile,
        max_jobs=options.max_jobs,
        track=read_names("track", options.track and ",".join(options.track), problems),
    )
    store = Store(Path(options.store))
    problems.extend(run_problems(how, store))
    grid = plan_grid(options_from_args(options, problems), store, problems)
    people_plan = options.dry_run and not options.json
    for sentence in (*repeated(options), *grid.notes(every_setting=people_plan)):
        print(f"note: {for_command_line(sentence)}", file=sys.stderr)
    status = grid.status(how)
    if options.dry_run:
        _show_plan(grid, status, how, as_json=options.json)
        return 0
    print(plan_as_text(grid, status, most_listed=0), file=sys.stderr if options.json else sys.stdout)
    outcome = start(grid, status, how)
    if options.json:
        print(json.dumps({"study": grid.study, **asdict(outcome)}))
    else:
        print("\n".join(_outcome_lines(grid, outcome, how.track)))
    if outcome.failed or (outcome.cancelled and how.executor != "slurm"):
        return 1
    return 4 if outcome.elsewhere or outcome.left_out else 0


def _show_plan(grid: PlannedGrid, status: GridStatus, how: RunOptions, *, as_json: bool) -> None:
    """What would run and, on a cluster, what would be submitted."""
    submission = preview_of(grid.plan, grid.store, how)
    if as_json:
        more = {} if submission is None else {"submission": submission.as_json()}
        print(json.dumps({**plan_as_json(grid, status), **more}, indent=1))
    else:
        print(plan_as_text(grid, status, most_listed=MOST_STAGES_LISTED))
        if submission is not None:
            print(f"\n{submission.as_text()}")
    for sentence in status.missing:
        print(f"warning: {for_command_line(sentence)}", file=sys.stderr)


def _outcome_lines(grid: PlannedGrid, outcome: Outcome, track: Sequence[str]) -> list[str]:
    """What a run came to, and the next moves: a command to a line, to be copied."""
    done = counted(len(outcome.done), "stage")
    lines = [f"{done} done, {len(outcome.failed)} failed, {len(outcome.blocked)} blocked."]
    if outcome.queued or outcome.left_out:
        lines = [f"{counted(len(outcome.queued), 'stage')} queued or running on the cluster."]
    if outcome.left_out:
        lines.append(f"{len(outcome.left_out)} left out; the same command submits them when there is room.")
    if outcome.elsewhere:
        verb = "runs" if len(outcome.elsewhere) == 1 else "run"
        lines.append(f"{len(outcome.elsewhere)} {verb} in another process; the same command goes on after that.")
    if outcome.cancelled:
        lines.append(cancelled_note(grid, len(outcome.cancelled)))
    if outcome.failed:
        lines.append("The same command tries what failed again.")
    return [*lines, *(f"next: {grid.command(*words)}" for words in _next_verbs(outcome, track))]


def _next_verbs(outcome: Outcome, track: Sequence[str]) -> list[tuple[str, ...]]:
    verbs: list[tuple[str, ...]] = []
    if outcome.failed:
        verbs += [("logs", "failed"), ("status",)]
    if outcome.cancelled:
        verbs.append(("retry", "cancelled"))
    if outcome.elsewhere or outcome.queued:
        verbs.append(("status", "--watch"))
        verbs += [("track", "--to", ",".join(track))] if track else []
    return verbs or [("tables",)]
