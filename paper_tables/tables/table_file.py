"""TableFile: a table as data. Which rows and columns it has, in TOML; checked whole, every problem at once.

The form is in docs/tables.md. What stands in the cells is `build`'s concern.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from harness.errors import Problem, Problems, UsageError, system_problem, unknown
from harness.planning.method_summary import TRANSFER_KD
from harness.specs import sparsity_problem
from harness.tasks import TASKS
from harness.wording import shown
from paper_tables.numbers.published import verified_numbers
from paper_tables.tables.measures import MEASURES

SHIPPED = Path(__file__).with_name("shipped")
KEYS = ("title", "description", "columns", "layout", "rows", "footnotes")
LAYOUTS = ("lines", "pairs")  # pairs: two lines that differ in one setting, and their difference
ALL = "all"
STUDY, PUBLISHED = "study", "published"
ROW_KEYS = ("model", "method", "sparsity", "kd", "bits")
ONLY_PUBLISHED = ("source", "without")
FOOTNOTE_KEYS = ("text", "at", "on")
ON = ("ours", "paper")
BITS = (8, 32)


@dataclass(frozen=True)
class Column:
    """A task's metric, or one of `MEASURES`."""

    task: str = ""
    metric: str = ""
    measure: str = ""


@dataclass(frozen=True)
class Choice:
    """Which rows: values by key, any of them will do; a key that is not here is free.

    source: STUDY or PUBLISHED. without: texts that no published method chosen by it has in its name.
    """

    values: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    source: str = STUDY
    without: tuple[str, ...] = ()

    @property
    def is_line(self) -> bool:
        """Whether it is one line of ours, which is printed whether or not the study has it."""
        return self.source == STUDY and all(len(self.values.get(key, ())) == 1 for key in ROW_KEYS)

    def holds(self, **found: Any) -> bool:
        """Whether a row of these values is among those chosen."""
        return all(found[key] in values for key, values in self.values.items()) and not any(
            text in found["method"] for text in self.without
        )


@dataclass(frozen=True)
class Footnote:
    """text: said of the cells of `rows` in `column` (None: in all), at our number or at the paper's."""

    text: str
    rows: Choice
    column: Column | None
    on: str


@dataclass(frozen=True)
class TableFile:
    """columns: None: those that its rows have. layout: one of `LAYOUTS`."""

    name: str
    title: str
    description: str
    rows: tuple[Choice, ...]
    columns: tuple[Column, ...] | None = None
    layout: str = "lines"
    footnotes: tuple[Footnote, ...] = ()


def shipped_names() -> list[str]:
    """Of the tables that come with the package, the paper's first."""
    return sorted((path.stem for path in SHIPPED.glob("*.toml")), key=lambda name: (not name.startswith("table"), name))


def load_table_file(name: str) -> TableFile:
    """A shipped table by its name, or FILE.toml. Raises UsageError with every problem of it."""
    if not name.endswith(".toml"):
        if name not in shipped_names():
            asked = unknown("table", name, shipped_names())
            raise UsageError(Problem(asked.found, "table", next_move=f"{asked.next_move} A file of yours: FILE.toml."))
        return _load(SHIPPED / f"{name}.toml")
    return _load(Path(name))


def table_text(name: str) -> str:
    """The text of a table file that was found to be sound. Raises as `load_table_file` does."""
    load_table_file(name)
    return (Path(name) if name.endswith(".toml") else SHIPPED / f"{name}.toml").read_text(encoding="utf-8")


def load_table_files(names: Iterable[str]) -> list[TableFile]:
    """Those of these names, "all" for every shipped one. Raises UsageError with the problems of all of them."""
    problems = Problems()
    wanted = [each for name in names for each in (shipped_names() if name == ALL else [name])]
    found = [problems.attempt(partial(load_table_file, name), None) for name in dict.fromkeys(wanted)]
    stems = Counter(file.name for file in found if file is not None)
    for name, count in stems.items():
        if count > 1:
            problems.add(Problem(f"{count} tables are named {name}", "table", next_move="Rename a file."))
    problems.check()
    return [file for file in found if file is not None]


