"""The states of a study's stages, counted for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from tabulate import tabulate

from harness.planning.graph import Plan
from harness.studies.state import STATES


def state_table(plan: Plan, states: Mapping[str, str]) -> str:
    """Number of stages by kind (rows, in order of first appearance) and state (columns, those that occur)."""
    return count_table((spec.kind, states[stage_id]) for stage_id, spec in plan.stages.items())


def count_table(kinds_and_states: Iterable[tuple[str, str]]) -> str:
    counts = Counter(kinds_and_states)
    shown = [state for state in STATES if any(state == found for _, found in counts)]
    kinds = dict.fromkeys(kind for kind, _ in counts)
    return tabulate(
        [[kind, *(counts[kind, state] or "" for state in shown)] for kind in kinds], headers=["stage", *shown]
    )
