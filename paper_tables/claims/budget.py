"""Budget: what pruning once brings over pruning on the task, by the tokens that its pruning in pre-training has seen.

A study has one budget of tokens, so that several studies make a curve. Each of its differences is the one that a claim
makes (`differences`): on equal terms, paired by transfer seed, in points, the mean over the tasks. A finding says from
which budget on pruning once pays, or where the means cross zero, or that neither is within the budgets tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from paper_tables.claims.comparison import NO_RESULT, Comparison, compare, means_by_seed, no_test
from paper_tables.claims.side import Side, paired_rows
from paper_tables.numbers.metrics import is_primary
from paper_tables.numbers.study_numbers import StudyNumbers
from paper_tables.numbers.terms import differing_terms
from paper_tables.statistics.paired import Difference, difference_of

NO_PARTNER = "nothing at this sparsity was pruned on the task"
NO_SHARED_TASK = "the budgets do not compare, for their studies have different tasks"
_UNITS = ((1e9, 1e9, "billion"), (1e5, 1e6, "million"))  # from so many on, in so many

FindingKind = Literal["shown", "crossing", "not within", "not compared"]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """One study's result. tokens: seen by its pruning in pre-training. value: of `tasks`, relative to dense, percent.

    difference: from the method that prunes on the task, in points; None: `why_not` says why. by_seed: the same by
    transfer seed. condition: what its interval is conditional on. no_interval: why there is none; empty: there is one.
    """

    study: str
    tokens: float
    value: float
    n: int
    tasks: tuple[str, ...]
    difference: Difference | None = None
    by_seed: Mapping[int, float] = field(default_factory=dict)
    condition: str | None = None
    why_not: str = ""
    no_interval: str = ""
    stage_ids: tuple[str, ...] = ()

    @property
    def side(self) -> str:
        """Of zero, where the whole interval is on one: "above" or "below"; else nothing."""
        if self.difference is None or not self.difference.is_shown:
            return ""
        return "above" if self.difference.mean > 0 else "below"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """words: what is found, to be put behind the name of what it is of.

    tokens: of "shown" the smallest budget from which on every difference is above zero and its interval excludes zero;
    of "crossing" where the line through the two means `between` crosses zero, linear in the logarithm of tokens.
    """

    kind: FindingKind
    words: str
    tokens: float | None = None
    between: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class BudgetCurve:
    """One method's budgets in fp32, by tokens. against: the method that prunes on the task; None: there is none."""

    model: str
    sparsity: float
    method: str
    against: str | None
    budgets: tuple[Budget, ...]
    finding: Finding

    @property
    def is_compared(self) -> bool:
        return self.finding.kind != "not compared"


def budget_curve(
    model: str, sparsity: float, method: str, against: str | None, budgets: Iterable[Budget]
) -> BudgetCurve:
    """budgets: in any order, at least one."""
    ordered = tuple(sorted(budgets, key=lambda each: (each.tokens, each.study)))
    return BudgetCurve(
        model=model, sparsity=sparsity, method=method, against=against, budgets=ordered, finding=finding(ordered)
    )


def compared(numbers: StudyNumbers, budget: Budget, one: Side, other: Side) -> Budget:
    """The budget with the difference of the rows that the two sides choose, on all of its tasks.

    Without one where a task has no such pair, where a pair is not on equal terms, and where they share no seed on all
    tasks.
    """
    comparisons = [
        compare(ours, theirs, 0.0, differing_terms(numbers.study, ours, theirs), None)
        for ours, theirs in paired_rows(numbers.rows, one, other)
        if ours.task in budget.tasks and is_primary(ours.task, ours.metric)
    ]
    if why_not := _why_not(comparisons, budget.tasks):
        return replace(budget, why_not=why_not)
    by_seed = means_by_seed(comparisons)
    if not by_seed:
        return replace(budget, why_not=NO_RESULT)
    found = difference_of(list(by_seed.values()))
    return replace(
        budget,
        difference=found,
        by_seed=by_seed,
        condition=next((each.condition for each in comparisons if each.condition), None),
        no_interval="" if found.interval else no_test(found.n),
        stage_ids=tuple(dict.fromkeys(stage_id for each in comparisons for stage_id in each.stage_ids)),
    )


def _why_not(comparisons: Sequence[Comparison], tasks: Sequence[str]) -> str:
    """Empty where every task has a pair on equal terms."""
    if not comparisons:
        return NO_PARTNER
    if apart := sorted({name for each in comparisons for name in each.apart}):
        return f"not on equal terms ({', '.join(apart)})"
    if lacking := [task for task in tasks if task not in {each.task for each in comparisons}]:
        return f"nothing to compare with on {', '.join(lacking)}"
    return ""


