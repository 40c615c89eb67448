"""Reading a data folder in the hub's schema: <task>/<split>.parquet and corpus/{train,validation}.parquet in it.

`check_folder` looks at file metadata only. `row_problems` reads the rows in batches and says what is wrong with them:
planning asks it, and so does what reads a split. `harness.data` turns the rows into tokens.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.identity import sha256_of
from harness.inputs.row_checks import Forms, RowError, check_texts, forms_of, has_nulls, sound_batches, text_forms
from harness.progress import NEVER, StopFlag
from harness.tasks import CORPUS_SPLITS, Task

if TYPE_CHECKING:
    import datasets

CORPUS_COLUMNS = ("title", "text")
CORPUS_FORMS = text_forms(CORPUS_COLUMNS)
CHEAP_TEXT_BYTES = 64e6  # a corpus file with more text is read by its stage alone; a plan looks at its statistics
ROWS_AT_A_TIME = 10_000  # copied between two looks at the flag
BUFFER_BYTES = 1 << 20  # of a column that is read; 0 would be all that a row group has of it
_FOLDER = "a folder"
_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: _FOLDER,
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


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


def check_folder(
    folder: Path | str,
    tasks: Iterable[Task],
    *,
    corpus: bool,
    rows: Callable[[Path, Task | None], list[str]] = lambda path, task: [],
) -> list[str]:
    """Every problem of `folder` for these tasks (and the corpus, if wanted), in words; empty when there is none.

    Reads parquet footers: paths, column names and types, row counts. rows: says what is wrong with the rows of a file
    (of a task, or of the corpus: None) whose footer is right.
    """
    folder = Path(folder)
    if not folder.is_dir():
        found = _standing_at(folder)
        what = f"is {found}" if found else "does not exist"
        return [
            f"data folder {folder} {what}. Expected a folder with <task>/<split>.parquet in the hub's "
            "schema; correct the path or choose another data source."
        ]
    problems: list[str] = []
    for task in tasks:
        on_hub = f" (configuration {task.hub_name!r} of {task.hub_path} on the hub)" if task.is_on_hub else ""
        contents = f"{_columns([*forms_of(task)])}{on_hub}"
        for split in task.splits:
            path = folder / task.name / f"{split}.parquet"
            optional = split in task.optional_splits
            if path.is_file():
                problems += file_problems(path, forms_of(task)) or rows(path, task)
            elif not optional or _standing_at(path):
                needs = f"task {task.name!r} needs its split {split!r}"
                problems.append(_no_file(path, needs, contents, "take it away" if optional else "leave the task out"))
    if corpus:
        for split in CORPUS_SPLITS:
            path = folder / "corpus" / f"{split}.parquet"
            if path.is_file():
                problems += file_problems(path, CORPUS_FORMS) or rows(path, None)
            else:
                needs = f"pre-training needs the corpus split {split!r}"
                problems.append(_no_file(path, needs, f"{_columns(CORPUS_COLUMNS)}, one article per row"))
    return problems


def _columns(names: Sequence[str]) -> str:
    return f"the columns {', '.join(names)}"


def _no_file(path: Path, needs: str, contents: str, otherwise: str = "") -> str:
    """The problem of a path where no file is: what stands there instead, what should, and the next move."""
    found = _standing_at(path)
    or_else = f", or {otherwise}" if otherwise else ""
    if not found:
        return f"{path}: not found, and {needs}. Put it there as parquet with {contents}{or_else}."
    move = "Write its parts as one file under that name" if found == _FOLDER else "Put the file itself there"
    return f"{path}: is {found}; expected one parquet file with {contents}. {move}{or_else}."


def _standing_at(path: Path) -> str:
    """What stands at a path, in words; "" for nothing. Opens nothing: a pipe would never end."""
    try:
        return _KINDS.get(stat.S_IFMT(path.stat().st_mode), "no file")
    except ValueError:  # no path can have a NUL
        return ""
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a link that leads back to itself"
        if not path.is_symlink():
            return ""
        return f"a link to {os.readlink(path)}, which does not exist"


def row_problems(path: Path, task: Task) -> list[str]:
    """What is wrong with the rows of a file whose footer is right: a sentence for each column, with the first such row.

    Every value must be there and text must be UTF-8; beyond that, see `read_rows`. Reads batches of rows.
    """
    found = []
    for column, form in forms_of(task).items():
        beside = tuple(task.columns[name] for name in form.beside if name in task.columns)
        try:
            with _reading_rows(path) as file:
                batches = sound_batches(file, column, beside=beside)
                form.check_rows(batches, task)
        except RowError as error:
            found.append(f"{path}: {error}")
        except ValueError as error:
            return [str(error)]
    return found


def article_problems(path: Path, *, thorough: bool = True) -> list[str]:
    """What is wrong with the articles of a corpus file whose footer is right.

    thorough: read every text; else only where the file's statistics tell of nulls, or there is little of it. That every
    text is blank is told where every one is read.
    """
    try:
        with _reading_rows(path) as file:
            everything = thorough or text_bytes(path) <= CHEAP_TEXT_BYTES
            groups = [g for g in range(file.num_row_groups) if everything or has_nulls(file, g, "text")]
            batches = sound_batches(file, "text", groups=groups)
            if everything:
                check_texts("text", batches)
            else:
                for _ in batches:
                    pass
    except RowError as error:
        return [f"{path}: {error}"]
    except ValueError as error:
        return [str(error)]
    return []


def load_split(folder: Path | str, task: Task, split: str) -> datasets.Dataset:
    """One split of a folder, as `read_rows` gives it. Raises ValueError for a split the task does not have."""
    if split not in task.splits:
        raise ValueError(f"split {split!r}: task {task.name!r} has {', '.join(task.splits)}.")
    return read_rows([Path(folder) / task.name / f"{split}.parquet"], task)


def read_rows(paths: Sequence[Path], task: Task) -> datasets.Dataset:
    """The rows of parquet files with the columns `task.columns`, under the names that these have in the harness, in
    memory, in the order of the files. Labels that are names of classes become their numbers.

    Raises FileNotFoundError if a file is not there, ValueError if one is unreadable, lacks a column, has no rows, a
    null, text that is no UTF-8, a column of texts that are all blank, a label outside [0, num_labels) or (SQuAD v1.1) a
    question without answer, an answer that is blank or outside its context, more than one answer in a hundred that is
    not at its answer_start, or an id that occurs twice.
    """
    for path in paths:
        _raise_for_problems(path, forms_of(task))
        if problems := row_problems(path, task):
            raise ValueError("\n".join(problems))
    tables = [_read(path, [*forms_of(task)]) for path in paths]
    return _dataset(pa.concat_tables([_numbered(table.rename_columns([*task.columns]), task) for table in tables]))


def _numbered(table: pa.Table, task: Task) -> pa.Table:
    """Labels that are names of classes as their numbers."""
    place = table.schema.get_field_index("label") if task.label_names else -1
    if place < 0 or pa.types.is_integer(table.schema.field(place).type):
        return table
    names = pa.array(task.label_names, table.schema.field(place).type)
    return table.set_column(place, "label", pc.index_in(table.column(place), value_set=names).cast(pa.int64()))


def load_corpus(folder: Path | str, split: str, *, cache_dir: Path | str | None = None) -> datasets.Dataset:
    """One corpus split of a folder, as `read_articles` gives it. Raises ValueError for another split's name."""
    if split not in CORPUS_SPLITS:
        raise ValueError(f"corpus split {split!r}: expected one of {', '.join(CORPUS_SPLITS)}.")
    return read_articles([Path(folder) / "corpus" / f"{split}.parquet"], cache_dir=cache_dir)


