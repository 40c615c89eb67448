"""build: a table file and a study's numbers make a Table. Without numbers, the table of what was published alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

from harness.planning.method_summary import OUTCOME
from paper_tables.numbers.published import PublishedNumber, published_value
from paper_tables.numbers.remarks import remark_on
from paper_tables.numbers.rows import Row, column_order, row_order
from paper_tables.numbers.study_numbers import StudyNumbers
from paper_tables.tables.best import HOW, best_of_blocks
from paper_tables.tables.legend import legend, zeros_are_off, zeros_text
from paper_tables.tables.lines import Found, chosen_lines, unmatched
from paper_tables.tables.measures import MEASURES
from paper_tables.tables.pairs import paired_blocks, pairs_remarks
from paper_tables.tables.table import EMPTY, MISSING, OURS, QUOTED, Block, Cell, Column, Line, Table
from paper_tables.tables.table_file import Choice, Footnote, TableFile
from paper_tables.tables.words import (
    MOST_LETTERS,
    NOT_IN_STUDY,
    cell_text,
    column_title,
    mark,
    paper_text,
    printable,
    shortened,
    sparsity_texts,
    two_decimals,
    usual_seeds,
)

_NO_STUDY = "There is no study: what is published stands alone."
_QUOTED = f" ({QUOTED})"


def whole_study() -> TableFile:
    """The table of every cell of a study, under the headings that its rows give."""
    return TableFile(name="", title="", description="", rows=(Choice(),))


def build(table_file: TableFile, numbers: StudyNumbers | None) -> Table:
    """The table. numbers: of the study; None: there is none, ours are missing. Same input, same table."""
    return _built(table_file, numbers.rows if numbers else None, numbers)


def build_rows(table_file: TableFile, rows: Sequence[Row]) -> Table:
    """The same from rows alone: without measures, pairs and what is best, which the study's stages tell."""
    return _built(table_file, sorted(rows, key=row_order), None)


def _built(table_file: TableFile, of_study: Sequence[Row] | None, numbers: StudyNumbers | None) -> Table:
    lines = chosen_lines(table_file, of_study or ())
    columns = _columns(table_file, lines)
    rows = [row for line in lines for row in line.rows.values()]
    builder = _Builder(table_file, numbers, columns, usual_seeds(rows))
    noted = paired_blocks(numbers, builder.blocks(lines)) if table_file.layout == "pairs" else builder.blocks(lines)
    blocks, footnotes = _marked(noted)
    table = Table(
        name=table_file.name,
        columns=columns,
        blocks=blocks,
        footnotes=footnotes,
        has_zeros=any(map(zeros_are_off, rows)) and not any(column.measure for column in columns),
    )
    remarks = [*legend(table), *pairs_remarks(blocks)]
    remarks += unmatched(table_file, lines) if of_study is not None else [_NO_STUDY]
    if numbers is not None and table_file.layout == "lines" and (best := best_of_blocks(numbers.study, table.rows())):
        remarks += [*best, HOW]
    return replace(table, remarks=tuple(remarks))


def _marked(blocks: Sequence[Block]) -> tuple[tuple[Block, ...], tuple[tuple[str, str], ...]]:
    """The blocks with marks in the place of the footnotes' texts, and the footnotes that occur, in their order."""
    marks: dict[str, str] = {}

    def signs(texts: Sequence[str]) -> tuple[str, ...]:
        return tuple(marks.setdefault(text, mark(len(marks))) for text in texts)

    def cell_marked(cell: Cell) -> Cell:
        if not cell.marks and not cell.paper_marks:
            return cell
        return replace(cell, marks=signs(cell.marks), paper_marks=signs(cell.paper_marks))

    def line_marked(line: Line) -> Line:
        return replace(line, cells=tuple(map(cell_marked, line.cells)), marks=signs(line.marks))

    found = tuple(replace(block, lines=tuple(map(line_marked, block.lines))) for block in blocks)
    return found, tuple((sign, text) for text, sign in marks.items())


def _columns(table_file: TableFile, lines: Sequence[Found]) -> tuple[Column, ...]:
    if table_file.columns is None:
        named = sorted(set(chain.from_iterable((*line.rows, *line.numbers) for line in lines)), key=column_order)
        return tuple(Column(column_title(task, metric), task, metric) for task, metric in named)
    return tuple(
        Column(MEASURES[each.measure].title, measure=each.measure)
        if each.measure
        else Column(column_title(each.task, each.metric), each.task, each.metric)
        for each in table_file.columns
    )


