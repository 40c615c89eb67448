"""The options of a grid as values. Both surfaces fill them in: the command line from text, `harness.api` from Python.

Text is read once, here. A value that Python gives stays what it is.
"""

from __future__ import annotations

import json
import numbers
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import Problem, Problems
from harness.wording import option

ModelChoice = tuple[str, Path | None]  # an alias of the catalogue (None), or the name of a folder in the hub's layout


@dataclass(frozen=True, kw_only=True)
class GridOptions:
    """What shapes a grid: a field for each option of `harness grid` but those that say how it runs.

    The types hold; `read_request` checks what the values mean. None: not given, then the preset's value counts.
    set: by recipe key. resource: by key, as in `RESOURCES`. max_gpu_hours: above 0.
    """

    models: tuple[ModelChoice, ...] | None = None
    methods: tuple[str, ...] | None = None
    sparsities: tuple[float, ...] | None = None
    tasks: tuple[str, ...] | None = None
    quantization: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    pruning_seeds: tuple[int, ...] = (0,)
    preset: str = "paper"
    data: str | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    sparse_from: Mapping[str, Path] = field(default_factory=dict)
    study: str | None = None
    resource: Mapping[str, Any] = field(default_factory=dict)
    max_gpu_hours: float | None = None


def read_options(given: Mapping[str, Any], problems: Problems) -> GridOptions:
    """The options from what a surface was given, by field name; None counts as not given.

    An axis may be one value, several, or comma-separated text. What cannot be read is noted in `problems` and left out.
    """
    read = {name: _READERS[name](name, value, problems) for name, value in given.items() if value is not None}
    return GridOptions(**{name: value for name, value in read.items() if value is not None})


def split_words(text: str) -> list[str]:
    """Comma-separated words, stripped, without empty ones."""
    return [word.strip() for word in text.split(",") if word.strip()]


def read_models(words: Iterable[Any], problems: Problems) -> tuple[ModelChoice, ...]:
    """ALIAS or NAME=DIR each; a word of another form is a problem and left out."""
    found: list[ModelChoice] = []
    for word in map(str, words):
        alias, equals, folder = word.partition("=")
        if equals and not (alias and folder):
            problems.add(Problem(f"model {word!r}", "models", expected="NAME=DIR"))
        else:
            found.append((alias, Path(folder) if equals else None))
    return tuple(found)


def read_number(kind: type, value: Any) -> Any:
    """The value, or what a text says, as `kind` (int or float). Raises ValueError: 2.5 is no int, True no number."""
    if isinstance(value, str):
        return kind(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Integral if kind is int else numbers.Real):
        raise ValueError(f"{value!r} is no {kind.__name__}.")
    return kind(value)


def read_value(text: str) -> Any:
    """What a text on the command line means as a value: JSON where it is some, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _words(values: Any) -> list[Any]:
    if isinstance(values, str):
        return split_words(values)
    return list(values) if isinstance(values, Iterable) else [values]


def _models(name: str, values: Any, problems: Problems) -> tuple[ModelChoice, ...] | None:
    """None where nothing was readable, here and below: what was given badly is not missing as well."""
    if isinstance(values, Mapping):
        return tuple((str(alias), Path(folder)) for alias, folder in values.items())
    words = _words(values)
    return read_models(words, problems) or (None if words else ())


def _names(name: str, values: Any, problems: Problems) -> tuple[str, ...]:
    return tuple(map(str, _words(values)))


def _numbers(kind: type, name: str, values: Any, problems: Problems) -> tuple[Any, ...] | None:
    words, found = _words(values), []
    for word in words:
        try:
            found.append(read_number(kind, word))
        except ValueError:
            expected = "a whole number" if kind is int else "a number"
            problems.add(Problem(f"{option(name)} {word}", name.replace("_", "-"), expected))
    return tuple(found) if found or not words else None


def _text(name: str, value: Any, problems: Problems) -> str:
    return str(value)


def _mapping(read: Callable[[Any], Any], name: str, values: Any, problems: Problems) -> dict[str, Any] | None:
    if isinstance(values, Mapping):
        return {str(key): read(value) for key, value in values.items()}
    expected = "a mapping of names to values, as {'transfer.epochs': 2}"
    problems.add(Problem(f"{option(name)}={values!r}", name.replace("_", "-"), expected))
    return None


def _plain(value: Any) -> Any:
    """A number of another library, such as NumPy's, as Python's own; everything else as it is."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return value
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def _hours(name: str, value: Any, problems: Problems) -> float | None:
    try:
        hours = read_number(float, value)
    except ValueError:
        hours = -1.0
    if 0 < hours < float("inf"):
        return float(hours)
    problems.add(Problem(f"{option(name)} {value}", name.replace("_", "-"), "a number of hours above 0"))
    return None


_READERS: Mapping[str, Callable[[str, Any, Problems], Any]] = {
    "models": _models,
    "methods": _names,
    "sparsities": partial(_numbers, float),
    "tasks": _names,
    "quantization": _names,
    "seeds": partial(_numbers, int),
    "pruning_seeds": partial(_numbers, int),
    "preset": _text,
    "data": _text,
    "set": partial(_mapping, _plain),
    "sparse_from": partial(_mapping, Path),
    "study": _text,
    "resource": partial(_mapping, _plain),
    "max_gpu_hours": _hours,
}
