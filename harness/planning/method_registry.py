"""The registry of methods: the names under which declarations are found, and the stage kinds that they bring.

`harness` learns of a method only by name. A declaration imports no torch; it says which stages lead to a cell. The
methods here are built in. Others come by entry point, the concern of `harness.planning.method_entry_points`, or are
named in a grid by their place, package.module:METHOD.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import harness
from harness.errors import Problem, UsageError, unknown, unknown_name
from harness.planning.kinds import KINDS, StageKind, get_kind
from harness.planning.method import Method
from harness.planning.method_entry_points import (
    PackagedMethod,
    can_be_named,
    check_usable,
    is_target,
    load_method,
    packaged_methods,
)
from harness.planning.method_needs import prunes_in_pretraining
from harness.planning.method_summary import SPARSE_FROM, MethodFacts
from harness.specs import StageSpec

BUILT_IN: Mapping[str, str] = {
    "dense": "methods.dense:METHOD",
    "finetune-pruning": "methods.finetune_pruning:METHOD",
    "finetune-pruning-no-kd": "methods.finetune_pruning:WITHOUT_KD",
    "one-shot": "methods.one_shot:METHOD",
    "one-shot-global": "methods.one_shot:GLOBAL",
    "gordon": "methods.gordon:METHOD",
    "lottery-ticket": "methods.lottery_ticket:METHOD",
    "lottery-ticket-no-kd": "methods.lottery_ticket:WITHOUT_KD",
    "imp-lr-rewinding": "methods.lottery_ticket:LR_REWINDING",
    "gmp-neural-magic": "methods.gmp_neural_magic:METHOD",
    "gmp-star": "methods.gmp_star:METHOD",
    "movement": "methods.movement:METHOD",
    "soft-movement": "methods.movement:SOFT",
    "prune-ofa": "methods.prune_ofa:METHOD",
    "prune-ofa-no-kd": "methods.prune_ofa:WITHOUT_KD",
    "obert": "methods.obert:METHOD",
    "obert-upstream": "methods.obert:UPSTREAM_METHOD",
    "dense-kd": "methods.controls:DENSE_KD",
    "dense-prepared": "methods.controls:DENSE_PREPARED",
    "dense-prepared-kd": "methods.controls:DENSE_PREPARED_KD",
    "dense-continued": "methods.controls:DENSE_CONTINUED",
    "finetune-pruning-prepared": "methods.controls:FINETUNE_PRUNING_PREPARED",
    "random-mask": "methods.random_mask:METHOD",
}


_SPARSE_FROM_FACTORY = "methods.sparse_from:named"


@dataclass(frozen=True, kw_only=True)
class FoundMethod:
    """A loaded declaration and where it was found.

    target: package.module:METHOD; None: it is made for a name. origin: how to call it in a sentence.
    package, version: of the distribution that has it, or the top package and no version; both None: it is built in.
    """

    method: Method
    target: str | None
    origin: str
    package: str | None = None
    version: str | None = None

    @cached_property
    def kinds(self) -> dict[str, StageKind]:
        return {kind.name: kind for kind in self.method.kinds}

    def facts(self) -> MethodFacts:
        """What a study keeps of it."""
        return MethodFacts(
            transfer_kd=self.method.transfer_kd,
            prunes_in_pretraining=prunes_in_pretraining(self.method),
            package=self.package,
            version=self.version,
            kinds={kind.name: kind.work for kind in self.method.kinds},
            sparsity_is=self.method.sparsity_is,
        )


def installed_methods() -> tuple[PackagedMethod, ...]:
    """The methods of other packages, those with a problem among them; read once in a process."""
    return packaged_methods(frozenset(BUILT_IN))


def method_names() -> list[str]:
    """Every name a grid can give a method, whether its declaration can be loaded or not."""
    return list(dict.fromkeys([*BUILT_IN, *sorted({m.name for m in installed_methods() if can_be_named(m)})]))


def is_method(name: str) -> bool:
    """Whether a grid can give a method that name; only one that is not built in needs a look at installed packages.

    A package.module:METHOD is such a name; whether it can be loaded is another question.
    """
    return name in BUILT_IN or is_target(name) or name in method_names()


def is_owner(name: str) -> bool:
    """Whether a method, or a package that provides methods, has that name: its stage kinds may be NAME:KIND."""
    return is_method(name) or any(found.package == name for found in installed_methods())


def method_problem(name: str) -> Problem | None:
    """The problem of a name that no method has, with the nearest; None for one that a grid can give."""
    return None if is_method(name) else unknown("method", name, method_names())


def find_packaged(name: str) -> PackagedMethod:
    """The entry point of that name. Raises UsageError where there is none, or one that cannot be used."""
    found = next((method for method in installed_methods() if method.name == name), None)
    if found is None:
        raise UsageError(unknown_name("method", name, method_names()))
    check_usable(found)
    return found


def get_method(name: str) -> Method:
    """Load a declaration. Raises UsageError with the nearest names, or with why another package's cannot be used."""
    return find_method(name).method


