"""The stages of a study that a verb's WHAT names, read from the store, as text and as JSON."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.identity import is_stage_id
from harness.specs import StageSpec, stage_label
from harness.store.store import Store
from harness.studies.activity import Activity, read_activity
from harness.studies.lineage import Lineage, read_studies
from harness.studies.selection import NothingMatches, select
from harness.studies.state import read_states
from harness.studies.study import Study, only_study, read_study
from harness.wording import MOST_STAGES_LISTED, counted


@dataclass(frozen=True)
class Chosen:
    """activity, states: of every stage of the study. stage_ids: parents first."""

    store: Store
    study: Study
    activity: Activity
    states: Mapping[str, str]
    stage_ids: list[str]

    def in_state(self, *states: str) -> list[str]:
        return [stage_id for stage_id in self.stage_ids if self.states[stage_id] in states]

    def counted(self) -> str:
        """The chosen stages by state: "3 done, 1 failed"."""
        return ", ".join(
            f"{n} {state}" for state, n in Counter(self.states[stage_id] for stage_id in self.stage_ids).items()
        )


def read_chosen(options: argparse.Namespace, *, may_be_none: bool = False) -> Chosen:
    """Raises UsageError when there is no such study, or WHAT names nothing.

    may_be_none: known words that no stage matches choose none; otherwise that is an error too.
    """
    store = Store(Path(options.store))
    study = read_named_study(store, options)
    activity = read_activity(study.plan, store)
    states = read_states(study.plan, store, activity)
    try:
        stage_ids = select(study.plan, states, options.what)
    except NothingMatches:
        if not may_be_none:
            raise
        stage_ids = []
    return Chosen(store, study, activity, states, stage_ids)


def read_named_study(store: Store, options: argparse.Namespace) -> Study:
    """The study named, or the store's one. A stage's id in full needs neither: the first study that has it serves."""
    if not options.study and is_stage_id(options.what):
        for study in read_studies(store):
            if options.what in study.plan.stages:
                return study
    return read_study(store, options.study or only_study(store))


def unfinished_after(store: Store, lineage: Lineage, roots: Collection[str]) -> list[str]:
    """The unfinished stages that depend on `roots` in any study; parents first."""
    downstream = [stage_id for stage_id in lineage.with_descendants(roots) if stage_id not in roots]
    finished = store.finished(downstream)
    return [stage_id for stage_id in downstream if stage_id not in finished]


def stage_lines(specs: Mapping[str, StageSpec], stage_ids: Iterable[str]) -> list[str]:
    """One indented line a stage; of a long list the first ones and how many there are more."""
    lines = [f"    {stage_label(specs[stage_id], specs)} ({stage_id})" for stage_id in stage_ids]
    more = len(lines) - MOST_STAGES_LISTED
    return lines if more <= 0 else [*lines[:MOST_STAGES_LISTED], f"    and {more} more (--json lists all)"]


def stages_as_json(specs: Mapping[str, StageSpec], stage_ids: Iterable[str]) -> list[dict[str, Any]]:
    return [{"id": i, "kind": specs[i].kind, "label": stage_label(specs[i], specs)} for i in stage_ids]


def number_of(count: int) -> str:
    return counted(count, "stage")
