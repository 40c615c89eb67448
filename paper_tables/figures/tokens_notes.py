"""What stands in words under accuracy against pre-training tokens: from which budget on pruning once pays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from paper_tables.claims.budget import BudgetCurve, Finding, tokens_text
from paper_tables.numbers.rows import method_title

Value = TypeVar("Value")

MOST_IN_FULL = 4  # findings of one pair of methods
INTERVALS = "Which intervals exclude zero is on the page of numbers"


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
    """Of one pair: models with their sparsities, and what was found there; in short where that is much."""
    found = _grouped((curve.finding.words, curve) for curve in curves)
    if len(found) <= MOST_IN_FULL:
        return ". ".join(f"{_places(of)}: {words}" for words, of in found)
    short = sorted(_grouped((_in_short(curve.finding), curve) for curve in curves), key=lambda each: each[0])
    return f"{'. '.join(f'{words}: {_places(of)}' for words, of in short)}. {INTERVALS}"


def _in_short(finding: Finding) -> str:
    match finding.kind, finding.tokens:
        case "shown", float(tokens):
            return f"pays from {tokens_text(tokens)} on"
        case "crossing", float(tokens):
            return f"mean difference crosses zero at about {tokens_text(tokens, 1)}, interpolated"
        case "not within", _:
            return "not shown to pay within the budgets tried"
    return finding.words


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
