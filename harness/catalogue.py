"""The catalogue of methods: what a method declares, and the names under which declarations are found.

`harness` learns of a method only by name. A declaration imports no torch; it says which stages lead to a cell. The
methods here are built in; those that other packages provide are the concern of `harness.packaged_methods`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError, unknown_name
from harness.specs import QUANTIZATIONS, StageSpec

if TYPE_CHECKING:
    from harness.plan import Chain

TRANSFER_KD = ("yes", "no", "na")


@dataclass(frozen=True, kw_only=True)
class Method:
    """A compression method, as a path through the stage graph.

    A method has no code version, for it computes nothing: what `stages` decides (kinds, parameters, parents, inputs) is
    the identity of the stages it adds, so a changed declaration leads to other stages by itself. A method that needs
    arithmetic of its own brings a stage kind, whose version and source are watched like those of any other.

    title: the method's name in the paper's tables.
    stages: adds the stages of a cell to the chain and returns the one whose artifact is the cell's fp32 model.
    sparse: whether sparsity is an axis; a dense method collapses it to 0.
    transfer_kd: "yes", "no" or "na", as the paper's tables print it.
    prunes_in_pretraining: whether it needs the corpus, and the pruning seed is an axis.
    note: what it does, where it stands in the paper, where we differ.
    Raises ValueError for a transfer_kd or quantization that no table or stage knows.
    """

    name: str
    title: str
    stages: Callable[[Chain], StageSpec]
    sparse: bool
    transfer_kd: str
    note: str
    prunes_in_pretraining: bool = False
    quantization: tuple[str, ...] = QUANTIZATIONS

    def __post_init__(self) -> None:
        _check_transfer_kd(self.transfer_kd)
        if not self.quantization or not set(self.quantization) <= set(QUANTIZATIONS):
            raise ValueError(f"quantization={self.quantization!r}: expected some of {', '.join(QUANTIZATIONS)}.")


@dataclass(frozen=True, kw_only=True)
class MethodFacts:
    """What a study keeps of a method that another package provides, so that reading the study needs no such package.

    package, version: of the package that declared it when its cells were last planned. The others as in `Method`.
    """

    package: str
    version: str
    transfer_kd: str
    prunes_in_pretraining: bool

    def __post_init__(self) -> None:
        _check_transfer_kd(self.transfer_kd)


def _check_transfer_kd(value: str) -> None:
    if value not in TRANSFER_KD:
        raise ValueError(f"transfer_kd={value!r}: expected one of {', '.join(TRANSFER_KD)}.")


BUILT_IN: Mapping[str, str] = {
    "dense": "methods.dense:METHOD",
    "finetune-pruning": "methods.finetune_pruning:METHOD",
    "prune-ofa": "methods.prune_ofa:METHOD",
    "prune-ofa-no-kd": "methods.prune_ofa:WITHOUT_KD",
}


# A method that is made for a name: sparse-from:NAME is the user's own checkpoint NAME.
SPARSE_FROM = "sparse-from:"
_SPARSE_FROM_FACTORY = "methods.sparse_from:named"


class _MethodNames(Collection[str]):
    """Every name a grid can give a method, whether its declaration can be loaded or not.

    Only who asks for a name that is not built in, or for all of them, pays for the look at the installed packages.
    """

    def __contains__(self, name: object) -> bool:
        return name in BUILT_IN or name in self._of_packages()

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*BUILT_IN, *self._of_packages()]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _of_packages(self) -> list[str]:
        from harness.packaged_methods import packaged_names  # that module leans on this one

        return packaged_names()


METHOD_NAMES = _MethodNames()


def get_method(name: str) -> Method:
    """Load a declaration. Raises UsageError with the nearest names, or with why another package's cannot be used."""
    if name in BUILT_IN:
        method: Method = _load(BUILT_IN[name])
        return method
    if name.startswith(SPARSE_FROM):
        made: Method = _load(_SPARSE_FROM_FACTORY)(name.removeprefix(SPARSE_FROM))
        return made
    if name not in METHOD_NAMES:
        raise UsageError(unknown_name("method", name, METHOD_NAMES))
    from harness.packaged_methods import load_packaged

    return load_packaged(name)


def method_facts(name: str) -> MethodFacts | None:
    """What a study keeps of a method; None for the harness's own. Raises as `get_method`."""
    if name in BUILT_IN or name.startswith(SPARSE_FROM):
        return None
    from harness.packaged_methods import find_packaged

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
    ours = Path(__file__).resolve().parents[1] / package
    if found is not None and ours.is_dir() and Path(found).resolve() != ours:
        raise UsageError(
            f"{found} hides the package {package} of the harness ({ours}). Rename it, or start Python with -P or from "
            "another folder."
        )
