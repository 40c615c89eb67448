"""`harness status`: the states of a study's stages and cells."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.progress import StageProgress, read_progress
from harness.store.attempts import Attempt
from harness.store.stage import StoredStage
from harness.store.store import Store
from harness.studies.state import read_states
from harness.studies.state_table import count_table
from harness.studies.study import Study, only_study, read_study
from harness.studies.verification import verified_records
from harness.wording import counted

WATCH_SECONDS = 2.0


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 every cell is done, 1 a stage failed, 4 some cells are not done (a stage is cancelled, perhaps).

    Raises StoreError for records that cannot be trusted.

    --watch repeats it until no stage is running or queued.
    """
    store = Store(Path(options.store))
    name = options.study or only_study(store)
    while True:
        found = read_status(store, read_study(store, name))
        if options.json:
            print(json.dumps(found, indent=1))
        else:
            print(status_text(found), flush=True)
        if not options.watch or not any(stage["state"] in ("running", "queued") for stage in found["stages"]):
            break
        time.sleep(WATCH_SECONDS)
        print()
    if found["failed"]:
        return 1
    return 0 if found["cells"]["done"] == found["cells"]["total"] else 4


def read_status(store: Store, study: Study) -> dict[str, Any]:
    """The public form of a study's state: cells done, every stage's state, and more of some.

    Of running stages, how far they are; of failed and of cancelled ones, why and where their log is.
    """
    plan = study.plan
    verified_records(plan, store)
    states = read_states(plan, store)
    looked_at = ("running", "failed", "cancelled")
    last = {i: store.stage(i).last_attempt() for i, state in states.items() if state in looked_at}

    def ended(as_what: str) -> list[dict[str, Any]]:
        return [
            {"id": i, "message": attempt.message, "log": str(store.stage(i).log_path(attempt.number))}
            for i, state in states.items()
            if state == as_what
            for attempt in [last[i]]
            if attempt is not None
        ]

    running = [
        {"id": i, "progress": asdict(progress) if progress else None}
        for i, state in states.items()
        if state == "running"
        for progress in [_progress(store.stage(i), last[i])]
    ]
    return {
        "study": study.name,
        "preset": study.recipe["preset"],
        "cells": {
            "total": len(plan.paths),
            "done": sum(states[plan.endpoint(cell)] == "done" for cell in plan.paths),
        },
        "stages": [
            {"id": i, "kind": plan.stages[i].kind, "state": state, "label": plan.label(i)}
            for i, state in states.items()
        ],
        "running": running,
        "failed": ended("failed"),
        "cancelled": ended("cancelled"),
    }


def _progress(stage: StoredStage, last: Attempt | None) -> StageProgress | None:
    return None if last is None else read_progress(stage.progress_path(last.number))


def status_text(found: Mapping[str, Any]) -> str:
    """`read_status` for people."""
    labels = {stage["id"]: stage["label"] for stage in found["stages"]}
    cells = found["cells"]
    lines = [f"study {found['study']}: {cells['done']} of {counted(cells['total'], 'cell')} done"]
    lines.append(count_table((stage["kind"], stage["state"]) for stage in found["stages"]))
    for stage in found["running"]:
        progress = f": {StageProgress(**stage['progress'])}" if stage["progress"] else ""
        lines.append(f"running: {labels[stage['id']]} ({stage['id']}){progress}")
    for word in ("failed", "cancelled"):
        for stage in found[word]:
            lines.append(f"{word}: {labels[stage['id']]} ({stage['id']}): {stage['message']}")
            lines.append(f"        log: {stage['log']}")
    return "\n".join(lines)
