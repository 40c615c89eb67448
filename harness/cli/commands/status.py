"""`harness status`: the states of a study's stages and cells."""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from time import sleep
from typing import Any

from harness.store.processes import this_process
from harness.store.squeue import has_squeue
from harness.store.store import Store
from harness.studies.hours import hours_text, read_hours
from harness.studies.state_table import state_table
from harness.studies.status import Status, failure_class, first_line, read_status
from harness.studies.study import only_study, read_study
from harness.wording import MOST_STAGES_LISTED, counted

WATCH_SECONDS = 2.0
CLUSTER_WATCH_SECONDS = 30.0  # squeue is everybody's


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 every cell is done, 1 a stage failed, 4 some cells are not done (a stage is cancelled, perhaps).

    --watch repeats it until no stage is running or queued, as far as squeue tells.
    """
    store = Store(Path(options.store))
    name = options.study or only_study(store)
    while True:
        found = read_status(store, read_study(store, name, checked=False))
        hours = read_hours(found.study.plan, store, found.activity.running) if options.hours else None
        if options.json:
            _print_json({**found.as_json(), **({} if hours is None else {"hours": hours.as_json()})})
        else:
            print(status_text(found))
            if hours is not None:
                print(f"\n{hours_text(hours)}")
            sys.stdout.flush()
        if not options.watch or not _goes_on(found):
            break
        sleep(CLUSTER_WATCH_SECONDS if store.ledger.uuids() else WATCH_SECONDS)
        print()
    if found.in_state("failed"):
        return 1
    return 0 if found.is_done else 4


def _goes_on(found: Status) -> bool:
    return found.is_active or (bool(found.activity.problem) and has_squeue())  # silent: it may have some queued


def _print_json(found: Mapping[str, Any]) -> None:
    """An object, with an element of a long list to a line: of 10,000 cells it is printed in a third of the time."""
    members = []
    for name, value in found.items():
        text = json.dumps(value)
        if isinstance(value, list) and value:
            text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        members.append(f" {json.dumps(name)}: {text}")
    print("{\n" + ",\n".join(members) + "\n}", flush=True)


def status_text(found: Status) -> str:
    """A status for people; long lists are cut."""
    total, done = len(found.cells), found.cell_counts.get("done", 0)
    lines = [f"study {found.study.name}: {done} of {counted(total, 'cell')} done"]
    lines.append(state_table(found.study.plan, found.states))
    lines.append("cells: " + ", ".join(f"{count} {state}" for state, count in found.cell_counts.items()))
    if found.activity.problem:
        lines.append(f"queue: unknown ({found.activity.problem})")
    lines += _cut([[_running(found, stage_id)] for stage_id in found.in_state("running")], "running")
    lines += _cut(_queued(found), "reasons to wait")
    for word in ("failed", "cancelled"):
        stages = [stage_id for stage_id in found.in_state(word) if stage_id in found.last]
        lines += _cut([_ended(found, word, stage_id) for stage_id in stages], word)
    lines += _left_queue(found)
    lines += _cut(_blocked(found), "stages that cells are blocked by")
    return "\n".join(lines)


def _cut(entries: Sequence[Sequence[str]], what: str) -> list[str]:
    """The lines of the first entries, and how many there are more."""
    more = len(entries) - MOST_STAGES_LISTED
    lines = [line for entry in entries[:MOST_STAGES_LISTED] for line in entry]
    return [*lines, f"and {more} more {what} (--json has all)"] if more > 0 else lines


def _running(found: Status, stage_id: str) -> str:
    place = found.activity.running[stage_id]
    elsewhere = place.task or place.reason != f"on {this_process()['host']}"
    where = (f" {place.reason}" if elsewhere else "") + (f" for {place.user}" if place.user else "")
    progress = found.progress.get(stage_id)
    return f"running: {found.label(stage_id)} ({stage_id}){where}" + (f": {progress}" if progress else "")


def _queued(found: Status) -> list[list[str]]:
    """A line for each reason and user, the most common first."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for stage_id in found.in_state("queued"):
        groups[found.why_queued(stage_id), found.activity.queued[stage_id].user].append(stage_id)
    lines = []
    for (reason, user), stages in sorted(groups.items(), key=lambda group: -len(group[1])):
        what = f"{found.label(stages[0])} ({stages[0]})" if len(stages) == 1 else counted(len(stages), "stage")
        lines.append([f"queued: {what}{f' of {user}' if user else ''}: {reason}"])
    return lines


def _ended(found: Status, word: str, stage_id: str) -> list[str]:
    attempt = found.last[stage_id]
    kind = failure_class(attempt)
    named = word if kind == word else f"{word} ({kind})"
    return [
        f"{named}: {found.label(stage_id)} ({stage_id}): {first_line(attempt.message)}",
        f"        log: {found.log(stage_id)}",
    ]


def _left_queue(found: Status) -> list[str]:
    lines = [
        [
            f"    {found.label(i)} ({i}): {left.last_line() or 'its task has logged nothing'}",
            f"        log: {left.log}",
        ]
        for i, left in islice(found.left_queue.items(), MOST_STAGES_LISTED)
    ]
    more = len(found.left_queue) - len(lines)
    listed = [line for entry in lines for line in entry]
    ending = [f"and {more} more that left the queue (--json has all)"] if more else []
    return ["left the queue without a result; harness grid queues them again:", *listed, *ending] if lines else []


def _blocked(found: Status) -> list[list[str]]:
    counts: dict[str, int] = defaultdict(int)
    for cell in found.cells:
        if cell.state == "blocked":
            counts[cell.stage] += 1
    most = sorted(counts.items(), key=lambda count: -count[1])
    return [[f"blocked: {counted(count, 'cell')} by {found.label(i)} ({i})"] for i, count in most]
