"""`harness status`: the states of a study's stages and cells."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tabulate import tabulate

from harness.plan import Plan
from harness.processes import local_snapshot
from harness.state import STATES, read_states
from harness.store import Store
from harness.study import only_study, read_study
from harness.verification import verified_records


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 every cell is done, 1 a stage failed, 4 cells are missing. Raises StoreError for bad records."""
    store = Store(Path(options.store))
    study = read_study(store, options.study or only_study(store))
    plan = study.plan
    verified_records(plan, store)
    states = read_states(plan, store, local_snapshot(plan, store))
    cells_done = sum(states[plan.endpoint(cell)] == "done" for cell in plan.paths)
    failed = [stage_id for stage_id, state in states.items() if state == "failed"]
    messages = {stage_id: store.attempts(stage_id)[-1].message for stage_id in failed}
    logs = {stage_id: str(store.attempt_log(stage_id, store.attempts(stage_id)[-1].number)) for stage_id in failed}
    if options.json:
        print(
            json.dumps(
                {
                    "study": study.name,
                    "preset": study.recipe["preset"],
                    "cells": {"total": len(plan.paths), "done": cells_done},
                    "stages": [
                        {
                            "id": stage_id,
                            "kind": plan.stages[stage_id].kind,
                            "state": state,
                            "label": plan.stages[stage_id].label(),
                        }
                        for stage_id, state in states.items()
                    ],
                    "failed": [{"id": i, "message": messages[i], "log": logs[i]} for i in failed],
                },
                indent=1,
            )
        )
    else:
        print(f"study {study.name}: {cells_done} of {len(plan.paths)} cells done")
        print(state_table(plan, states))
        for stage_id, state in states.items():
            if state == "running":
                print(f"running: {plan.stages[stage_id].label()} ({stage_id})")
        for stage_id in failed:
            print(f"failed: {plan.stages[stage_id].label()} ({stage_id}): {messages[stage_id]}")
            print(f"        log: {logs[stage_id]}")
    if failed:
        return 1
    return 0 if cells_done == len(plan.paths) else 4


def state_table(plan: Plan, states: Mapping[str, str]) -> str:
    """Number of stages by kind (rows, in order of first appearance) and state (columns, those that occur)."""
    counts = Counter((spec.kind, states[stage_id]) for stage_id, spec in plan.stages.items())
    shown = [state for state in STATES if any(state == found for _, found in counts)]
    rows = [[kind, *(counts[kind, state] or "" for state in shown)] for kind in plan.counts()]
    return tabulate(rows, headers=["stage", *shown])
