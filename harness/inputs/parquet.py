"""Reading a data folder in the hub's schema: <task>/<split>.parquet and corpus/{train,validation}.parquet in it.

`check_folder` looks at file metadata only, so planning can call it; the loaders read and validate the rows.
`harness.data` turns them into tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.tasks import CORPUS_SPLITS, Task

if TYPE_CHECKING:
    import datasets

CORPUS_COLUMNS = ("title", "text")
# Single answers of SQuAD copies are known to be a character or two off; a file in which more are is another text's.
MISPLACED_SHARE = 0.01


def split_files(folder: Path | str, task: Task) -> dict[str, Path]:
    """The task's files that exist in `folder`, by split name, the train split first."""
    paths = {split: Path(folder) / task.name / f"{split}.parquet" for split in task.splits}
    return {split: path for split, path in paths.items() if path.is_file()}


def corpus_files(folder: Path | str) -> dict[str, Path]:
    """The corpus files that exist in `folder`, by split name, the train split first."""
    paths = {split: Path(folder) / "corpus" / f"{split}.parquet" for split in CORPUS_SPLITS}
    return {split: path for split, path in paths.items() if path.is_file()}


def num_rows(path: Path) -> int:
    """Rows of a parquet file, from its footer."""
    return int(pq.read_metadata(path).num_rows)


def text_bytes(path: Path) -> int:
    """Uncompressed bytes of a corpus file's column "text", from its footer."""
    footer = pq.read_metadata(path)
    chunks = [footer.row_group(i).column(j) for i in range(footer.num_row_groups) for j in range(footer.num_columns)]
    return sum(int(chunk.total_uncompressed_size) for chunk in chunks if chunk.path_in_schema == "text")


def check_folder(folder: Path | str, tasks: Iterable[Task], *, corpus: bool) -> list[str]:
    """Every problem of `folder` for these tasks (and the corpus, if wanted), in words; empty when there is none.

    Reads parquet footers only: paths, column names and types, row counts. Values are validated on loading.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file" if folder.is_file() else "does not exist"
        return [
            f"data folder {folder} {what}. Expected a folder with <task>/<split>.parquet in the hub's "
            "schema; correct the path or choose another data source."
        ]
    problems: list[str] = []
    for task in tasks:
        origin = f"configuration {task.hub_name!r} of {task.hub_path} on the hub"
        for split in task.splits:
            path = folder / task.name / f"{split}.parquet"
            if path.is_file():
                problems += _file_problems(path, task.columns)
            elif split not in task.optional_splits:
                problems.append(
                    f"{path}: not found, and task {task.name!r} needs its split {split!r}. Put it there as parquet "
                    f"with the columns {', '.join(task.columns)} ({origin}), or leave the task out."
                )
    if corpus:
        for split in CORPUS_SPLITS:
            path = folder / "corpus" / f"{split}.parquet"
            if path.is_file():
                problems += _file_problems(path, CORPUS_COLUMNS)
            else:
                problems.append(
                    f"{path}: not found, and pre-training needs the corpus split {split!r}. Put it there as parquet "
                    f"with the columns {', '.join(CORPUS_COLUMNS)}, one article per row."
                )
    return problems


def load_split(folder: Path | str, task: Task, split: str) -> datasets.Dataset:
    """One split of a folder, as `read_rows` gives it. Raises ValueError for a split the task does not have."""
    if split not in task.splits:
        raise ValueError(f"split {split!r}: task {task.name!r} has {', '.join(task.splits)}.")
    return read_rows([Path(folder) / task.name / f"{split}.parquet"], task)


def read_rows(paths: Sequence[Path], task: Task) -> datasets.Dataset:
    """The rows of parquet files with the columns `task.columns`, in memory, in the order of the files.

    Raises FileNotFoundError if a file is not there, ValueError if one is unreadable, lacks a column, has no rows, a
    null, a label outside [0, num_labels) or (SQuAD v1.1) a question without answer, an answer outside its context, more
    than one answer in a hundred that is not at its answer_start, or an id that occurs twice.
    """
    tables = []
    for path in paths:
        table = _read(path, task.columns)
        for column in task.columns:
            _form_of(column).check_rows(table, task, path)
        tables.append(table)
    return _dataset(pa.concat_tables(tables))


def load_corpus(folder: Path | str, split: str, *, cache_dir: Path | str | None = None) -> datasets.Dataset:
    """One corpus split of a folder, as `read_articles` gives it. Raises ValueError for another split's name."""
    if split not in CORPUS_SPLITS:
        raise ValueError(f"corpus split {split!r}: expected one of {', '.join(CORPUS_SPLITS)}.")
    return read_articles([Path(folder) / "corpus" / f"{split}.parquet"], cache_dir=cache_dir)


