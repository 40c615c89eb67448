"""Pairs: two lines of one model, sparsity and bits that one thing sets apart, with their difference: an ablation.

What sets two lines apart is told by their stages, compared field by field (`harness.planning.difference`), not by
their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from harness.planning.difference import Comparison, Difference
from harness.planning.kinds import DISTILLATION
from paper_tables.numbers.pairs import conditional, row_difference
from paper_tables.numbers.study_numbers import StudyNumbers
from paper_tables.statistics.intervals import LEVEL
from paper_tables.tables.table import EMPTY, OURS, Block, Cell, Line
from paper_tables.tables.words import NOT_IN_STUDY, interval_text, signed, sparsity_texts

_TOPICS = {
    "transfer KD": (*DISTILLATION, "teacher"),
    "rewinding": ("lr_rewind",),
    "regrowth": ("regrowth", "regrow"),
    "ranking": ("ranking",),
    "tie rule": ("tie_rule",),
}
DIFFERENCE = "difference"
_OTHER_STAGES = "stage"  # another kind of stage is another method, no setting of one


def paired_blocks(numbers: StudyNumbers | None, blocks: Sequence[Block]) -> list[Block]:
    """A block for each pair of lines that differ in one topic: one, other, and one minus other."""
    if numbers is None:
        return [Block(block.heading, ()) for block in blocks]
    comparison = Comparison(numbers.study.plan, numbers.study.plan, counts=lambda found: not found.is_of_a_seed)
    lines = [line for block in blocks for line in block.lines]
    shares = sparsity_texts(line.sparsity for line in lines)
    found = [
        Block(
            f"{block.heading} at {shares[one.sparsity]}: {topic}",
            (one, other, _difference(one, other)),
        )
        for block in blocks
        for one, other in combinations(block.lines, 2)
        if (one.sparsity, one.bits) == (other.sparsity, other.bits)
        for topic in _only_topic(comparison, one, other)
    ]
    return found or [Block(f"{block.heading}: no two rows differ in one thing alone", ()) for block in blocks[:1]]


def pairs_remarks(blocks: Sequence[Block]) -> list[str]:
    """How to read the differences; nothing where there are none."""
    lines = [line for block in blocks for line in block.lines]
    if not any(line.method == DIFFERENCE for line in lines):
        return []
    rows = [cell.row for line in lines for cell in line.cells if cell.row is not None]
    return [
        f"{DIFFERENCE}: the first row minus the second in points, paired by transfer seed; in parentheses its "
        f"{LEVEL:.0%} interval, Student's t, from three seeds on{conditional(rows)}."
    ]


def _only_topic(comparison: Comparison, one: Line, other: Line) -> Iterator[str]:
    """What sets two lines apart in every cell that both have, where that is one thing."""
    topics: set[str] = set()
    for ours, theirs in zip(one.cells, other.cells, strict=True):
        if ours.row is not None and theirs.row is not None:
            ends = zip(ours.row.stage_ids, theirs.row.stage_ids, strict=False)
            unlike = {tuple(map(comparison.one.alike, pair)): pair for pair in ends}  # each but for seeds once
            topics |= {_topic(each) for pair in unlike.values() for each in comparison.differences(*pair)}
    if len(topics) == 1 and _OTHER_STAGES not in topics:
        yield topics.pop()


def _topic(found: Difference) -> str:
    """The topic of a setting or a parent; what belongs to none is a topic of its own, by its name."""
    name = found.name.partition(" of ")[0] if found.what == "stages" else found.name.rpartition(".")[2]
    return next((topic for topic, names in _TOPICS.items() if name in names), found.name)


def _difference(one: Line, other: Line) -> Line:
    cells = []
    for ours, theirs in zip(one.cells, other.cells, strict=True):
        found = None if ours.row is None or theirs.row is None else row_difference(ours.row, theirs.row)
        if found is None:
            cells.append(Cell(NOT_IN_STUDY, EMPTY))
        else:
            interval = f" ({interval_text(found.interval)})" if found.interval else ""
            cells.append(Cell(f"{signed(found.mean)}{interval} n={found.n}", OURS))
    return Line(one.model, DIFFERENCE, one.sparsity, "", one.bits, DIFFERENCE, "", tuple(cells))
