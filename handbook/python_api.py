"""The reference of Python: the public names of each face, which mkdocstrings draws from their source."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import harness
from handbook.markdown import sections
from harness import api, errors, plugin, testing

PATH = "docs/reference/python.md"
PLUGIN_PATH = "docs/reference/plugin.md"
# What the computation of a stage kind is written with, beside the declaration's names.
COMPUTATION = (
    "harness.stages.context.StageContext",
    "harness.stages.context.StageResult",
    "harness.stages.fine_tuning.fine_tune",
    "harness.training.modifiers.Modifier",
)


def face() -> dict[str, str]:
    """Public name -> where it is defined, for `import harness`."""
    return {f"harness.{name}": _place(name) for name in harness.__all__}


def raised() -> dict[str, str]:
    """The errors that a caller may meet."""
    found = (name for name, each in vars(errors).items() if inspect.isclass(each) and issubclass(each, Exception))
    return {f"harness.errors.{name}": f"harness.errors.{name}" for name in ("Problem", *found)}


def for_authors() -> dict[str, str]:
    return {f"harness.plugin.{name}": f"harness.plugin.{name}" for name in plugin.__all__}


def for_tests() -> dict[str, str]:
    own = (n for n, f in vars(testing).items() if inspect.isfunction(f) and f.__module__ == testing.__name__)
    names = [f"{testing.__name__}.{name}" for name in own if not name.startswith("_")]
    return dict(zip(names, names, strict=True))


def pages() -> dict[str, str]:
    return {
        PATH: sections(
            "# Python",
            "`import harness` in a notebook or a script. Arguments are the options of `harness grid` with "
            "underscores. An example: [the README](../../README.md#in-a-notebook).",
            _members(face()),
            "## Errors",
            "What is wrong with arguments is one `UsageError`, with a `Problem` for each.",
            _members(raised(), level=3),
        ),
        PLUGIN_PATH: sections(
            "# For authors of methods",
            "What a method of your own is written with: [a method of your own](../new-method.md) builds one.",
            "## Declaration",
            "`harness.plugin`, which imports no torch.",
            _members(for_authors(), level=3),
            "## Computation",
            _members(dict(zip(COMPUTATION, COMPUTATION, strict=True)), level=3),
            "## Tests",
            _members(for_tests(), level=3),
        ),
    }


def _place(name: str) -> str:
    """Where a name that `harness` imports when it is first used is defined."""
    if name.startswith("__"):
        return f"harness.{name}"
    found = vars(api)[name]
    return f"{found.__module__}.{found.__qualname__}"


def _members(names: dict[str, str], level: int = 2) -> str:
    return sections(*_directives(names.items(), level))


def _directives(names: Iterable[tuple[str, str]], level: int) -> Iterable[str]:
    for name, place in names:
        yield f'::: {place}\n    options:\n      heading: "{name}"\n      heading_level: {level}'