@dataclass
class _Builder:
    """Makes blocks whose lines and cells have the texts of their footnotes in the place of marks."""

    table_file: TableFile
    numbers: StudyNumbers | None
    columns: Sequence[Column]
    seeds: int

    def blocks(self, lines: Sequence[Found]) -> list[Block]:
        """One for each model, in the order in which models come."""
        by_model: dict[str, list[Found]] = {}
        for line in lines:
            by_model.setdefault(line.key.model, []).append(line)
        return [
            Block(self._heading(model, group, len(by_model)), tuple(map(self._line, group)))
            for model, group in by_model.items()
        ] or ([Block(printable(self.table_file.title), ())] if self.table_file.title else [])

    def _heading(self, model: str, lines: Sequence[Found], models: int) -> str:
        rows: list[Row] = [row for line in lines for row in line.rows.values()]
        title = printable(self.table_file.title or (rows[0].table if rows else ""))
        return title if models == 1 and self.table_file.title else f"{title}: {printable(model)}"

    def _line(self, line: Found) -> Line:
        key = line.key
        cells = [self._cell(line, column) for column in self.columns]
        return Line(
            model=key.model,
            method=key.method,
            sparsity=key.sparsity,
            transfer_kd=key.transfer_kd,
            bits="mixed" if key.bits is None else str(key.bits),
            label=_label(line),
            zeros=zeros_text(list(line.rows.values())),
            cells=tuple(cells),
            marks=tuple(self._said_of_label(line)),
            is_quoted=bool(key.source),
            source=key.source,
        )

    def _said_of_label(self, line: Found) -> list[str]:
        whole = printable(line.label)
        parts = [] if _label(line).startswith(whole) else [whole]
        if line.shows_source:
            parts.append(line.key.source)
        return [*([f"{': '.join(parts)}."] if parts else []), *_said_of_outcome(line)]

    def _cell(self, line: Found, column: Column) -> Cell:
        if column.measure:
            return self._measured(line, column.measure)
        named = (column.task, column.metric)
        row = line.rows.get(named)
        number = line.numbers.get(named) or _beside(row)
        if line.key.source:
            text, kind = (QUOTED, QUOTED) if number else (NOT_IN_STUDY, EMPTY)
            paper = two_decimals(number.value if number else None)
        elif row is None:
            text, kind = ("missing", MISSING) if line.is_asked_for else (NOT_IN_STUDY, EMPTY)
            paper = paper_text(None, number)
        else:
            text, kind, paper = (
                cell_text(row, self.seeds),
                MISSING if row.value is None else OURS,
                paper_text(row, number),
            )
        said = [remark for remark in [remark_on(number)] if remark] if number else []
        return Cell(
            text=text,
            kind=kind,
            paper=paper,
            row=row,
            number=number,
            marks=tuple(self._own(line, column, "ours")) if kind in (OURS, MISSING) else (),
            paper_marks=tuple(dict.fromkeys([*said, *self._own(line, column, "paper")])) if paper else (),
        )

    def _measured(self, line: Found, measure: str) -> Cell:
        rows = list(line.rows.values())
        if self.numbers is None or not rows:
            return Cell(NOT_IN_STUDY if line.key.source else "missing", EMPTY if line.key.source else MISSING)
        text = MEASURES[measure].text(self.numbers, rows)
        return Cell(text, MISSING if text == "missing" else OURS)

    def _own(self, line: Found, column: Column, on: str) -> list[str]:
        """The texts of the table file's footnotes that belong to a cell."""
        return [note.text for note in self.table_file.footnotes if note.on == on and _belongs(note, line, column)]


def _said_of_outcome(line: Found) -> list[str]:
    """What was reached, where the sparsity of a line is an outcome."""
    rows = [row for row in line.rows.values() if row.sparsity_is == OUTCOME]
    if not rows:
        return []
    sparsity, reached = line.key.sparsity, zeros_text(rows)
    aimed = f"{printable(line.label)}: its sparsity is an outcome; {sparsity_texts([sparsity])[sparsity]} was aimed at"
    return [f"{aimed}." if reached == NOT_IN_STUDY else f"{aimed}, {reached} of the encoder's weights are zero."]


def _beside(row: Row | None) -> PublishedNumber | None:
    """The paper's number that stands beside a comparable row."""
    if row is None or row.published is None:
        return None
    return published_value(row.model, row.method, row.sparsity, row.bits, row.task, row.metric)


def _label(line: Found) -> str:
    """At most `MOST_LETTERS` wide; of a line that is quoted alone it says so."""
    whole = printable(line.label)
    if not line.key.source or QUOTED in shortened(whole):
        return shortened(whole)
    return f"{shortened(whole, MOST_LETTERS - len(_QUOTED))}{_QUOTED}"


def _belongs(note: Footnote, line: Found, column: Column) -> bool:
    at = note.column
    is_there = at is None or (at.task, at.metric, at.measure) == (column.task, column.metric, column.measure)
    return is_there and line.is_chosen(note.rows)