def find_method(name: str) -> FoundMethod:
    """Load a declaration by the method's name or its package.module:METHOD. Raises as `get_method`."""
    if name in BUILT_IN:
        found = FoundMethod(method=_load(BUILT_IN[name]), target=BUILT_IN[name], origin=f"method {name!r}")
    elif name.startswith(SPARSE_FROM):
        made: Method = _load(_SPARSE_FROM_FACTORY)(name.removeprefix(SPARSE_FROM))
        return FoundMethod(method=made, target=None, origin=f"method {name!r}")
    elif is_target(name):
        found = _named_by_target(name)
    elif problem := method_problem(name):
        raise UsageError(problem)
    else:
        packaged = find_packaged(name)
        found = FoundMethod(
            method=load_packaged(packaged),
            target=packaged.target,
            origin=str(packaged),
            package=packaged.package,
            version=packaged.version,
        )
    _check_kinds(found)
    return found


def load_packaged(found: PackagedMethod) -> Method:
    """Import a method of another package. Raises UsageError that says what was found there instead of a usable one."""
    return load_method(found.target, str(found), expected_name=found.name)


def owned_kinds(names: Iterable[str]) -> dict[str, StageKind]:
    """The stage kinds that the methods of a grid bring, by name.

    A method that cannot be loaded brings none here: that is a problem of its own, named where the method is.
    Raises UsageError where two methods declare a kind of one name differently.
    """
    kinds: dict[str, StageKind] = {}
    declared_by: dict[str, str] = {}
    for name in dict.fromkeys(names):
        try:
            found = find_method(name)
        except UsageError:
            continue
        for kind in found.method.kinds:
            if kinds.setdefault(kind.name, kind) != kind:
                raise UsageError(
                    f"stage kind {kind.name!r} is declared by {declared_by[kind.name]} and, differently, by "
                    f"{found.origin}. Name one of the two methods, or rename a kind."
                )
            declared_by.setdefault(kind.name, found.origin)
    return kinds


def all_loaded(names: Iterable[str]) -> bool:
    """Whether all these methods can be loaded, so that their stage kinds are known."""
    for name in dict.fromkeys(names):
        try:
            find_method(name)
        except UsageError:
            return False
    return True


def kind_of(spec: StageSpec) -> StageKind:
    """The declaration of a stage's kind as it is here. Raises UsageError where it is not found."""
    if spec.kind in KINDS or spec.declared_by is None:
        return get_kind(spec.kind)
    method = load_method(spec.declared_by, f"stage kind {spec.kind!r}")
    return get_kind(spec.kind, {kind.name: kind for kind in method.kinds})


def _named_by_target(target: str) -> FoundMethod:
    """Raises UsageError also for a method whose name another one has."""
    package = target.partition(":")[0].partition(".")[0]
    method = load_method(target, "method")
    others = [BUILT_IN.get(method.name), *(m.target for m in installed_methods() if m.name == method.name)]
    if target in others:
        return find_method(method.name)
    if clashing := [other for other in others if other is not None]:
        raise UsageError(
            f"method {target}: its name {method.name!r} is that of another method, {clashing[0]}. Give it a name of "
            "its own."
        )
    return FoundMethod(method=method, target=target, origin=f"method {target}", package=package)


def _check_kinds(found: FoundMethod) -> None:
    """Raises UsageError for a stage kind that is not named after its method or package.

    Of the built-in methods those of one folder may share a kind, named after one of them.
    """
    folder = (found.target or "").partition(":")[0] if found.package is None else None
    siblings = [name for name, target in BUILT_IN.items() if target.partition(":")[0] == folder]
    owners = list(dict.fromkeys(filter(None, (found.method.name, found.package, *siblings))))
    for kind in found.method.kinds:
        if kind.owner not in owners:
            expected = " or ".join(f"{owner}:NAME" for owner in owners)
            raise UsageError(f"{found.origin}: stage kind {kind.name!r}: expected the name {expected}.")


def _load(path: str) -> Any:
    module, _, attribute = path.partition(":")
    _check_not_hidden(module.partition(".")[0])
    return getattr(importlib.import_module(module), attribute)


@cache
def _check_not_hidden(package: str) -> None:
    """Raises UsageError when Python finds a folder of that name before ours.

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
