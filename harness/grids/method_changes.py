"""Whether another package's method is still what the cells of a study were planned with.

A package may change under the same version. Its cells in the study are planned again: where their stages come out
otherwise, the old results and the new ones would stand in one row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress

from harness.errors import UsageError
from harness.grids.request import Request
from harness.planning.difference import Comparison, Difference, described
from harness.planning.graph import Plan
from harness.planning.planner import plan_cells
from harness.specs import Cell
from harness.store.store import Store
from harness.studies.study import read_study
from harness.wording import counted, option


def check_methods(store: Store, study: str, request: Request, plan: Plan) -> None:
    """Raises UsageError for every method of another package that gives cells of the study other stages than they have.

    Other data, models and code versions are no change of a method. A cell that cannot be planned now, for want of its
    model or data, is not compared.
    """
    theirs = {name for name, facts in plan.methods.items() if not facts.is_built_in}
    if not theirs or not store.study_path(study).is_file():
        return
    older = read_study(store, study, plan).plan
    found: dict[str, list[Difference]] = defaultdict(list)
    cells: dict[str, int] = defaultdict(int)
    now = _planned_again(request, [cell for cell in older.paths if cell.method in theirs])
    comparison = Comparison(older, now, counts=lambda each: each.what in ("setting", "stages"))
    for cell in now.paths:
        if differences := comparison.differences(older.endpoint(cell), now.endpoint(cell)):
            found[cell.method] += differences
            cells[cell.method] += 1
    if found:
        raise UsageError(
            [
                f"study {study!r}: method {name!r} of package {older.methods[name].package} "
                f"{older.methods[name].version or '(no version)'} has changed: "
                f"{counted(cells[name], 'cell')} of the study would have other stages, which differ "
                f"in {', '.join(described(differences))}, then and now. Give this grid its own name: "
                f"{option('study')} NAME."
                for name, differences in found.items()
            ]
        )


def _planned_again(request: Request, cells: Sequence[Cell]) -> Plan:
    """The cells as they would be planned now, less those that cannot be."""
    recipe, inputs, methods = request.preset.recipe, request.inputs, request.grid.methods
    try:
        return plan_cells(cells, recipe, inputs, methods)
    except (UsageError, KeyError):
        again = Plan()
        for cell in cells:
            with suppress(UsageError, KeyError):
                one = plan_cells([cell], recipe, inputs, methods)
                again.stages.update(one.stages)
                again.paths.update(one.paths)
        return again
