"""What a study keeps of a method, so that reading the study needs no declaration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

TRANSFER_KD = ("yes", "no", "na")


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
        check_transfer_kd(self.transfer_kd)


def check_transfer_kd(value: str) -> None:
    if value not in TRANSFER_KD:
        raise ValueError(f"transfer_kd={value!r}: expected one of {', '.join(TRANSFER_KD)}.")


# A method that is made for a name: sparse-from:NAME is the user's own checkpoint NAME.
SPARSE_FROM = "sparse-from:"
