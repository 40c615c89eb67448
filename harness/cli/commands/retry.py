"""`harness retry`: makes failed and cancelled stages pending again. Starts nothing itself."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection

from harness.cli.commands.chosen import Chosen, number_of, read_chosen, stage_lines, stages_as_json, unfinished_after
from harness.store.processes import this_process
from harness.studies.activity import read_activity
from harness.studies.lineage import read_lineage

WHY_NOT = {
    "done": "they are done; harness invalidate removes a result",
    "running": "they are running; harness cancel stops them, and they can be retried once they have ended",
    "queued": "they are queued; their task will start them",
    "blocked": "they depend on a stage that failed or is cancelled; retry that one",
    "pending": "harness grid starts them",
}


def run(options: argparse.Namespace) -> int:
    """Exit code 0, also where none of the stages named failed or is cancelled: what was asked for is so already."""
    chosen = read_chosen(options, may_be_none=True)
    again = chosen.in_state("failed", "cancelled")
    lineage = read_lineage(chosen.store)
    downstream = unfinished_after(chosen.store, lineage, again)
    for stage_id in again:
        chosen.store.stage(stage_id).retry(by=this_process())
    now = read_activity(chosen.study.plan, chosen.store, chosen.activity.queue) if again else chosen.activity
    in_tasks = [stage_id for stage_id in again if stage_id in now.queued]
    if options.json:
        fields = {
            "study": chosen.study.name,
            "matched": stages_as_json(lineage.specs, chosen.stage_ids),
            "retried": again,
            "queued": in_tasks,
            "downstream": stages_as_json(lineage.specs, downstream),
        }
        print(json.dumps(fields, indent=1))
        return 0
    if not again:
        print(f"nothing to retry: {_why_not(chosen) or f'no stage matches {options.what!r}'}.")
        return 0
    for stage_ids, where in (
        (in_tasks, "in tasks that are queued on the cluster"),
        ([stage_id for stage_id in again if stage_id not in in_tasks], "with the next harness grid"),
    ):
        if stage_ids:
            print(f"{number_of(len(stage_ids))} will run again {where}:")
            print("\n".join(stage_lines(lineage.specs, stage_ids)))
    if downstream:
        print(f"and the stages that depend on them ({number_of(len(downstream))}):")
        print("\n".join(stage_lines(lineage.specs, downstream)))
    if left := _why_not(chosen, except_for=downstream):
        print(f"left alone: {left}.")
    return 0


def _why_not(chosen: Chosen, except_for: Collection[str] = ()) -> str:
    """Why the chosen stages, except for some, are not retried; by state."""
    found = {state: len(set(chosen.in_state(state)) - set(except_for)) for state in WHY_NOT}
    return "; ".join(f"{count} {state} ({WHY_NOT[state]})" for state, count in found.items() if count)
