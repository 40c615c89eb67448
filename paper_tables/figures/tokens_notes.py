"""What stands in words under accuracy against pre-training tokens: from which budget on pruning once pays."""

from __future__ import annotations

from collections.abc import Sequence

from paper_tables.claims.budget import BudgetCurve
from paper_tables.numbers.rows import method_title


def budget_notes(curves: Sequence[BudgetCurve]) -> list[str]:
    """Findings by pair of methods, those in the same words together; then what has no difference, or no interval."""
    found: dict[tuple[str, str | None], dict[str, list[str]]] = {}
    for curve in curves:
        words = curve.finding.words
        found.setdefault((curve.method, curve.against), {}).setdefault(words, []).append(_place(curve))
    notes = []
    for (method, against), by_words in found.items():
        beside = f" against {method_title(against)}" if against else ""
        said = [f"{', '.join(places)}: {words}" for words, places in by_words.items()]
        notes.append(f"{method_title(method)}{beside}: {'. '.join(said)}.")
    if conditions := dict.fromkeys(each.condition for curve in curves for each in curve.budgets if each.condition):
        notes.append(f"Differences from what was pruned on the task: conditional on {' or '.join(conditions)}.")
    return [*notes, *_exceptions(curves)]


def _place(curve: BudgetCurve) -> str:
    return f"{curve.model} {100 * curve.sparsity:.4g} %"


def _exceptions(curves: Sequence[BudgetCurve]) -> list[str]:
    """Of curves that are compared: studies without a difference, or without an interval."""
    budgets = [each for curve in curves if curve.is_compared for each in curve.budgets]
    lacking = dict.fromkeys(f"study {each.study} ({each.why_not})" for each in budgets if each.why_not)
    alone = dict.fromkeys(f"study {each.study} ({each.no_interval})" for each in budgets if each.no_interval)
    notes = []
    if lacking:
        notes.append(f"No difference at a setting of {', '.join(lacking)}.")
    if alone:
        notes.append(f"No interval of a difference at a setting of {', '.join(alone)}.")
    return notes