def read_articles(
    paths: Sequence[Path], *, cache_dir: Path | str | None = None, stops: StopFlag = NEVER
) -> datasets.Dataset:
    """An article per row, with the columns title and text, in the order of the files.

    cache_dir: None reads them into memory; a folder keeps an Arrow copy there and maps it, for a corpus larger than
    memory. Raises FileNotFoundError if a file is not there, ValueError as `read_rows`, and what `stops` raises.
    """
    for path in stops.over(paths, "files of articles checked"):
        _raise_for_problems(path, CORPUS_FORMS)
        if problems := article_problems(path):
            raise ValueError("\n".join(problems))
    if cache_dir is None:
        return _dataset(pa.concat_tables([_read(path, CORPUS_COLUMNS) for path in paths]))
    return map_parquet(paths, Path(cache_dir), stops, columns=CORPUS_COLUMNS)


def map_parquet(
    paths: Sequence[Path], cache: Path, stops: StopFlag = NEVER, columns: Sequence[str] | None = None
) -> datasets.Dataset:
    """The rows of parquet files of one schema, in their order, mapped from an Arrow copy in the folder `cache`.

    The copy is made once: whoever chose the folder knows that the files are the same at every call. columns: None means
    all. Raises ValueError where rows cannot be read, and what `stops` raises, between two batches of rows.
    """
    import datasets
    from datasets.arrow_writer import ArrowWriter

    copy = copy_of(paths, cache, columns)
    if not copy.exists():
        schema = pq.read_schema(paths[0])
        found = datasets.Features.from_arrow_schema(schema)
        features = datasets.Features({name: found[name] for name in columns or schema.names})
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = copy.with_suffix(".unfinished")
        with ArrowWriter(features=features, path=str(unfinished)) as writer:
            for path in paths:
                with _reading_rows(path) as file:
                    batches = file.iter_batches(ROWS_AT_A_TIME, columns=[*features])
                    for batch in stops.over(batches, f"batches of rows of {path.name}"):
                        writer.write_table(pa.Table.from_batches([batch]))
            writer.finalize()
        unfinished.replace(copy)
    return datasets.Dataset.from_file(str(copy))


