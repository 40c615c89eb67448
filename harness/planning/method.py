"""Method: a compression method as a path through the stage graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.specs import QUANTIZATIONS, StageSpec

if TYPE_CHECKING:
    from harness.planning.chain import Chain
from harness.planning.method_summary import check_transfer_kd


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
        check_transfer_kd(self.transfer_kd)
        if not self.quantization or not set(self.quantization) <= set(QUANTIZATIONS):
            raise ValueError(f"quantization={self.quantization!r}: expected some of {', '.join(QUANTIZATIONS)}.")
