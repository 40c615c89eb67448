"""`harness retry`: failed and cancelled stages wait to be started again. Starts nothing itself."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Collection

from harness.cli.commands.chosen import Chosen, number_of, read_chosen, stage_lines, stages_as_json, unfinished_after
from harness.errors import UsageError
from harness.store.processes import this_process
from harness.studies.lineage import read_lineage
from harness.studies.selection import CANCELLED

WHY_NOT = {
    "done": "they are done; harness invalidate takes a result back",
    "running": "they are running; harness cancel stops them, and they can be retried once they have ended",
    "queued": "they are queued already",
    "blocked": "they rest on a stage that failed; retry that one",
    "missing": "they wait to be started; harness grid does",
}


def run(options: argparse.Namespace) -> int:
    """Exit code 0. Raises UsageError when none of the stages named failed or was cancelled."""
    chosen = read_chosen(options)
    again = chosen.in_state("failed", CANCELLED)
    if not again:
        raise UsageError(f"nothing to retry: {_why_not(chosen)}.")
    lineage = read_lineage(chosen.store)
    resting = unfinished_after(chosen.store, lineage, again)
    for stage_id in again:
        last = chosen.store.attempts(stage_id)[-1]
        chosen.store.retry_attempt(stage_id, last.number, {"time": time.time(), "by": this_process()})
    if options.json:
        told = {"study": chosen.study.name, "matched": stages_as_json(lineage.specs, chosen.stage_ids)}
        print(json.dumps({**told, "retried": again, "resting": stages_as_json(lineage.specs, resting)}, indent=1))
        return 0
    print(f"{number_of(len(again))} will run again with the next harness grid:")
    print("\n".join(stage_lines(lineage.specs, again)))
    if resting:
        print(f"with what rests on them ({number_of(len(resting))}):")
        print("\n".join(stage_lines(lineage.specs, resting)))
    if left := _why_not(chosen, told=resting):
        print(f"left alone: {left}.")
    return 0


def _why_not(chosen: Chosen, told: Collection[str] = ()) -> str:
    """Why the stages chosen, less those told of already, are not retried; by state."""
    found = {state: len(set(chosen.in_state(state)) - set(told)) for state in WHY_NOT}
    return "; ".join(f"{count} {state} ({WHY_NOT[state]})" for state, count in found.items() if count)
