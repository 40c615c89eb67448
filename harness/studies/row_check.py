"""Whether the seeds of a row were made alike: cells that differ in nothing but seeds, and their stages in more.

They do where a grid was added to a study after data, code or another package's method had changed: a mean over them is
of different things.
"""

from __future__ import annotations

from collections import defaultdict

from harness.planning.difference import MOST_NAMED, Comparison, Difference, described
from harness.planning.graph import Plan
from harness.specs import Cell
from harness.wording import counted


def mixed_rows(plan: Plan) -> list[str]:
    """A sentence for every method and difference that rows of it mix."""
    rows: dict[tuple[object, ...], list[Cell]] = defaultdict(list)
    for cell in plan.paths:
        rows[cell.model, cell.method, cell.sparsity, cell.task, cell.quantization].append(cell)
    comparison = Comparison(plan, plan, counts=lambda each: not each.is_of_a_seed)
    mixed: dict[tuple[str, str], list[str]] = defaultdict(list)
    for first, *others in rows.values():
        unlike = [cell for cell in others if plan.alike(plan.endpoint(cell)) != plan.alike(plan.endpoint(first))]
        found = {
            repr(each): each
            for cell in unlike
            for each in comparison.differences(plan.endpoint(first), plan.endpoint(cell))
            if not _follows_the_seed(each, first, cell)
        }
        if found:
            title = f"{first.model}{f' {first.sparsity:g}' if first.sparsity else ''} {first.task} {first.quantization}"
            mixed[first.method, ", ".join(described(found.values()))].append(title)
    return [
        f"{method}: the seeds of {counted(len(titles), 'row')} ({_listed(titles)}) were not made alike; they differ in "
        f"{differing}."
        for (method, differing), titles in mixed.items()
    ]


def _follows_the_seed(found: Difference, first: Cell, cell: Cell) -> bool:
    """Whether a setting is the cell's seed under another name."""
    seeds = (first.seed, cell.seed), (first.pruning_seed, cell.pruning_seed)
    return found.what == "setting" and (found.one, found.other) in seeds


def _listed(texts: list[str]) -> str:
    more = len(texts) - MOST_NAMED
    return ", ".join([*texts[:MOST_NAMED], *([f"and {more} more"] if more > 0 else [])])
