"""Method: a compression method as a path through the stage graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.planning.chain import Chain
from harness.planning.kinds import StageKind
from harness.planning.method_summary import EXACT, check_sparsity_is, check_transfer_kd
from harness.specs import QUANTIZATIONS, StageSpec


def quantization_aware_training(chain: Chain, model: StageSpec) -> StageSpec:
    """The paper's quantization: of the fine-tuned model, its pattern locked, with the teacher of its transfer."""
    return chain.quantization(model)


@dataclass(frozen=True, kw_only=True, eq=False)
class Method:
    """A compression method, as a path through the stage graph.

    A method has no code version, for it computes nothing: what `stages` decides (kinds, parameters, parents, inputs) is
    the identity of the stages it adds, so a changed declaration leads to other stages by itself. A method that needs
    arithmetic of its own brings a stage kind, whose version and source are watched like those of any other.

    title: the method's name in the paper, for `harness ls methods`.
    stages: adds the stages of a cell to the chain and returns the one whose artifact is the cell's fp32 model.
    kinds: the stage kinds that it brings, each named OWNER:NAME after the method or its package.
    sparse: whether sparsity is an axis; a dense method collapses it to 0.
    sparsity_is: "exact" where a cell's model has the zeros of the cell's sparsity; "outcome" where that is aimed at:
    tables and figures show what was reached, and a claim at equal sparsity compares no model that missed it.
    transfer_kd: whether its transfer is meant to distil, "yes" or "no"; "na" where the question does not arise. For
    `harness ls methods`: a page tells what the stages did.
    note: what it does, where it stands in the paper, where we differ.
    source: where it was published, as "arXiv 2111.05754"; empty: it does not say.
    quantization: what it is defined for.
    quantize: adds the stage that makes the cell's int8 model of its fp32 model.

    Raises ValueError for a declaration that contradicts itself.
    """

    name: str
    title: str
    stages: Callable[[Chain], StageSpec]
    sparse: bool
    transfer_kd: str
    note: str
    source: str = ""
    kinds: tuple[StageKind, ...] = ()
    sparsity_is: str = EXACT
    quantization: tuple[str, ...] = QUANTIZATIONS
    quantize: Callable[[Chain, StageSpec], StageSpec] = quantization_aware_training

    def __post_init__(self) -> None:
        for name, text in {"name": self.name, "title": self.title, "note": self.note, "source": self.source}.items():
            if not isinstance(text, str):
                raise ValueError(f"{name}={text!r}: expected a text.")
        for name, function in {"stages": self.stages, "quantize": self.quantize}.items():
            if not callable(function):
                raise ValueError(f"{name}={function!r}: expected a function of a Chain.")
        if not isinstance(self.sparse, bool):
            raise ValueError(f"sparse={self.sparse!r}: expected True or False.")
        check_transfer_kd(self.transfer_kd)
        check_sparsity_is(self.sparsity_is)
        if not self.quantization or not set(self.quantization) <= set(QUANTIZATIONS):
            raise ValueError(f"quantization={self.quantization!r}: expected some of {', '.join(QUANTIZATIONS)}.")
        if not isinstance(self.kinds, tuple) or not all(isinstance(kind, StageKind) for kind in self.kinds):
            raise ValueError(f"kinds={self.kinds!r}: expected a tuple of StageKind.")
        names = [kind.name for kind in self.kinds]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"kinds: {', '.join(twice)} is declared twice; keep one.")
