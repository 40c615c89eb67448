"""What stands in words under accuracy against pre-training tokens: from which budget on pruning once pays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from paper_tables.claims.budget import BudgetCurve
from paper_tables.numbers.rows import method_title

Value = TypeVar("Value")


def budget_notes(curves: Sequence[BudgetCurve]) -> list[str]:
    """Findings of each pair of methods, the same of several together; then what has no difference, or no interval."""
    pairs: dict[str, list[BudgetCurve]] = {}
    for curve in curves:
        pairs.setdefault(_pair(curve), []).append(curve)
    notes = [
        f"{', '.join(names)}: {said}." for said, names in _grouped((_said(of), name) for name, of in pairs.items())
    ]
    if conditions := dict.fromkeys(each.condition for curve in curves for each in curve.budgets if each.condition):
        notes.append(f"Differences from what was pruned on the task: conditional on {' or '.join(conditions)}.")
    return [*notes, *_exceptions(curves)]


def _pair(curve: BudgetCurve) -> str:
    beside = f" against {method_title(curve.against)}" if curve.against else ""
    return f"{method_title(curve.method)}{beside}"


def _said(curves: Sequence[BudgetCurve]) -> str:
    """Of one pair: models with their sparsities, and what was found there."""
    found = _grouped((curve.finding.words, curve) for curve in curves)
    return ". ".join(f"{_places(of)}: {words}" for words, of in found)


def _places(curves: Iterable[BudgetCurve]) -> str:
    """tiny 85, 90 %; wide 90 %"""
    models = _grouped((curve.model, f"{100 * curve.sparsity:.4g}") for curve in curves)
    return "; ".join(f"{model} {', '.join(sparsities)} %" for model, sparsities in models)


def _exceptions(curves: Sequence[BudgetCurve]) -> list[str]:
    """Of curves that are compared: studies without a difference, or without an interval."""
    budgets = [each for curve in curves if curve.is_compared for each in curve.budgets]
    why_not = [(each.why_not, each.study) for each in budgets if each.why_not]
    no_interval = [(each.no_interval, each.study) for each in budgets if each.no_interval]
    return [
        f"{what} at a setting of study {', '.join(dict.fromkeys(studies))}: {reason}."
        for what, found in (("No difference", why_not), ("No interval of a difference", no_interval))
        for reason, studies in _grouped(found)
    ]


def _grouped(pairs: Iterable[tuple[str, Value]]) -> list[tuple[str, list[Value]]]:
    """Values by key, in the order in which keys come."""
    found: dict[str, list[Value]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return list(found.items())
