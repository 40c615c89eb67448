"""`harness cancel`: unfinished stages stop, and do not start again until they are retried."""

from __future__ import annotations

import argparse
import json
import sys

from harness.cli.commands.chosen import number_of, read_chosen, stage_lines, stages_as_json, unfinished_after
from harness.errors import HarnessError, UsageError
from harness.store.cancellation import cancel_stage
from harness.store.scancel import scancel_waiting
from harness.studies.idle_tasks import own_idle_tasks
from harness.studies.lineage import read_lineage
from harness.wording import counted

SENTENCES = {
    "cancelled": "cancelled; not started until harness retry",
    "asked to stop": "running and asked to stop; not started again until harness retry",
    "already cancelled": "cancelled before",
    "done": "done, left as it is",
}


def run(options: argparse.Namespace) -> int:
    """Exit code 0. Raises UsageError when all of the stages named are done, HarnessError when some could not be."""
    chosen = read_chosen(options)
    if len(chosen.in_state("done")) == len(chosen.stage_ids):
        count = len(chosen.stage_ids)
        raise UsageError(f"nothing to cancel: {count} done. harness invalidate removes a result.")
    outcomes: dict[str, list[str]] = {word: [] for word in SENTENCES}
    problems = []
    # Running stages come last: a driver whose stage stops then finds the next ones cancelled already.
    for stage_id in sorted(chosen.stage_ids, key=lambda stage_id: chosen.states[stage_id] == "running"):
        try:
            outcomes[cancel_stage(chosen.store.stage(stage_id))].append(stage_id)
        except HarnessError as error:
            problems.append(str(error))
    lineage = read_lineage(chosen.store)
    stopped = {i for word in ("cancelled", "asked to stop", "already cancelled") for i in outcomes[word]}
    downstream = unfinished_after(chosen.store, lineage, stopped)
    idle = own_idle_tasks(chosen.store, lineage, stopped)
    warnings = scancel_waiting(idle)
    if chosen.activity.problem:
        warnings.append(
            f"{chosen.activity.problem}: a task of these stages may wait in the queue; it will start none of them."
        )
    if options.json:
        fields = {
            "study": chosen.study.name,
            "matched": stages_as_json(lineage.specs, chosen.stage_ids),
            **{word.replace(" ", "_"): stage_ids for word, stage_ids in outcomes.items()},
            "downstream": stages_as_json(lineage.specs, downstream),
            "scancelled": idle,
        }
        print(json.dumps(fields, indent=1))
    else:
        for word, stage_ids in outcomes.items():
            if stage_ids:
                print(f"{number_of(len(stage_ids))} {SENTENCES[word]}:")
                print("\n".join(stage_lines(lineage.specs, stage_ids)))
        if downstream:
            print(f"what cannot run without them ({number_of(len(downstream))}):")
            print("\n".join(stage_lines(lineage.specs, downstream)))
        if idle and not warnings:
            print(f"{counted(len(idle), 'task')} without work left taken out of the cluster's queue.")
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if problems:
        raise HarnessError("\n".join(problems))
    return 0
