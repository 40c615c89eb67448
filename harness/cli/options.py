"""The options of a grid from the words of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

from harness.errors import Problem, Problems
from harness.grids.options import GridOptions, read_options, read_value, split_words
from harness.wording import option


def options_from_args(arguments: argparse.Namespace, problems: Problems) -> GridOptions:
    """What the command line gives, read. An option that the verb lacks is one that was not given.

    An axis that is given several times adds up.
    """
    given = {each.name: vars(arguments).get(each.name) for each in fields(GridOptions)}
    for name, texts in given.items():
        if name in _ASSIGNMENTS:
            given[name] = _ASSIGNMENTS[name](texts or (), problems)
        elif isinstance(texts, list):
            given[name] = ",".join(texts)
    return read_options(given, problems)


def repeated(arguments: argparse.Namespace) -> list[str]:
    """A sentence for every KEY that was given several values."""
    found = []
    for name in ("set", "resource"):
        values: dict[str, list[str]] = {}
        for text in vars(arguments).get(name) or ():
            key, _, value = (part.strip() for part in text.partition("="))
            values.setdefault(key, []).append(value)
        for key, given in values.items():
            if len({*given}) > 1:
                times = "twice" if len(given) == 2 else f"{len(given)} times"
                found.append(f"{option(name)} {key}: given {times}; {given[-1]} counts.")
    return found


def _settings(texts: Iterable[str], problems: Problems) -> dict[str, Any]:
    """Of assignments to one key the last counts, so that a command may be repeated with another value at its end."""
    form = "KEY=VALUE, for example transfer.learning_rate=1e-4"
    return {key: read_value(value) for key, value in _assigned("set", texts, form, problems)}


def _resources(texts: Iterable[str], problems: Problems) -> dict[str, Any]:
    form = "KEY=VALUE, for example checkpoint_minutes=5"
    return {key: read_value(value) for key, value in _assigned("resource", texts, form, problems)}


def _folders(texts: Iterable[str], problems: Problems) -> dict[str, str]:
    words = [word for text in texts for word in split_words(text)]
    name = option("sparse-from")
    found: dict[str, str] = {}
    for key, folder in _assigned("sparse-from", words, "NAME=DIR", problems):
        if not folder:
            problems.add(Problem(f"{name} {key}=", "sparse-from", expected="NAME=DIR"))
        elif key in found:
            twice = f"{name}: {key!r} is given twice"
            problems.add(Problem(twice, "sparse-from", next_move="Give each folder its own NAME."))
        else:
            found[key] = folder
    return found


def _assigned(name: str, texts: Iterable[str], form: str, problems: Problems) -> list[tuple[str, str]]:
    """(KEY, VALUE) of each text; one of another form is a problem and left out."""
    found = []
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if equals and key:
            found.append((key, value))
        else:
            problems.add(Problem(f"{option(name)} {text}", name, expected=form))
    return found


_ASSIGNMENTS: Mapping[str, Callable[[Iterable[str], Problems], Any]] = {
    "task_file": lambda texts, problems: list(texts),
    "set": _settings,
    "sparse_from": _folders,
    "resource": _resources,
}
