"""What a study keeps of a method, so that reading the study needs no declaration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.wording import shown

TRANSFER_KD = ("yes", "no", "na")
# What the sparsity of a cell says of its model: "exact", it has so many zeros; "outcome", it was aimed at, and what was
# reached is counted.
SPARSITY_IS = EXACT, OUTCOME = "exact", "outcome"


@dataclass(frozen=True, kw_only=True)
class MethodFacts:
    """What a study keeps of a method: all that tables, status and labels need to know of it.

    transfer_kd: as in `Method`. prunes_in_pretraining: whether its cells differ by pruning seed.
    package, version: of the package that declared it when its cells were last planned; None: it is built in.
    kinds: the stage kinds that it brings, by name, with the work of each (`kinds.WORK`).
    sparsity_is: one of `SPARSITY_IS`, as in `Method`.
    """

    transfer_kd: str
    prunes_in_pretraining: bool
    package: str | None = None
    version: str | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    sparsity_is: str = EXACT

    def __post_init__(self) -> None:
        check_transfer_kd(self.transfer_kd)
        check_sparsity_is(self.sparsity_is)
        if not isinstance(self.prunes_in_pretraining, bool):
            raise ValueError(f"prunes_in_pretraining={shown(self.prunes_in_pretraining)}: expected true or false.")
        for name, value in (("package", self.package), ("version", self.version)):
            if not (value is None or isinstance(value, str)):
                raise ValueError(f"{name}={shown(value)}: expected a text.")
        if not (isinstance(self.kinds, Mapping) and all(isinstance(work, str) for work in self.kinds.values())):
            raise ValueError(f"kinds={shown(self.kinds)}: expected the work of each kind by its name.")

    @property
    def is_built_in(self) -> bool:
        return self.package is None

    def as_json(self) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "transfer_kd": self.transfer_kd,
            "prunes_in_pretraining": self.prunes_in_pretraining,
        }
        if not self.is_built_in:
            facts |= {"package": self.package, "version": self.version}
        if self.sparsity_is != EXACT:
            facts["sparsity_is"] = self.sparsity_is
        return {**facts, **({"kinds": dict(self.kinds)} if self.kinds else {})}


def check_transfer_kd(value: str) -> None:
    if value not in TRANSFER_KD:
        raise ValueError(f"transfer_kd={value!r}: expected one of {', '.join(TRANSFER_KD)}.")


def check_sparsity_is(value: str) -> None:
    if value not in SPARSITY_IS:
        raise ValueError(f"sparsity_is={value!r}: expected one of {', '.join(SPARSITY_IS)}.")


# A method that is made for a name: sparse-from:NAME is the user's own checkpoint NAME.
SPARSE_FROM = "sparse-from:"
