"""Methods that other packages provide: entry points NAME = "package.module:METHOD" in the group `harness.methods`.

What is installed is read from metadata, once in a process and without importing anything; a method is imported when a
grid names it. A built-in name stays ours: built-in methods are found without a look at what is installed, so an entry
point of that name is passed over, and `harness ls methods` says so.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import Distribution, distributions

from harness.errors import UsageError
from harness.identity import NAME_IN_WORDS, is_name
from harness.planning.foreign_code import locate, place_of, told, unheard
from harness.planning.method import Method
from harness.planning.method_summary import SPARSE_FROM

GROUP = "harness.methods"
_TARGET = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")
_NAME_RULE = f"a name has {NAME_IN_WORDS}"
_NEXT_MOVE = "Mend or uninstall the package, or leave the method out."


@dataclass(frozen=True, kw_only=True)
class PackagedMethod:
    """An entry point. target: "package.module:METHOD". package, version: of the distribution that has it.

    problem: why no grid can name it, as far as the metadata tell; None: it can.
    """

    name: str
    target: str
    package: str
    version: str
    problem: str | None = None

    def __str__(self) -> str:
        return f"method {self.name!r} of package {self.package} {self.version}"


@cache
def packaged_methods(reserved: frozenset[str]) -> tuple[PackagedMethod, ...]:
    """Every entry point of the group, sorted by name and package, those with a problem among them.

    reserved: names that no package may give a method.
    """
    found = sorted(_declared(reserved), key=lambda method: (method.name, method.package))
    claims = Counter(method.name for method in found)
    return tuple(method if method.problem or claims[method.name] == 1 else _claimed(method, found) for method in found)


def can_be_named(found: PackagedMethod) -> bool:
    """Whether a grid can give its name; for one that two packages claim, the grid says so."""
    return bool(is_name(found.name))


def check_usable(found: PackagedMethod) -> None:
    """Raises UsageError for an entry point that cannot be used, as far as the metadata tell."""
    if found.problem:
        raise UsageError(f"{found}: {found.problem}. {_NEXT_MOVE}")


def is_target(word: str) -> bool:
    """Whether a word is of the form package.module:METHOD."""
    return bool(_TARGET.fullmatch(word)) and not word.startswith(SPARSE_FROM)


@cache
def load_method(target: str, origin: str, expected_name: str | None = None) -> Method:
    """Import the declaration at package.module:METHOD. origin: how a sentence calls what names it.

    Raises UsageError that says what was found there instead of a usable one, by the expected name where there is one.
    """
    module, _, attributes = target.partition(":")
    try:
        with unheard():
            value = importlib.import_module(module)
            for attribute in attributes.split("."):
                value = getattr(value, attribute)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever their code does on import, it is their package's problem
        place = place_of(error, module) or _file_of(module)
        where = f" at {place}" if place else ""
        raise UsageError(f"{origin}: {target} cannot be loaded ({told(error)}){where}. {_NEXT_MOVE}") from error
    if not isinstance(value, Method):
        named = "" if expected_name is None else f" named {expected_name!r}"
        raise UsageError(
            f"{origin}: {target} is {_kind_of(value)}, expected a harness.plugin.Method{named}. {_NEXT_MOVE}"
        )
    if not is_name(value.name):
        raise UsageError(f"{origin}: {target} is a Method named {value.name!r}: {_NAME_RULE}. {_NEXT_MOVE}")
    if expected_name is not None and value.name != expected_name:
        raise UsageError(
            f"{origin}: {target} is a Method named {value.name!r}, expected {expected_name!r} as its entry point says. "
            f"{_NEXT_MOVE}"
        )
    for kind in value.kinds:
        if locate(run := kind.run.partition(":")[0]) is None:
            raise UsageError(
                f"{origin}: {target}: stage kind {kind.name!r} is run by {kind.run}, and there is no {run}. "
                f"{_NEXT_MOVE}"
            )
    return value


def _file_of(module: str) -> str:
    found = locate(module)
    return str(found.origin) if found is not None and found.has_location else ""


def _declared(reserved: Collection[str]) -> Iterator[PackagedMethod]:
    seen = set()
    for distribution in distributions():
        if not _mentions_us(distribution):
            continue
        package, version = _called(distribution)
        normalized = re.sub("[-_.]+", "-", package).lower()
        if normalized in seen:  # a second copy further down the path, which Python would not take
            continue
        seen.add(normalized)
        try:
            points = distribution.entry_points.select(group=GROUP)
        except Exception as error:  # the library's parser raises what it stumbles over
            problem = f"its entry_points.txt cannot be read ({type(error).__name__}: {error})"
            yield PackagedMethod(name="?", target="", package=package, version=version, problem=problem)
            continue
        for point in points:
            yield PackagedMethod(
                name=point.name,
                target=point.value,
                package=package,
                version=version,
                problem=_problem(point.name, point.value, reserved),
            )


def _mentions_us(distribution: Distribution) -> bool:
    """Whether its entry points have our group; those of most packages need not be parsed to know."""
    try:
        return f"[{GROUP}]" in (distribution.read_text("entry_points.txt") or "")
    except (OSError, ValueError):  # unreadable, or no text: nobody can tell what it would give
        return False


def _called(distribution: Distribution) -> tuple[str, str]:
    """Name and version; a half-removed package has lost its METADATA."""
    try:
        fields = [distribution.metadata["Name"], distribution.metadata["Version"]]
    except Exception:  # what is raised differs between Python's versions
        fields = ["", ""]
    return fields[0] or "(no name)", fields[1] or "(no version)"


def _problem(name: str, target: str, reserved: Collection[str]) -> str | None:
    if name in reserved:
        return "the name is a built-in method's, which stays in use; the package must choose another"
    if not is_name(name):
        return _NAME_RULE
    if not _TARGET.fullmatch(target):
        return f"its entry point is {target!r}, expected package.module:METHOD"
    return None


def _claimed(method: PackagedMethod, found: list[PackagedMethod]) -> PackagedMethod:
    packages = ", ".join(other.package for other in found if other.name == method.name)
    return replace(method, problem=f"more than one entry point has that name (packages {packages})")


def _kind_of(value: object) -> str:
    return f"a value of type {type(value).__name__}" if not isinstance(value, type) else f"the class {value.__name__}"
