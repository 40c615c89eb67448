"""A task as a file: its form in TOML, read and checked whole, every problem at once.

name = "reviews"                            # and the folder of its data
kind = "classification"                     # or regression, extractive-qa
labels = ["bad", "good"]                    # of a classification: the names of classes 0, 1, ..
metrics = ["accuracy", "f1"]                # the first is the one that counts

[columns]                                   # as the data call them
text = ["title", "body"]                    # one or two; of extractive-qa question, context, answers and id instead
label = "stars"

[splits]                                    # may be left out
train = "train"
evaluation = ["validation"]
optional = []                               # of these those that a folder may lack

[hub]                                       # where --data hub finds it; may be left out
path = "somebody/reviews"
config = "default"
revision = "40 hexadecimal digits"

[settings]                                  # where a recipe gives no task.NAME.KEY; may be left out
max_length = 128
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import Problem, Problems, UsageError, system_problem, unknown
from harness.identity import MOST_NAME_LETTERS, is_commit
from harness.task_files.task import CLASSIFICATION, EXTRACTIVE_QA, HEADS, REGRESSION, Task, TaskHead
from harness.wording import option, shown

OPTION = "task-file"
KEYS = ("name", "description", "kind", "labels", "metrics", "columns", "splits", "hub", "settings")
SPLIT_KEYS = ("train", "evaluation", "optional")
HUB_KEYS = ("path", "config", "revision")
# [columns] by kind: key -> the name that the harness has for the column; text is a list of columns.
COLUMN_KEYS: Mapping[str, Mapping[str, str]] = {
    CLASSIFICATION.name: {"text": "", "label": "label"},
    REGRESSION.name: {"text": "", "label": "score"},
    EXTRACTIVE_QA.name: {"id": "id", "question": "question", "context": "context", "answers": "answers"},
}
_COMMON = {"max_length": 128, "train_examples": 0, "train_subset_seed": 0}
# The data settings of a task that gives none: those of the authors' GLUE and SQuAD examples.
SETTINGS: Mapping[str, Mapping[str, int]] = {
    CLASSIFICATION.name: _COMMON,
    REGRESSION.name: _COMMON,
    EXTRACTIVE_QA.name: {
        **_COMMON,
        "max_length": 384,
        "doc_stride": 128,
        "max_query_length": 64,
        "n_best": 20,
        "max_answer_length": 30,
    },
}
_LEAST = {"max_length": 5, "max_query_length": 1, "n_best": 1, "max_answer_length": 1}  # else 0
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{MOST_NAME_LETTERS - 1}}}")  # no dot: it stands in recipe keys
_SPLIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # a file's name
_NO_TASKS = ("corpus", "average")  # a folder of the data, and a panel of figures


def read_shipped(folder: Path) -> list[Task]:
    """The tasks that come with the package."""
    return [parse_task(path.read_text(encoding="utf-8"), path.name) for path in sorted(folder.glob("*.toml"))]


def read_task_files(paths: Iterable[Path], known: Mapping[str, Task]) -> dict[str, Task]:
    """The tasks of these files, by name. known: tasks whose names are taken.

    Raises UsageError with every problem of all of them.
    """
    problems, found = Problems(), dict[str, Task]()
    reported = {name for task in known.values() for _, name in task.evaluation_splits}
    for path in dict.fromkeys(paths):
        task: Task | None = problems.attempt(partial(read_task_file, path), None, OPTION)
        if task is None:
            continue
        own = [name for _, name in task.evaluation_splits]
        if task.name in known:
            problems.add(_taken(path, f"{task.name!r} is a shipped task (harness ls tasks)"), OPTION)
        elif task.name in found:
            problems.add(_taken(path, f"{task.name!r} is the name of another task file too"), OPTION)
        elif clash := sorted({task.name, *own} & reported):
            problems.add(_taken(path, f"{clash[0]!r} is a reported name of another task"), OPTION)
        else:
            found[task.name] = task
            reported.update(own)
    problems.check()
    return found


def _taken(path: Path, what: str) -> Problem:
    return Problem(f"{option(OPTION)} {path}: name: {what}", next_move="Give the task a name of its own.")


def read_task_file(path: Path) -> Task:
    """Raises UsageError with every problem of the file."""
    where = f"{option(OPTION)} {path}"
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(Problem(f"{where} is not UTF-8 text (byte {error.start})", OPTION)) from None
    except OSError as error:
        raise UsageError(Problem(f"{option(OPTION)} {system_problem(error)}", OPTION)) from None
    return parse_task(text, where)


def parse_task(text: str, where: str) -> Task:
    """A task from TOML text. where: what names it in a sentence. Raises UsageError with every problem."""
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of TOML, or of a number of thousands of digits
        form = "docs/new-task.md has the form."
        raise UsageError(Problem(f"{where} is no TOML ({error})", OPTION, next_move=form)) from None
    reader = _Reader(where)
    task = reader.task(tree)
    reader.problems.check()
    assert task is not None
    return task


class _Reader:
    """Reads a task's tree; what is wrong is noted, and a harmless value stands in its place."""

    def __init__(self, where: str) -> None:
        self.where, self.problems = where, Problems()

    def task(self, tree: Mapping[str, Any]) -> Task | None:
        self._known("", tree, KEYS)
        if "description" in tree:
            self._text("description", tree["description"])
        name, head = self._name(tree), self._head(tree)
        labels = self._labels(tree, head)
        metrics = self._metrics(tree, head, labels)
        text, renamed = self._columns(tree, head)
        train, evaluation, optional = self._splits(self._table(tree, "splits"))
        hub = self._hub(tree)
        settings = self._settings(self._table(tree, "settings"), head)
        if self.problems.found or head is None:
            return None
        reported = [(split, name if number == 0 else f"{name}-{split}") for number, split in enumerate(evaluation)]
        return Task(
            name=name,
            head=head,
            text_columns=text,
            column_names=renamed,
            label_names=labels,
            metrics=metrics,
            train_split=train,
            evaluation_splits=tuple(reported),
            optional_splits=optional,
            hub_path=hub.get("path", ""),
            hub_name=hub.get("config", ""),
            hub_revision=hub.get("revision", ""),
            is_declared=True,
            settings=tuple(settings.items()),
        )

    def _name(self, tree: Mapping[str, Any]) -> str:
        name = tree.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            words = f"at most {MOST_NAME_LETTERS} letters, digits, '_' and '-', starting with a letter or digit"
            self._note(*_found(tree, "name"), words, "It names the task and the folder of its data.")
            return ""
        if name in _NO_TASKS:
            self._note(f"name = {name!r}: it means something else", next_move="Give the task a name of its own.")
        return name

    def _head(self, tree: Mapping[str, Any]) -> TaskHead | None:
        heads = {head.name: head for head in HEADS}
        kind = tree.get("kind")
        if not isinstance(kind, str):
            self._note(*_found(tree, "kind"), f"one of {', '.join(heads)}")
        elif kind not in heads:
            self.problems.add(unknown("kind", kind, heads, where=f"{self.where}: "), OPTION)
        return heads.get(kind) if isinstance(kind, str) else None

    def _labels(self, tree: Mapping[str, Any], head: TaskHead | None) -> tuple[str, ...]:
        if head is not None and head != CLASSIFICATION:
            if "labels" in tree:
                self._note(f"labels: a task of kind {head.name} has none", next_move="Take the line away.")
            return ()
        if head is None and "labels" not in tree:
            return ()
        labels = self._names("labels", tree.get("labels"), "the names of classes 0, 1, .. as a list of texts")
        if len(labels) == 1:
            self._note(f"labels = {list(labels)!r}", "two classes or more")
        return labels

    def _metrics(self, tree: Mapping[str, Any], head: TaskHead | None, labels: tuple[str, ...]) -> tuple[str, ...]:
        known = (
            head.metrics if head is not None else tuple(dict.fromkeys(name for each in HEADS for name in each.metrics))
        )
        metrics = self._names("metrics", tree.get("metrics"), f"a list of {', '.join(known)}")
        for metric in metrics:
            if metric not in known:
                kind = f" of kind {head.name}" if head is not None else ""
                self.problems.add(unknown(f"metric{kind}", metric, known, where=f"{self.where}: "), OPTION)
        if head == CLASSIFICATION and "f1" in metrics and len(labels) > 2:
            self._note(
                f"metrics: f1 is of two classes, and there are {len(labels)} labels",
                next_move="Name accuracy or matthews.",
            )
        return metrics

    def _columns(
        self, tree: Mapping[str, Any], head: TaskHead | None
    ) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
        """The text columns as the harness names them, and (name, column of the data) where these differ."""
        if "columns" not in tree:
            self._note("[columns] is missing", next_move="Name the columns of the data, as docs/new-task.md does.")
            return (), ()
        given = self._table(tree, "columns")
        if head is None:
            return (), ()
        keys = COLUMN_KEYS[head.name]
        self._known("columns.", given, keys)
        columns: dict[str, str] = {}
        for key, own in keys.items():
            if own and (key in given or key != own or "text" in keys):
                columns[own] = self._text(f"columns.{key}", given.get(key), f'the column\'s name, as {key} = "{key}"')
            elif own:
                columns[own] = own
        text: tuple[str, ...] = ("question", "context")
        if "text" in keys:
            text = self._names("columns.text", given.get("text"), "one column or two, as a list of texts")
            if len(text) > 2:
                self._note(f"columns.text has {len(text)} columns", "one or two")
            if taken := sorted(set(text) & columns.keys()):
                self._note(
                    f"columns.text: {taken[0]!r} is what the harness calls the label",
                    next_move="Rename that column of the data.",
                )
        every = [*columns.values(), *(text if "text" in keys else ())]
        if twice := sorted({column for column in every if column and every.count(column) > 1}):
            self._note(f"columns: {', '.join(map(repr, twice))} is named more than once", "a column for each")
        return text, tuple((own, column) for own, column in columns.items() if own != column)

    def _splits(self, given: Mapping[str, Any]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        self._known("splits.", given, SPLIT_KEYS)
        train = self._text("splits.train", given.get("train", "train"))
        evaluation = self._names(
            "splits.evaluation", given.get("evaluation", ["validation"]), "a list of names of splits"
        )
        optional: tuple[str, ...] = ()
        if given.get("optional"):
            optional = self._names("splits.optional", given["optional"], "a list of names of splits")
        for split in (train, *evaluation):
            if split and not _SPLIT.fullmatch(split):
                self._note(f"splits: {split!r}", "letters, digits, '.', '_' and '-': it is a file's name too")
        if train in evaluation:
            self._note(f"splits: {train!r} is trained on and scored", "other examples to score")
        if strange := [split for split in optional if split not in evaluation]:
            self._note(f"splits.optional: {strange[0]!r} is not among splits.evaluation")
        if evaluation and set(optional) >= set(evaluation):
            self._note("splits.optional has every evaluation split", "one that is always there")
        return train, evaluation, optional

    def _hub(self, tree: Mapping[str, Any]) -> dict[str, str]:
        if "hub" not in tree:
            return {}
        given = self._table(tree, "hub")
        self._known("hub.", given, HUB_KEYS)
        found = {key: self._text(f"hub.{key}", given.get(key), "a text") for key in HUB_KEYS}
        if found["revision"] and not is_commit(found["revision"]):
            self._note(
                f"hub.revision = {found['revision']!r}",
                "the 40 hexadecimal digits of a commit",
                "The hub shows them under Files and versions.",
            )
        return found

    def _settings(self, given: Mapping[str, Any], head: TaskHead | None) -> dict[str, int]:
        known = SETTINGS[head.name if head is not None else EXTRACTIVE_QA.name]
        self._known("settings.", given, known)
        found = dict(known)
        for key in given.keys() & known.keys():
            least = _LEAST.get(key, 0)
            if type(given[key]) is not int or given[key] < least:
                self._note(f"settings.{key} = {shown(given[key])}", f"a whole number, {least} or more")
            else:
                found[key] = given[key]
        return found

    def _table(self, tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        given = tree.get(key, {})
        if isinstance(given, dict):
            return given
        self._note(f"{key} = {shown(given)}", f"a table [{key}]")
        return {}

    def _names(self, key: str, given: Any, expected: str) -> tuple[str, ...]:
        """A list of texts, each once."""
        texts = given if isinstance(given, list) else []
        if not texts or not all(isinstance(each, str) and each.strip() for each in texts):
            self._note(f"{key} is missing" if given is None else f"{key} = {shown(given)}", expected)
            return ()
        if twice := [each for each in dict.fromkeys(given) if given.count(each) > 1]:
            self._note(f"{key}: {', '.join(map(repr, twice))} stands there more than once", "each once")
        return tuple(dict.fromkeys(given))

    def _text(self, key: str, given: Any, expected: str = "a text") -> str:
        if isinstance(given, str) and given.strip():
            return given
        self._note(f"{key} is missing" if given is None else f"{key} = {shown(given)}", expected)
        return ""

    def _known(self, prefix: str, tree: Mapping[str, Any], known: Iterable[str]) -> None:
        names = [f"{prefix}{key}" for key in known]
        for key in tree:
            if f"{prefix}{key}" not in names:
                self.problems.add(unknown("key", f"{prefix}{key}", names, where=f"{self.where}: "), OPTION)

    def _note(self, found: str, expected: str | None = None, next_move: str | None = None) -> None:
        self.problems.add(Problem(f"{self.where}: {found}", OPTION, expected, next_move))


def _found(tree: Mapping[str, Any], key: str) -> tuple[str]:
    return (f"{key} is missing" if key not in tree else f"{key} = {shown(tree[key])}",)