def _load(path: Path) -> TableFile:
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(Problem(f"table {path}: {system_problem(error)}", "table")) from None
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, or of a number of thousands of digits
        raise UsageError(
            Problem(f"table {path} is no TOML ({error})", "table", next_move="harness ls tables table-1 prints one.")
        ) from None
    return parse_table_file(tree, path.stem, where=f"table {path}: ")


def parse_table_file(tree: Mapping[str, Any], name: str, *, where: str = "") -> TableFile:
    """Raises UsageError with every problem, each led by `where`."""
    reader = _Reader(where)
    found = reader.table(tree, name)
    reader.problems.check()
    return found


@cache
def known_columns() -> tuple[tuple[str, str], ...]:
    """(task, metric) of every split that a task is scored on."""
    return tuple(
        (reported_as, metric)
        for task in TASKS.values()
        for _, reported_as in task.evaluation_splits
        for metric in task.metrics
    )


class _Reader:
    """Reads a table's tree; what is wrong is noted, and a harmless value stands in its place."""

    def __init__(self, where: str) -> None:
        self.where, self.problems = where, Problems()

    def table(self, tree: Mapping[str, Any], name: str) -> TableFile:
        self._known(tree, KEYS)
        rows = tuple(self._choice(row, f"rows {n}: ") for n, row in self._tables(tree, "rows"))
        if not rows:
            self._note("rows is missing", next_move="Give one [[rows]] or more; an empty one takes every cell.")
        return TableFile(
            name=name,
            title=self._text(tree, "title", required=True),
            description=self._text(tree, "description", required=True),
            rows=rows,
            columns=self._columns(tree),
            layout=self._one_of(tree, "layout", LAYOUTS, "lines"),
            footnotes=tuple(self._footnote(note, f"footnotes {n}: ") for n, note in self._tables(tree, "footnotes")),
        )

    def _columns(self, tree: Mapping[str, Any]) -> tuple[Column, ...] | None:
        if "columns" not in tree:
            return None
        given = tree["columns"]
        if not isinstance(given, list) or not given:
            self._note(f"columns = {shown(given)}", expected='a list of columns, as ["squad f1", "file_bytes"]')
            return None
        columns = tuple(self._column(each, "") for each in given)
        for column in dict.fromkeys(columns):
            if columns.count(column) > 1 and column != Column():
                self._note(f"column {_column_name(column)!r} stands {columns.count(column)} times in columns")
        return columns

    def _column(self, text: Any, where: str) -> Column:
        names = [*(" ".join(column) for column in known_columns()), *MEASURES]
        if not isinstance(text, str):
            self._note(f"{where}column {shown(text)}", expected='a text, as "squad f1"')
        elif text in MEASURES:
            return Column(measure=text)
        elif text in names:
            task, metric = text.split()
            return Column(task, metric)
        else:
            self.problems.add(unknown("column", text, names, where=f"{self.where}{where}"), "table")
        return Column()

    def _footnote(self, note: Mapping[str, Any], where: str) -> Footnote:
        rows = {key: value for key, value in note.items() if key not in FOOTNOTE_KEYS}
        return Footnote(
            text=self._text(note, "text", where=where, required=True),
            rows=self._choice(rows, where, (*FOOTNOTE_KEYS, *ROW_KEYS)),
            column=self._column(note["at"], where) if "at" in note else None,
            on=self._one_of(note, "on", ON, "paper", where),
        )

    def _choice(self, row: Mapping[str, Any], where: str, known: Sequence[str] = ()) -> Choice:
        before = len(self.problems.found)
        source = self._one_of(row, "from", (STUDY, PUBLISHED), STUDY, where)
        keys = (*ROW_KEYS, *ONLY_PUBLISHED) if source == PUBLISHED else ROW_KEYS
        self._known(row, known or ("from", *keys), where)
        values = {key: self._values(key, row[key], where) for key in keys if key in row and key != "without"}
        without = row.get("without", [])
        if not (isinstance(without, list) and all(isinstance(text, str) and text for text in without)):
            self._note(f"{where}without = {shown(without)}", expected="a list of texts")
            without = []
        choice = Choice(values, source, tuple(without))
        if source == PUBLISHED and len(self.problems.found) == before:
            self._some_published(choice, where)
        return choice

    def _some_published(self, choice: Choice, where: str) -> None:
        """Notes a choice that no published number belongs to: what is typed there is checked against the numbers."""
        found = False
        for key in ("source", "model", "method"):
            known = {published_keys(number)[key] for number in verified_numbers()}
            for value in choice.values.get(key, ()):
                if value not in known:
                    found = True
                    self.problems.add(unknown(key, value, known, where=f"{self.where}{where}"), "table")
        if not found and not any(choice.holds(**published_keys(n)) for n in verified_numbers()):
            self._note(f"{where}no published number has all of these", next_move="Leave one of them out.")

    def _values(self, key: str, given: Any, where: str) -> tuple[Any, ...]:
        values = given if isinstance(given, list) else [given]
        if not values:
            self._note(f"{where}{key} = []", expected="a value, or a list of them; leave the key out for any")
        for value in values:
            if problem := _value_problem(key, value):
                self._note(f"{where}{key} = {shown(value)}", expected=problem)
        return tuple(values)

    def _tables(self, tree: Mapping[str, Any], key: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
        given = tree.get(key, [])
        if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
            self._note(f"{key} = {shown(given)}", expected=f"[[{key}]] tables")
            return
        yield from enumerate(given, 1)

    def _text(self, tree: Mapping[str, Any], key: str, *, where: str = "", required: bool = False) -> str:
        if key not in tree and required:
            self._note(f"{where}{key} is missing", next_move=f'Give one: {key} = "..".')
        value = tree.get(key, "")
        if key in tree and not (isinstance(value, str) and value.strip()):
            self._note(f"{where}{key} = {shown(value)}", expected="a text")
        return str(value)

    def _one_of(self, tree: Mapping[str, Any], key: str, known: Sequence[str], otherwise: str, where: str = "") -> str:
        value = tree.get(key, otherwise)
        if value in known:
            return str(value)
        self._note(f"{where}{key} = {shown(value)}", expected=" or ".join(f'"{name}"' for name in known))
        return otherwise

    def _known(self, tree: Mapping[str, Any], known: Sequence[str], where: str = "") -> None:
        for key in tree:
            if key not in known:
                self.problems.add(unknown("key", key, known, where=f"{self.where}{where}"), "table")

    def _note(self, found: str, *, expected: str | None = None, next_move: str | None = None) -> None:
        self.problems.add(Problem(f"{self.where}{found}", "table", expected, next_move))


def published_keys(number: Any) -> dict[str, Any]:
    """A published number as `Choice.holds` takes it. bits: of weights and activations; None where they differ."""
    same = number.weight_bits == number.activation_bits
    return {
        "source": number.paper_table,
        "model": number.model,
        "method": number.method,
        "sparsity": number.sparsity,
        "kd": number.transfer_kd,
        "bits": number.weight_bits if same else None,
    }


def _value_problem(key: str, value: Any) -> str | None:
    """What was expected instead; None for a value that the key takes."""
    if key == "sparsity":
        is_number = type(value) in (int, float)
        problem = sparsity_problem(value) if is_number else Problem("", expected="a fraction in [0, 1)")
        return None if problem is None else problem.expected
    if key == "bits":
        return None if type(value) is int and value in BITS else "32 or 8"
    if key == "kd":
        return None if value in TRANSFER_KD else " or ".join(f'"{name}"' for name in TRANSFER_KD)
    return None if isinstance(value, str) and value.strip() else "a name"


def _column_name(column: Column) -> str:
    return column.measure or f"{column.task} {column.metric}"
