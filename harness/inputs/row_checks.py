"""What the columns of the hub's schema must be: their types, and what their rows must hold, batch by batch.

Which file it is, and that its rows can be read at all, is of `harness.inputs.parquet`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.tasks import Task

# Single answers of SQuAD copies are known to be a character or two off; a file in which more are is another text's.
MISPLACED_SHARE = 0.01
BATCH_ROWS = 4096  # of a scan in memory at a time
# A character that is neither white space nor one of those without a picture (control, format), as tokenizers drop them.
_VISIBLE = r"[^\s\p{Cc}\p{Cf}\pZ]"


class RowError(Exception):
    """What is wrong with a row, in a sentence that does not name the file."""


Batches = Iterator[tuple[int, pa.RecordBatch]]


def sound_batches(
    file: pq.ParquetFile, column: str, *, beside: Sequence[str] = (), groups: Sequence[int] | None = None
) -> Batches:
    """The batches of a column (and of those beside it), each with the number of its first row.

    Raises RowError for a null, and for text that is no UTF-8. groups: the row groups to read; None: all.
    """
    starts = [0]
    for group in range(file.num_row_groups):
        starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
    for group in range(file.num_row_groups) if groups is None else groups:
        first = starts[group]
        for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=[column, *beside]):
            values = batch.column(column)
            if values.null_count:
                row = first + _first(pc.is_null(values))
                raise RowError(f"column {column} is null in row {row}; expected a value in every row.")
            _check_text(values, column, first)
            yield first, batch
            first += len(batch)


def _check_text(values: pa.Array, column: str, first: int) -> None:
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        for row, value in enumerate(values, start=first):
            try:
                value.as_py()
            except UnicodeDecodeError:
                raise RowError(
                    f"column {column} has bytes in row {row} (rows count from 0) that are no UTF-8 text. Write the "
                    "file again with text in UTF-8."
                ) from None
        raise


def has_nulls(file: pq.ParquetFile, group: int, column: str) -> bool:
    """Whether a row group's statistics tell of nulls in a column; without statistics nobody knows."""
    chunks = file.metadata.row_group(group)
    found = (chunks.column(i) for i in range(chunks.num_columns) if chunks.column(i).path_in_schema == column)
    return any(
        chunk.is_stats_set and chunk.statistics.has_null_count and chunk.statistics.null_count > 0 for chunk in found
    )


def _first(condition: Any) -> int:
    """Row of the first true entry, counted from 0."""
    return pc.index(condition, True).as_py()


def _has_text(values: pa.Array) -> Any:
    """For each value whether it has a character to be seen; null for a null."""
    return pc.match_substring_regex(values, _VISIBLE)


def check_texts(column: str, batches: Batches, task: Task | None = None) -> None:
    """Raises RowError where every text of a column is blank. Reads all batches."""
    rows, blank = 0, True
    for _, batch in batches:
        rows += len(batch)
        blank = blank and not pc.any(_has_text(batch.column(column))).as_py()
    if rows and blank:
        raise RowError(
            f"column {column} is blank in {'its one row' if rows == 1 else f'all {rows} rows'}; expected text. Write "
            "the file again with its texts."
        )


def _check_labels(batches: Batches, task: Task) -> None:
    column = task.columns["label"]
    for first, batch in batches:
        labels = batch.column(column)
        if _is_string(labels.type):
            _check_label_names(labels, first, task)
            continue
        lowest, end = (pa.scalar(bound, labels.type) for bound in (0, task.num_labels))  # unsigned ones stay unsigned
        bad = pc.or_(pc.less(labels, lowest), pc.greater_equal(labels, end))
        if pc.any(bad).as_py():
            row = _first(bad)
            classes = ", ".join(f"{value} {name}" for value, name in enumerate(task.label_names))
            raise RowError(
                f"label {labels[row].as_py()} in row {first + row} (rows count from 0); expected 0 to "
                f"{task.num_labels - 1} ({classes}). A label of -1 marks a split without published labels: "
                "use one with labels."
            )


def _check_label_names(labels: pa.Array, first: int, task: Task) -> None:
    known = pc.is_in(labels, value_set=pa.array(task.label_names, labels.type))
    if not pc.all(known).as_py():
        row = _first(pc.invert(known))
        raise RowError(
            f"label {labels[row].as_py()!r} in row {first + row} (rows count from 0); expected one of "
            f"{', '.join(task.label_names)}."
        )


def _check_scores(batches: Batches, task: Task) -> None:
    column = task.columns["score"]
    for first, batch in batches:
        scores = batch.column(column).cast(pa.float64())
        finite = pc.is_finite(scores)
        if not pc.all(finite).as_py():
            row = _first(pc.invert(finite))
            raise RowError(
                f"{column} {scores[row].as_py()} in row {first + row} (rows count from 0); expected a finite number."
            )


def _check_ids(batches: Batches, task: Task) -> None:
    column = task.columns["id"]
    counts = pc.value_counts(pa.chunked_array([batch.column(column) for _, batch in batches]))
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(repeated):
        entry = repeated[0].as_py()
        raise RowError(f"id {entry['values']!r} occurs {entry['counts']} times; expected every id once.")


