"""Code of other packages: what it raised or returned, in words, with its file and line; and calls that nobody hears."""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.machinery import ModuleSpec
from typing import Any

from harness.errors import text_of

MOST_CHARACTERS = 200  # of what another package says; of a longer error as many from its end, too


def told(error: BaseException) -> str:
    """The error's type and, in one line, what it says."""
    said = str(error.msg) if isinstance(error, SyntaxError) else text_of(error)  # its place is told apart
    text = " ".join(said.split())
    if len(text) > 2 * MOST_CHARACTERS:
        text = f"{text[:MOST_CHARACTERS]} .. {text[-MOST_CHARACTERS:]}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def locate(module: str) -> ModuleSpec | None:
    """Where a module is, by its dotted name; None where there is none. Imports nothing, no package above it either."""
    found: ModuleSpec | None = None
    words = module.split(".")
    for end in range(1, len(words) + 1):
        name = ".".join(words[:end])
        loaded = sys.modules.get(name)
        above = None if found is None else found.submodule_search_locations
        if end > 1 and above is None:  # what stands above it is no package
            return None
        found = getattr(loaded, "__spec__", None) or _search(name, above)
        if found is None:
            return None
    return found


def _search(name: str, above: Sequence[str] | None) -> ModuleSpec | None:
    """As Python's import searches below the folders of the package above; None: at the top."""
    specs = (finder.find_spec(name, above) for finder in sys.meta_path if hasattr(finder, "find_spec"))
    return next((spec for spec in specs if spec is not None), None)


def shown(value: object) -> str:
    """A value that is not what was asked for, as a sentence calls it."""
    if value is None:
        return "None"
    if isinstance(value, str):
        return f"the text {value[:MOST_CHARACTERS]!r}"
    return f"a value of type {type(value).__name__}"


def place_of(error: BaseException, module: str) -> str:
    """file:line of the code of the module's top package that the error passed last; empty where it passed none.

    Of a file that cannot be parsed, the line where parsing ended.
    """
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{error.filename}:{error.lineno}"
    package, place = module.partition(".")[0], ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).partition(".")[0] == package:
            place = f"{frame.f_code.co_filename}:{line}"
    return place


def begin_of(function: Callable[..., Any]) -> str:
    """file:line where a function begins; its package where there is no file."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is not None:
        return f"{code.co_filename}:{code.co_firstlineno}"
    return f"package {str(getattr(function, '__module__', '')).partition('.')[0] or 'unknown'}"


@contextmanager
def unheard() -> Iterator[None]:
    """What the block prints goes nowhere: planning calls a declaration for every cell, and its output is a plan."""
    with open(os.devnull, "w", encoding="utf-8") as nothing, redirect_stdout(nothing):
        yield
