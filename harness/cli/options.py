"""The options of a grid from the words of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

from harness.errors import Problems
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


def _settings(texts: Iterable[str], problems: Problems) -> dict[str, Any]:
    form = "KEY=VALUE, for example transfer.learning_rate=1e-4"
    return {key: read_value(value) for key, value in _assigned("set", texts, form, problems).items()}


def _resources(texts: Iterable[str], problems: Problems) -> dict[str, Any]:
    form = "KEY=VALUE, for example checkpoint_minutes=5"
    return {key: read_value(value) for key, value in _assigned("resource", texts, form, problems).items()}


def _folders(texts: Iterable[str], problems: Problems) -> dict[str, str]:
    words = [word for text in texts for word in split_words(text)]
    found = _assigned("sparse-from", words, "NAME=DIR", problems)
    for name in [name for name, folder in found.items() if not folder]:
        problems.add(f"{option('sparse-from')} {name}=: expected NAME=DIR.", "sparse-from")
        del found[name]
    return found


def _assigned(name: str, texts: Iterable[str], form: str, problems: Problems) -> dict[str, str]:
    """KEY -> VALUE. A text of another form, and a key that was given before, is a problem."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (equals and key):
            problems.add(f"{option(name)} {text}: expected {form}.", name)
        elif key in found:
            once = "give each folder its own NAME" if name == "sparse-from" else "give it once"
            problems.add(f"{option(name)}: {key!r} is given twice; {once}.", name)
        else:
            found[key] = value
    return found


_ASSIGNMENTS: Mapping[str, Callable[[Iterable[str], Problems], dict[str, Any]]] = {
    "set": _settings,
    "sparse_from": _folders,
    "resource": _resources,
}