def _check_answers(batches: Batches, task: Task) -> None:
    """A question without answer or with an empty one, and a wrong answer_start: each would train on a wrong span."""
    misplaced = total = 0
    example = ""
    for row, context, text, start in _answers(batches, task):
        total += 1
        if found := _check_answer(context, text, start, row):
            misplaced += 1
            example = example or found
    if misplaced > MISPLACED_SHARE * total:
        raise RowError(
            f"{misplaced} of {total} answers are not at their answer_start, the first {example}. Expected "
            "the character at which the answer begins in this very context (not bytes, not of a cleaned text)."
        )


def _answers(batches: Batches, task: Task) -> Iterator[tuple[int, str, str, int]]:
    """(row, context, text, start) of every answer; rows without a context, told of its own column, are passed over."""
    for first, batch in batches:
        answers, contexts = batch.column(task.columns["answers"]), batch.column(task.columns["context"])
        _check_answered(answers, first)
        _check_text(contexts, task.columns["context"], first)
        pairs = zip(contexts.to_pylist(), answers.to_pylist(), strict=True)
        for row, (context, given) in enumerate(pairs, start=first):
            if context is not None:
                yield from ((row, context, text, start) for text, start in _answers_of(given, row))


def _check_answered(answers: pa.Array, first: int) -> None:
    texts = pc.struct_field(answers, "text")
    unanswered = pc.fill_null(pc.equal(pc.list_value_length(texts), 0), True)
    if pc.any(unanswered).as_py():
        row = first + _first(unanswered)
        raise RowError(
            f"the question in row {row} (rows count from 0) has no answer; expected SQuAD v1.1, "
            "where every question has at least one. Version 2 is not supported: drop its unanswerable questions."
        )
    blank = pc.invert(pc.fill_null(_has_text(pc.list_flatten(texts)), True))
    if pc.any(blank).as_py():
        row = first + pc.list_parent_indices(texts)[_first(blank)].as_py()
        raise RowError(
            f"the answer in row {row} (rows count from 0) is empty; expected words of its context. Drop the "
            "question, or give it an answer."
        )


def _answers_of(given: dict[str, Any], row: int) -> list[tuple[str, int]]:
    """(text, start) of each answer of a row."""
    texts, starts = given["text"], given["answer_start"] or []
    if len(texts) != len(starts) or None in texts or None in starts:
        raise RowError(
            f"the answers in row {row} (rows count from 0) have {len(texts)} texts and {len(starts)} "
            "starts, or a null among them; expected an answer_start for every text."
        )
    return list(zip(texts, starts, strict=True))


def _check_answer(context: str, text: str, start: int, row: int) -> str | None:
    """Where an answer is not at its start, in words; None where it is. Raises RowError for one outside the context."""
    if not 0 <= start <= start + len(text) <= len(context):
        raise RowError(
            f"answer_start {start} of {text[:40]!r} in row {row} (rows count from 0) lies outside its "
            f"context of {len(context)} characters; expected the character at which the answer begins."
        )
    if context[start : start + len(text)] == text:
        return None
    return f"{text[:40]!r} in row {row}, where the context has {context[start:][:40]!r}"


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_label(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or _is_string(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _is_answers(kind: pa.DataType) -> bool:
    """Lists of texts and of whole numbers, under the names of the hub's SQuAD."""
    if not pa.types.is_struct(kind):
        return False
    lists = {
        field.name: field.type for field in kind if pa.types.is_list(field.type) or pa.types.is_large_list(field.type)
    }
    if not {"text", "answer_start"} <= lists.keys():
        return False
    return _is_string(lists["text"].value_type) and pa.types.is_integer(lists["answer_start"].value_type)


@dataclass(frozen=True)
class ColumnForm:
    """What a column of the hub's schema must be: its type, in words and as a test, and a check of its rows.

    check_rows: takes the column's batches with the first row of each; raises RowError. beside: columns it reads too, by
    the names that they have in the harness.
    """

    expected: str
    has_type: Callable[[pa.DataType], bool]
    check_rows: Callable[[Batches, Task], None]
    beside: tuple[str, ...] = ()


_FORMS = {
    "id": ColumnForm("string", _is_string, _check_ids),
    "label": ColumnForm("integer, or string with the names of classes", _is_label, _check_labels),
    "score": ColumnForm("a number", _is_number, _check_scores),
    "answers": ColumnForm(
        "struct of the lists text (strings) and answer_start (integers)", _is_answers, _check_answers, ("context",)
    ),
}


Forms = Mapping[str, ColumnForm]  # by column of the data


def forms_of(task: Task) -> Forms:
    """What the columns of a split of the task must be, by their names in the data."""
    texts = text_forms(task.columns[name] for name in task.text_columns)
    return {column: texts.get(column) or _FORMS[name] for name, column in task.columns.items()}


def text_forms(columns: Iterable[str]) -> Forms:
    """Of columns that hold text."""
    return {column: ColumnForm("string", _is_string, partial(check_texts, column)) for column in columns}
