"""Best: which method leads a block, where its lead is more than its seeds' noise.

A block is the sparse fp32 rows of one model and sparsity. Only methods that were fine-tuned on equal terms are
compared, paired by transfer seed. All pairs of a block count as its comparisons, for which seems best is chosen by
looking.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from harness.studies.study import Study
from paper_tables.numbers.pairs import conditional, row_difference
from paper_tables.numbers.rows import Row, method_title
from paper_tables.numbers.terms import differing_terms, on_equal_terms
from paper_tables.statistics.correction import holm_by_key
from paper_tables.statistics.intervals import FEWEST_FOR_INTERVAL, LEVEL
from paper_tables.statistics.paired import Difference
from paper_tables.tables.words import column_title, interval_text, printable, sparsity_texts, two_decimals

HOW = (
    f"Best: named where its lead over every other method of its block (model and sparsity, 32 bits, equal terms) is "
    f"outside the {LEVEL:.0%} interval of the difference paired by transfer seed, and stays so after Holm's correction "
    "over all pairs of the block's columns."
)

MOST_NAMED = 5


@dataclass(frozen=True)
class Lead:
    """The best row of one column of a block and its smallest lead. is_shown: whether all its leads are."""

    best: Row
    next: Row
    difference: Difference | None
    is_shown: bool


Block = tuple[str, float]  # model and sparsity


def best_of_blocks(study: Study, rows: Iterable[Row]) -> list[str]:
    """Sentences: for each block what is best in which column, where no difference is shown, and who is not compared."""
    said, unranked = list[str](), list[str]()
    blocks = _blocks(rows)
    sparsity = sparsity_texts(sparsity for _, sparsity in blocks)
    for (model, share), columns in blocks.items():
        where = f"{printable(model)} at {sparsity[share]}"
        equal = []
        apart: dict[tuple[str, str], dict[str, None]] = {}
        for group in columns.values():
            first, *others = on_equal_terms(study, group)
            equal.append(first)
            for each in others:
                differing = ", ".join(differing_terms(study, first[0], each[0]))
                between = f"{_titles(each)} and {_those(first)}"
                apart.setdefault((between, differing), {})[each[0].task] = None
        said += _sentences(where, leads(equal))
        unranked += [
            f"No winner is named between {between}, {where}, {', '.join(tasks)}: they differ in {differing}."
            for (between, differing), tasks in apart.items()
        ]
    return [*said, *unranked]


def leads(columns: Sequence[Sequence[Row]]) -> list[Lead]:
    """The lead of each column with two rows or more, after Holm's correction over all pairs of all columns."""
    ranked = [sorted(rows, key=lambda row: (-(row.value or 0.0), row.method)) for rows in columns if len(rows) > 1]
    compared = {
        (id(one), id(other)): row_difference(one, other) for rows in ranked for one, other in combinations(rows, 2)
    }
    adjusted = holm_by_key({pair: found.p_value for pair, found in compared.items() if found})
    found = []
    for best, *others in ranked:
        pairs = [(id(best), id(other)) for other in others]
        shown = all(adjusted.get(pair, 1.0) <= 1 - LEVEL and _is_ahead(compared[pair]) for pair in pairs)
        found.append(Lead(best, others[0], compared[pairs[0]], shown))
    return found


def _is_ahead(difference: Difference | None) -> bool:
    return difference is not None and difference.is_shown and difference.mean > 0


def _blocks(rows: Iterable[Row]) -> dict[Block, dict[tuple[str, str], list[Row]]]:
    blocks: dict[Block, dict[tuple[str, str], list[Row]]] = {}
    for row in rows:
        if row.sparsity > 0 and row.bits == 32 and row.value is not None:
            columns = blocks.setdefault((row.model, row.sparsity), {})
            columns.setdefault((row.task, row.metric), []).append(row)
    return blocks


def _sentences(where: str, found: Sequence[Lead]) -> list[str]:
    said = [_named(where, lead) for lead in found if lead.is_shown]
    undecided = [lead for lead in found if not lead.is_shown]
    if undecided:
        columns = ", ".join(column_title(lead.best.task, lead.best.metric) for lead in undecided)
        few = [lead for lead in undecided if lead.difference is None or lead.difference.n < FEWEST_FOR_INTERVAL]
        why = f" (fewer than {FEWEST_FOR_INTERVAL} shared seeds)" if len(few) == len(undecided) else ""
        said.append(f"No difference shown, {where}: {columns}{why}.")
    return said


def _named(where: str, lead: Lead) -> str:
    assert lead.difference is not None
    assert lead.difference.interval is not None
    return (
        f"Best, {where}, {column_title(lead.best.task, lead.best.metric)}: {_titles([lead.best])} "
        f"{two_decimals(lead.best.value)}, ahead of {_titles([lead.next])} by {lead.difference.mean:.2f} points "
        f"({interval_text(lead.difference.interval)}, n={lead.difference.n}{conditional((lead.best, lead.next))})."
    )


def _those(rows: Sequence[Row]) -> str:
    """The methods that are ranked, by name as long as these are few."""
    return _titles(rows) if len(rows) <= MOST_NAMED else f"the {len(rows)} that are compared"


def _titles(rows: Iterable[Row]) -> str:
    return " or ".join(printable(method_title(row.method)) for row in rows)