def read_articles(paths: Sequence[Path], *, cache_dir: Path | str | None = None) -> datasets.Dataset:
    """An article per row, with the columns title and text, in the order of the files.

    cache_dir: None reads them into memory; a folder keeps an Arrow copy there and maps it, for a corpus larger than
    memory. Raises FileNotFoundError if a file is not there, ValueError as `read_rows`.
    """
    if cache_dir is None:
        return _dataset(pa.concat_tables([_read(path, CORPUS_COLUMNS) for path in paths]))
    for path in paths:
        _raise_for_problems(path, CORPUS_COLUMNS)
        _check_articles(path)
    import datasets

    return datasets.Dataset.from_parquet(
        [str(path) for path in paths], cache_dir=str(cache_dir), columns=list(CORPUS_COLUMNS)
    )


def _check_articles(path: Path) -> None:
    """Raises ValueError for rows that cannot be read and for an article without text; one row group in memory."""
    first = 0  # row at which a row group begins
    with _reading_rows(path), pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            text = file.read_row_group(group, columns=["text"])["text"]
            if text.null_count:
                row = first + _first(pc.is_null(text))
                raise ValueError(f"{path}: column text is null in row {row}; expected a value in every row.")
            first += len(text)


@contextmanager
def _reading_rows(path: Path) -> Iterator[None]:
    """Names the file when the parquet reader fails on damaged pages. Errors of the system pass as they are."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(
            f"{path}: its rows cannot be read ({' '.join(str(error).split())}). Write the file again."
        ) from error


def _dataset(table: pa.Table) -> datasets.Dataset:
    import datasets

    return datasets.Dataset(table.replace_schema_metadata(None))


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_answers(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and {"text", "answer_start"} <= {field.name for field in kind}


def _file_problems(path: Path, columns: tuple[str, ...]) -> list[str]:
    """What is wrong with a file that exists, from its footer."""
    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError) as error:
        return [f"{path}: not readable as parquet ({error}). Write the file again."]
    schema = metadata.schema.to_arrow_schema()
    problems = []
    missing = [column for column in columns if column not in schema.names]
    if missing:
        problems.append(
            f"{path}: missing columns {', '.join(missing)}. Found {', '.join(schema.names)}; expected "
            f"{', '.join(columns)}. Rename the columns to the hub's names."
        )
    for column in columns:
        form = _form_of(column)
        if column in schema.names and not form.has_type(schema.field(column).type):
            problems.append(
                f"{path}: column {column} is {schema.field(column).type}; expected {form.expected}. Convert it and "
                "write the file again."
            )
    if metadata.num_rows == 0:
        problems.append(f"{path}: has no rows; expected at least one. Write the split again.")
    return problems


def _raise_for_problems(path: Path, columns: tuple[str, ...]) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found. Expected parquet with the columns {', '.join(columns)}.")
    problems = _file_problems(path, columns)
    if problems:
        raise ValueError("\n".join(problems))


def _read(path: Path, columns: tuple[str, ...]) -> pa.Table:
    _raise_for_problems(path, columns)
    with _reading_rows(path):
        table = pq.read_table(path, columns=list(columns))
    for column in columns:
        if table[column].null_count:
            row = _first(pc.is_null(table[column]))
            raise ValueError(f"{path}: column {column} is null in row {row}; expected a value in every row.")
    return table


def _first(condition: Any) -> int:
    """Row of the first true entry, counted from 0."""
    return pc.index(condition, True).as_py()


def _check_labels(table: pa.Table, task: Task, path: Path) -> None:
    labels = table["label"]
    bad = pc.or_(pc.less(labels, 0), pc.greater_equal(labels, task.num_labels))
    if pc.any(bad).as_py():
        row = _first(bad)
        classes = ", ".join(f"{value} {name}" for value, name in enumerate(task.label_names))
        raise ValueError(
            f"{path}: label {labels[row].as_py()} in row {row} (rows count from 0); expected 0 to "
            f"{task.num_labels - 1} ({classes}). A label of -1 marks a split without published labels: "
            "use one with labels."
        )


def _check_answers(table: pa.Table, task: Task, path: Path) -> None:
    texts = pc.struct_field(table["answers"], "text")
    unanswered = pc.fill_null(pc.equal(pc.list_value_length(texts), 0), True)
    if pc.any(unanswered).as_py():
        raise ValueError(
            f"{path}: the question in row {_first(unanswered)} (rows count from 0) has no answer; expected SQuAD v1.1, "
            "where every question has at least one. Version 2 is not supported: drop its unanswerable questions."
        )
    _check_answer_starts(table, path)


def _check_ids(table: pa.Table, task: Task, path: Path) -> None:
    counts = pc.value_counts(table["id"])
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(repeated):
        entry = repeated[0].as_py()
        raise ValueError(f"{path}: id {entry['values']!r} occurs {entry['counts']} times; expected every id once.")


def _check_answer_starts(table: pa.Table, path: Path) -> None:
    """A wrong answer_start would train on a wrong span, silently."""
    misplaced = total = 0
    first = ""
    for row, (context, answers) in enumerate(
        zip(table["context"].to_pylist(), table["answers"].to_pylist(), strict=True)
    ):
        texts, starts = answers["text"], answers["answer_start"] or []
        if len(texts) != len(starts) or None in texts or None in starts:
            raise ValueError(
                f"{path}: the answers in row {row} (rows count from 0) have {len(texts)} texts and {len(starts)} "
                "starts, or a null among them; expected an answer_start for every text."
            )
        for text, start in zip(texts, starts, strict=True):
            total += 1
            if not 0 <= start <= start + len(text) <= len(context):
                raise ValueError(
                    f"{path}: answer_start {start} of {text[:40]!r} in row {row} (rows count from 0) lies outside its "
                    f"context of {len(context)} characters; expected the character at which the answer begins."
                )
            if context[start : start + len(text)] != text:
                misplaced += 1
                first = first or f"{text[:40]!r} in row {row}, where the context has {context[start:][:40]!r}"
    if misplaced > MISPLACED_SHARE * total:
        raise ValueError(
            f"{path}: {misplaced} of {total} answers are not at their answer_start, the first {first}. Expected "
            "the character at which the answer begins in this very context (not bytes, not of a cleaned text)."
        )


def _no_check(table: pa.Table, task: Task, path: Path) -> None:
    pass


@dataclass(frozen=True)
class _ColumnForm:
    """What a column of the hub's schema must be: its type, in words and as a test, and a check of its rows.

    check_rows raises ValueError naming the file and the row.
    """

    expected: str
    has_type: Callable[[pa.DataType], bool]
    check_rows: Callable[[pa.Table, Task, Path], None] = _no_check


_TEXT = _ColumnForm("string", _is_string)
_FORMS = {
    "id": _ColumnForm("string", _is_string, _check_ids),
    "label": _ColumnForm("integer", pa.types.is_integer, _check_labels),
    "answers": _ColumnForm("struct of the lists text and answer_start", _is_answers, _check_answers),
}


def _form_of(column: str) -> _ColumnForm:
    return _FORMS.get(column, _TEXT)
