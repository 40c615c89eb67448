"""The page beside accuracy against pre-training tokens, in Markdown: a grid for each curve, and what it says."""

from __future__ import annotations

from collections.abc import Sequence

from paper_tables.claims.budget import Budget, BudgetCurve
from paper_tables.numbers.rows import method_title
from paper_tables.statistics.intervals import LEVEL
from paper_tables.tables.formats.markdown import grid_to_markdown, remarks_to_markdown, sentence
from paper_tables.tables.grid import Grid, GridCell
from paper_tables.tables.words import (
    NOT_IN_STUDY,
    escaped,
    interval_text,
    printable,
    shortened,
    signed,
    two_decimals,
)

_HEADER = ("tokens", "study", "% of dense", "difference", "95 % interval", "n")
HOW = (
    "tokens: seen by the pruning in pre-training. % of dense: score relative to the dense model of the same study, "
    "mean over tasks. difference: from what was pruned on the task in the same study, in points, paired by transfer "
    f"seed, mean over tasks. interval: {LEVEL:.0%}, Student's t, from three seeds on; each alone, without correction. "
    "n: seeds of the difference."
)


def budget_page(curves: Sequence[BudgetCurve]) -> str:
    """curves: at least one."""
    parts = [f"## {_heading(curve)}\n\n{grid_to_markdown(_grid(curve))}\n{_said(curve)}" for curve in curves]
    return "\n".join([*parts, remarks_to_markdown((), [HOW])])


def _heading(curve: BudgetCurve) -> str:
    beside = f" against {method_title(curve.against)}" if curve.against else ""
    words = f"{curve.model}, {100 * curve.sparsity:.6g} % zeros: {method_title(curve.method)}{beside}"
    return escaped(printable(words))


def _grid(curve: BudgetCurve) -> Grid:
    return Grid("", _HEADER, tuple(map(_line, curve.budgets)))


def _line(budget: Budget) -> tuple[GridCell, ...]:
    found = budget.difference
    texts = (
        f"{budget.tokens:,.0f}",
        shortened(printable(budget.study)),
        two_decimals(budget.value),
        NOT_IN_STUDY if found is None else signed(found.mean),
        NOT_IN_STUDY if found is None or found.interval is None else interval_text(found.interval),
        NOT_IN_STUDY if found is None else str(found.n),
    )
    return tuple(map(GridCell, texts))


def _said(curve: BudgetCurve) -> str:
    """The finding, then what its intervals are conditional on, and what is not there, as a list."""
    words = curve.finding.words
    lines = []
    if conditions := dict.fromkeys(each.condition for each in curve.budgets if each.condition):
        lines.append(f"intervals are conditional on {' or '.join(conditions)}")
    for each in curve.budgets:
        if each.why_not and each.why_not != words:
            lines.append(f"{sentence(each.study)}: no difference, {sentence(each.why_not)}")
        if each.no_interval:
            lines.append(f"{sentence(each.study)}: no interval, {sentence(each.no_interval)}")
    tasks = [", ".join(each.tasks) for each in curve.budgets]
    of_each = [f"{sentence(each.study)}: {found}" for each, found in zip(curve.budgets, tasks, strict=True)]
    lines.append(f"tasks: {tasks[0] if len(set(tasks)) == 1 else '; '.join(of_each)}")
    listed = "\n".join(f"- {line}" for line in lines)
    return f"**{sentence(words[0].upper() + words[1:])}.**\n\n{listed}\n"