def finding(budgets: Sequence[Budget]) -> Finding:
    """budgets: by tokens, at least one. Those without a difference take no part."""
    tried = [each for each in budgets if each.difference is not None]
    if not tried:
        return Finding(kind="not compared", words="; ".join(dict.fromkeys(each.why_not for each in budgets)))
    if len({frozenset(each.tasks) for each in budgets}) > 1:
        return Finding(kind="not compared", words=NO_SHARED_TASK)
    from_here = _shown_from(tried)
    if from_here < len(tried):
        return _shown(tried, from_here)
    means = [_mean(each) for each in tried]
    if means[-1] > 0 and min(means) <= 0:
        return _crossing(tried, max(n for n, mean in enumerate(means) if mean <= 0))
    return _not_within(tried)


def _shown_from(tried: Sequence[Budget]) -> int:
    """The first from which on all are shown above zero; their number where the last is not."""
    not_shown = [number for number, each in enumerate(tried) if each.side != "above"]
    return max(not_shown, default=-1) + 1


def _shown(tried: Sequence[Budget], first: int) -> Finding:
    tokens = tried[first].tokens
    if len(tried) == 1:
        words = f"pays at {tokens_text(tokens)}, the one budget tried: its interval is above zero"
    elif first == len(tried) - 1:
        words = f"pays at {tokens_text(tokens)}, the largest budget tried: its interval is above zero"
    else:
        smallest = ", the smallest budget tried" if first == 0 else ""
        words = f"pays from {tokens_text(tokens)} on{smallest}: the intervals there are above zero"
    return Finding(kind="shown", tokens=tokens, words=words)


def _crossing(tried: Sequence[Budget], last_below: int) -> Finding:
    """Between the last mean that is not above zero and the next."""
    before, after = tried[last_below], tried[last_below + 1]
    share = _mean(before) / (_mean(before) - _mean(after))
    tokens = math.exp(math.log(before.tokens) * (1 - share) + math.log(after.tokens) * share)
    signs = [_mean(each) > 0 for each in tried]
    last = ", the last time," if sum(one != two for one, two in pairwise(signs)) > 1 else ""
    return Finding(
        kind="crossing",
        tokens=tokens,
        between=(before.tokens, after.tokens),
        words=f"the mean difference crosses zero{last} at about {tokens_text(tokens, 2)}, interpolated between "
        f"{range_text(before.tokens, after.tokens)}; {_intervals(tried)}",
    )


def _not_within(tried: Sequence[Budget]) -> Finding:
    """All means are above zero, but not shown; or the last is not above."""
    is_above = min(map(_mean, tried)) > 0
    at = "" if len(tried) == 1 else " at every one" if is_above else " at the largest"
    words = f"not shown to pay within the {_tried(tried)}: the mean difference is "
    words += f"{'above' if is_above else 'not above'} zero{at}; {_intervals(tried)}"
    return Finding(kind="not within", words=words)


def _mean(budget: Budget) -> float:
    return budget.difference.mean if budget.difference else math.nan


def _intervals(tried: Sequence[Budget]) -> str:
    """Which intervals exclude zero, on which side."""
    shown = [f"{tokens_text(each.tokens)} ({each.side})" for each in tried if each.side]
    if not shown:
        return "no interval excludes zero"
    return f"{'an interval excludes' if len(shown) == 1 else 'intervals exclude'} zero at {', '.join(shown)}"


def _tried(tried: Sequence[Budget]) -> str:
    low, high = tried[0].tokens, tried[-1].tokens
    if len(tried) == 1:
        return f"one budget tried ({tokens_text(low)})"
    return f"budgets tried ({range_text(low, high, 'to')})"


def tokens_text(tokens: float, digits: int = 3) -> str:
    """0.3 million tokens, 13.1 billion tokens, 1,000 tokens."""
    number, unit = _scaled(tokens, digits)
    return " ".join(filter(None, [number, unit, "tokens"]))


def range_text(low: float, high: float, word: str = "and") -> str:
    """0.3 and 5 million tokens; 1,000 tokens and 0.3 million tokens."""
    (first, unit), (_, same) = _scaled(low, 3), _scaled(high, 3)
    return f"{first if unit == same else tokens_text(low)} {word} {tokens_text(high)}"


def _scaled(tokens: float, digits: int) -> tuple[str, str]:
    for limit, one, unit in _UNITS:
        if tokens >= limit:
            return f"{float(f'{tokens / one:.{digits}g}'):g}", unit
    return f"{float(f'{tokens:.{digits}g}'):,.0f}", ""
