"""Code of other packages: what it raised or returned, in words, with its file and line; and calls that nobody hears."""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from harness.errors import text_of

MOST_CHARACTERS = 200  # of what another package's error says


def told(error: BaseException) -> str:
    """The error's type and, in one line, what it says."""
    text = " ".join(text_of(error).split())[:MOST_CHARACTERS]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


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
