"""Coverage: what of a study ran and what is missing, counted from its records and attempts alone.

Nobody is asked what runs at the moment: the same files give the same page, on a machine that has nothing but them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.planning.graph import Plan
from harness.specs import Cell
from harness.store.attempts import Attempt
from harness.studies.activity import Activity
from harness.studies.cell_state import CellState, cell_states
from harness.studies.state import STATES, plan_states
from harness.studies.verification import Records
from paper_tables.numbers.published import PAPER_COLUMNS

Attempts = Mapping[str, Sequence[Attempt]]


@dataclass(frozen=True)
class Coverage:
    """counts: cells by state, of the states that occur, for each method and task that has cells.

    cells: the state of every cell, in the order of the plan.
    """

    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    counts: Mapping[tuple[str, str], Mapping[str, int]]
    cells: Mapping[Cell, CellState]

    @property
    def total(self) -> Mapping[str, int]:
        """All cells by state."""
        return _by_state(Counter(found.state for found in self.cells.values()))

    @property
    def missing(self) -> list[tuple[Cell, CellState]]:
        return [(cell, found) for cell, found in self.cells.items() if found.state != "done"]


def read_coverage(plan: Plan, records: Records, attempts: Attempts) -> Coverage:
    """records: of the finished stages. attempts: of those that were tried."""
    states = plan_states(plan, records, attempts, Activity())
    cells = cell_states(plan, states)
    counts: dict[tuple[str, str], Counter[str]] = {}
    for cell, found in cells.items():
        counts.setdefault((cell.method, cell.task), Counter())[found.state] += 1
    return Coverage(
        methods=tuple(sorted({cell.method for cell in cells})),
        tasks=tuple(sorted({cell.task for cell in cells}, key=_task_order)),
        counts={place: _by_state(found) for place, found in counts.items()},
        cells=cells,
    )


def _by_state(counts: Counter[str]) -> dict[str, int]:
    return {state: counts[state] for state in STATES if counts[state]}


def _task_order(task: str) -> tuple[int, str]:
    known = [name for name, _ in PAPER_COLUMNS]
    return known.index(task) if task in known else len(known), task
