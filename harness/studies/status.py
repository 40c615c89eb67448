"""The state of a study in its public form: what `harness status` shows and prints as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from harness.progress import StageProgress, read_progress
from harness.store.attempts import Attempt
from harness.store.stage import StoredStage
from harness.store.store import Store
from harness.studies.state import read_states
from harness.studies.study import Study
from harness.studies.verification import verified_records


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
