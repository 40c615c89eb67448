"""The options of a grid as values. Both surfaces fill them in: the command line from text, `harness.api` from Python.

Text is read once, here. A value that Python gives stays what it is.
"""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import Problem, Problems
from harness.identity import parse_json
from harness.wording import MOST_CHARACTERS, option, shown

MOST_BITS = 256  # of a whole number; Python shows none of thousands of digits
ModelChoice = tuple[str, Path | None]  # an alias of the catalogue (None), or the name of a folder in the hub's layout


@dataclass(frozen=True, kw_only=True)
class GridOptions:
    """What shapes a grid: a field for each option of `harness grid` but those that say how it runs.

    The types hold; `read_request` checks what the values mean. None: not given, then the preset's value counts.
    task_file: those that declare tasks. measures: kinds of `MEASURES`. set: by recipe key. resource: by key, as in
    `RESOURCES`. max_gpu_hours: above 0.
    """

    models: tuple[ModelChoice, ...] | None = None
    methods: tuple[str, ...] | None = None
    sparsities: tuple[float, ...] | None = None
    tasks: tuple[str, ...] | None = None
    task_file: tuple[Path, ...] = ()
    quantization: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    pruning_seeds: tuple[int, ...] = (0,)
    preset: str = "paper"
    data: str | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    sparse_from: Mapping[str, Path] = field(default_factory=dict)
    study: str | None = None
    resource: Mapping[str, Any] = field(default_factory=dict)
    measures: tuple[str, ...] = ()
    max_gpu_hours: float | None = None


def read_options(given: Mapping[str, Any], problems: Problems) -> GridOptions:
    """The options from what a surface was given, by field name; None counts as not given.

    An axis may be one value, several, or comma-separated text. What cannot be read is noted in `problems` and left out.
    Raises UsageError for a preset that cannot be one, with what was noted until then.
    """
    if given.get("preset") is not None and _READERS["preset"]("preset", given["preset"], problems) is None:
        problems.check()  # whatever else there is to say depends on it
    read = {name: _READERS[name](name, value, problems) for name, value in given.items() if value is not None}
    return GridOptions(**{name: value for name, value in read.items() if value is not None})


def split_words(text: str) -> list[str]:
    """Comma-separated words, stripped, without empty ones."""
    return [word.strip() for word in text.split(",") if word.strip()]


def read_models(words: Iterable[Any], problems: Problems) -> tuple[ModelChoice, ...]:
    """ALIAS or NAME=DIR each; a word of another form is a problem and left out."""
    found: list[ModelChoice] = []
    for word in words:
        text = _path_text(word)
        if not text:
            problems.add(_wrong("models", word, "an alias, NAME=DIR, or a mapping of names to folders"))
            continue
        alias, equals, folder = text.partition("=")
        if equals and not (alias and folder):
            problems.add(Problem(f"model {text!r}", "models", expected="NAME=DIR"))
        else:
            found.append((alias, Path(folder) if equals else None))
    return tuple(found)


def read_names(name: str, values: Any, problems: Problems) -> tuple[str, ...]:
    """The names in comma-separated text, or in a sequence of texts, each once; what is none is a problem."""
    found = tuple(dict.fromkeys(_names(name, values, problems) or ()))
    if isinstance(values, str) and not found:
        problems.add(_wrong(name, values, "a name, or several with commas between them"))
    return found


def read_number(kind: type, value: Any) -> Any:
    """The value, or what a text says, as `kind` (int or float). Raises ValueError: 2.5 is no int, True no number."""
    wanted = (str, numbers.Integral if kind is int else numbers.Real)
    if isinstance(value, bool) or not isinstance(value, wanted):
        raise ValueError(f"{shown(value)} is no {kind.__name__}.")
    try:
        number = kind(value)
    except OverflowError:
        raise ValueError(f"{shown(value)} is too large.") from None
    if isinstance(number, int) and number.bit_length() > MOST_BITS:
        raise ValueError("it is too large.")
    return number


def read_text(name: str, value: Any, problems: Problems) -> str | None:
    """A text, or None with a problem."""
    if isinstance(value, str) and value:
        return value
    problems.add(_wrong(name, value, "a text that is not empty"))
    return None


