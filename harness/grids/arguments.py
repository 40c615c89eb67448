"""Arguments of the Python interface: what a function cannot take is a UsageError, which names the argument."""

from __future__ import annotations

import errno
import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from harness.errors import Problem, Problems, UsageError, unknown
from harness.grids.options import read_folder, read_text
from harness.store.store import Store
from harness.wording import for_python, shown

P = ParamSpec("P")
T = TypeVar("T")


def told_of_arguments(function: Callable[P, T]) -> Callable[P, T]:
    """The function; a call with arguments that it does not have raises UsageError instead of TypeError.

    So does a name that is too long for a file, wherever it is noticed. Problems name options as Python's arguments.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def called(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            signature.bind(*arguments, **named)
        except TypeError as error:
            raise UsageError(_problems(function.__name__, signature, named, error)) from None
        try:
            return function(*arguments, **named)
        except UsageError as error:
            raise UsageError([problem.spelled(for_python) for problem in error.problems]) from error.__cause__
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            raise UsageError(Problem(f"{shown(error.filename)}: {error.strerror}", next_move="Shorten it.")) from None

    return called


def _problems(name: str, signature: inspect.Signature, named: dict[str, Any], error: TypeError) -> list[Problem]:
    known = [parameter for parameter in signature.parameters if parameter != "self"]
    found = [unknown("argument", word, known, where=f"{name}: ") for word in named if word not in known]
    by_name = f"Give them by name: {', '.join(f'{word}=..' for word in known)}."
    return found or [Problem(f"{name}: {error}", next_move=by_name)]


def read_store(store: Any, problems: Problems) -> Store:
    """The store in a folder; one that cannot be is noted, and another stands in its place."""
    return Store(read_folder("store", store, problems) or Path())


def read_place(store: Any, study: Any) -> tuple[Store, str | None]:
    """A store, and the name of a study where one is given. Raises UsageError with what is wrong with either."""
    problems = Problems()
    found = read_store(store, problems), None if study is None else read_text("study", study, problems)
    problems.check()
    return found
