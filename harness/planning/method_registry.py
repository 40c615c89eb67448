"""The registry of methods: the names under which declarations are found.

`harness` learns of a method only by name. A declaration imports no torch; it says which stages lead to a cell. The
methods here are built in; those that other packages provide are the concern of `harness.planning.method_entry_points`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import harness
from harness.errors import UsageError, unknown_name
from harness.planning.method import Method
from harness.planning.method_entry_points import (
    PackagedMethod,
    can_be_named,
    check_usable,
    load_packaged,
    packaged_methods,
)
from harness.planning.method_summary import SPARSE_FROM, MethodFacts

BUILT_IN: Mapping[str, str] = {
    "dense": "methods.dense:METHOD",
    "finetune-pruning": "methods.finetune_pruning:METHOD",
    "prune-ofa": "methods.prune_ofa:METHOD",
    "prune-ofa-no-kd": "methods.prune_ofa:WITHOUT_KD",
}


_SPARSE_FROM_FACTORY = "methods.sparse_from:named"


def installed_methods() -> tuple[PackagedMethod, ...]:
    """The methods of other packages, those with a problem among them; read once in a process."""
    return packaged_methods(frozenset(BUILT_IN))


def method_names() -> list[str]:
    """Every name a grid can give a method, whether its declaration can be loaded or not."""
    return list(dict.fromkeys([*BUILT_IN, *sorted({m.name for m in installed_methods() if can_be_named(m)})]))


def is_method(name: str) -> bool:
    """Whether a grid can give a method that name; only one that is not built in needs a look at installed packages."""
    return name in BUILT_IN or name in method_names()


def method_problem(name: str) -> str | None:
    """The sentence for a name that no method has, with the nearest; None for one that a grid can give."""
    return None if is_method(name) else unknown_name("method", name, method_names())


def find_packaged(name: str) -> PackagedMethod:
    """The entry point of that name. Raises UsageError where there is none, or one that cannot be used."""
    found = next((method for method in installed_methods() if method.name == name), None)
    if found is None:
        raise UsageError(unknown_name("method", name, method_names()))
    check_usable(found)
    return found


def get_method(name: str) -> Method:
    """Load a declaration. Raises UsageError with the nearest names, or with why another package's cannot be used."""
    if name in BUILT_IN:
        method: Method = _load(BUILT_IN[name])
        return method
    if name.startswith(SPARSE_FROM):
        made: Method = _load(_SPARSE_FROM_FACTORY)(name.removeprefix(SPARSE_FROM))
        return made
    if problem := method_problem(name):
        raise UsageError(problem)
    return load_packaged(find_packaged(name))


def method_facts(name: str) -> MethodFacts | None:
    """What a study keeps of a method; None for the harness's own. Raises as `get_method`."""
    if name in BUILT_IN or name.startswith(SPARSE_FROM):
        return None
    method, found = get_method(name), find_packaged(name)
    return MethodFacts(
        package=found.package,
        version=found.version,
        transfer_kd=method.transfer_kd,
        prunes_in_pretraining=method.prunes_in_pretraining,
    )


def _load(path: str) -> Any:
    module, _, attribute = path.partition(":")
    _check_not_hidden(module.partition(".")[0])
    return getattr(importlib.import_module(module), attribute)


@cache
def _check_not_hidden(package: str) -> None:
    """Raises UsageError when a folder of that name stands before ours where Python looks for modules.

    A notebook's Python looks in its own folder first; the command line and the workers do not.
    """
    spec = importlib.util.find_spec(package)  # locates, imports nothing
    found = None if spec is None else next(iter(spec.submodule_search_locations or ()), spec.origin)
    ours = Path(harness.__file__).resolve().parents[1] / package
    if found is not None and ours.is_dir() and Path(found).resolve() != ours:
        raise UsageError(
            f"{found} hides the package {package} of the harness ({ours}). Rename it, or start Python with -P or from "
            "another folder."
        )