def read_folder(name: str, value: Any, problems: Problems) -> Path | None:
    """A path of a folder, or None with a problem."""
    text = _path_text(value)
    if text and "\0" not in text:
        return Path(text)
    problems.add(_wrong(name, value, "the path of a folder"))
    return None


def _path_text(value: Any) -> str | None:
    """A text or a path as a text; None for anything else, a path in bytes included."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    return text if isinstance(text, str) else None


def read_value(text: str) -> Any:
    """What a text on the command line means as a value: JSON where it is some, else the text itself."""
    try:
        return parse_json(text)
    except ValueError:
        return text


def _wrong(name: str, value: Any, expected: str) -> Problem:
    """The problem of a value of another type. A text is shown as it was written; an empty one is quoted."""
    plain = isinstance(value, str) and value.isprintable() and value.strip() and len(value) <= MOST_CHARACTERS
    return Problem(f"{option(name)} {value if plain else shown(value)}", name.replace("_", "-"), expected)


def _words(values: Any) -> list[Any]:
    """The values of an axis: those of comma-separated text, of a sequence, or the one."""
    if isinstance(values, str):
        return split_words(values)
    if isinstance(values, Iterable) and not isinstance(values, bytes | bytearray | Mapping):
        try:
            return list(values)
        except TypeError:  # as NumPy's arrays without a dimension
            pass
    return [values]


def _models(name: str, values: Any, problems: Problems) -> tuple[ModelChoice, ...] | None:
    """None where nothing was readable, here and below: what was given badly is not missing as well."""
    if isinstance(values, Mapping):
        return tuple(_folders(name, values, problems).items()) or (None if values else ())
    words = _words(values)
    return read_models(words, problems) or (None if words else ())


def _names(name: str, values: Any, problems: Problems) -> tuple[str, ...] | None:
    words, found = _words(values), []
    for word in words:
        if isinstance(word, str):
            found.append(str(word))
        else:
            problems.add(_wrong(name, word, "a name"))
    return tuple(found) if found or not words else None


def _numbers(kind: type, name: str, values: Any, problems: Problems) -> tuple[Any, ...] | None:
    words, found = _words(values), []
    for word in words:
        try:
            found.append(read_number(kind, word))
        except ValueError:
            problems.add(_wrong(name, word, "a whole number" if kind is int else "a number"))
    return tuple(found) if found or not words else None


def _text_or_path(name: str, value: Any, problems: Problems) -> str | None:
    return read_text(name, _path_text(value) or value, problems)


def _paths(name: str, values: Any, problems: Problems) -> tuple[Path, ...]:
    """Files, one or several; a text is one, whatever commas it has."""
    each = [values] if isinstance(values, str) else _words(values)
    texts = [(value, _path_text(value)) for value in each]
    problems.extend(_wrong(name, value, "the path of a file") for value, text in texts if not text or "\0" in text)
    return tuple(Path(text) for _, text in texts if text and "\0" not in text)


def _mapping(name: str, values: Any, problems: Problems) -> dict[str, Any] | None:
    if isinstance(values, Mapping):
        return {str(key): _plain(value) for key, value in values.items()}
    expected = "a mapping of names to values, as {'transfer.epochs': 2}"
    problems.add(Problem(f"{option(name)}={shown(values)}", name.replace("_", "-"), expected))
    return None


def _folders(name: str, values: Any, problems: Problems) -> dict[str, Path]:
    """NAME -> folder; a folder that cannot be one is a problem and left out."""
    found = {key: read_folder(name, value, problems) for key, value in (_mapping(name, values, problems) or {}).items()}
    return {key: folder for key, folder in found.items() if folder is not None}


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
    problems.add(_wrong(name, value, "a number of hours above 0"))
    return None


_READERS: Mapping[str, Callable[[str, Any, Problems], Any]] = {
    "models": _models,
    "methods": _names,
    "sparsities": partial(_numbers, float),
    "tasks": _names,
    "task_file": _paths,
    "quantization": _names,
    "seeds": partial(_numbers, int),
    "pruning_seeds": partial(_numbers, int),
    "preset": _text_or_path,
    "data": _text_or_path,
    "set": _mapping,
    "sparse_from": _folders,
    "study": read_text,
    "resource": _mapping,
    "measures": _names,
    "max_gpu_hours": _hours,
}