def copy_of(paths: Sequence[Path], cache: Path, columns: Sequence[str] | None = None) -> Path:
    """The file in `cache` that `map_parquet` makes of them; it is there once it is whole."""
    return cache / f"{sha256_of([[str(path) for path in paths], columns])[:16]}.arrow"


@contextmanager
def _reading_rows(path: Path) -> Iterator[pq.ParquetFile]:
    """The opened file, named when the reader fails on damaged pages. Errors of the system pass as they are.

    Neither buffered ahead, where the reader keeps all that it has read until the file is closed, nor a column of a row
    group at once: pandas writes a million rows as one group.
    """
    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(
            f"{path}: its rows cannot be read ({' '.join(str(error).split())}). Write the file again."
        ) from error


def _dataset(table: pa.Table) -> datasets.Dataset:
    import datasets

    return datasets.Dataset(table.replace_schema_metadata(None))


def file_problems(path: Path, forms: Forms) -> list[str]:
    """What is wrong with a file that exists, from its footer. forms: of the columns that it must have."""
    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError) as error:
        return [f"{path}: not readable as parquet ({error}). Write the file again."]
    schema = metadata.schema.to_arrow_schema()
    problems = []
    missing = [column for column in forms if column not in schema.names]
    if missing:
        problems.append(
            f"{path}: missing columns {', '.join(missing)}. Found {', '.join(schema.names)}; expected "
            f"{', '.join(forms)}. Rename the columns to the hub's names."
        )
    for column, form in forms.items():
        times = schema.names.count(column)
        if times > 1:
            often = "twice" if times == 2 else f"{times} times"
            problems.append(f"{path}: column {column} occurs {often}; expected it once. Keep one of them.")
        elif times and not form.has_type(schema.field(column).type):
            problems.append(
                f"{path}: column {column} is {schema.field(column).type}; expected {form.expected}. Convert it and "
                "write the file again."
            )
    if metadata.num_rows == 0:
        problems.append(f"{path}: has no rows; expected at least one. Write the split again.")
    return problems


def _raise_for_problems(path: Path, forms: Forms) -> None:
    if not path.is_file():
        found = _standing_at(path)
        what = f"is {found}" if found else "not found"
        raise FileNotFoundError(f"{path}: {what}. Expected parquet with {_columns([*forms])}.")
    problems = file_problems(path, forms)
    if problems:
        raise ValueError("\n".join(problems))


def _read(path: Path, columns: Sequence[str]) -> pa.Table:
    with _reading_rows(path) as file:
        return file.read(columns=list(columns))
