"""What a method needs before its cells can be planned, read off the stages that it adds for stand-in cells.

A method does not declare that it reads the corpus or varies by pruning seed: its chain shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from harness.planning.chain import Chain
from harness.planning.graph import Inputs, ModelIdentity, Plan
from harness.planning.kinds import StageKind
from harness.planning.method import Method
from harness.planning.recipe import Recipe
from harness.specs import Cell
from harness.tasks import TASKS

_RELEASED = "a released sparse encoder"
NO_RECIPE = Recipe(settings={})


@dataclass(frozen=True, kw_only=True)
class Needs:
    """corpus: a stage reads it. pruning_seed: stages differ by it. released: it starts from a released encoder."""

    corpus: bool
    pruning_seed: bool
    released: bool


@cache
def needs(method: Method, *, released: bool) -> Needs:
    """What the stages of a method need. released: whether the preset has released sparse encoders.

    Every task and quantization that the method is defined for is tried, from a pre-trained base model.
    """
    zero, one = (_stages(method, pruning_seed, released=released) for pruning_seed in (0, 1))
    return Needs(
        corpus=any(spec.kind == "corpus" for spec in zero.stages.values()),
        pruning_seed=zero.stages.keys() != one.stages.keys(),
        released=any(spec.inputs.get("checkpoint") == _RELEASED for spec in zero.stages.values()),
    )


def prunes_in_pretraining(method: Method) -> bool:
    """Whether the cells of a method differ by pruning seed, where no released encoder takes the place of pruning."""
    return needs(method, released=False).pruning_seed


def _stages(method: Method, pruning_seed: int, *, released: bool) -> Plan:
    """The stages of stand-in cells; a cell whose stages cannot be built adds none, and its error shows in planning."""
    plan, inputs = Plan(), stand_in_inputs(released=released, pretrained=True)
    for task in TASKS:
        for quantization in method.quantization:
            cell = Cell(
                model="model",
                method=method.name,
                sparsity=0.5 if method.sparse else 0.0,
                task=task,
                quantization=quantization,
                seed=0,
                pruning_seed=pruning_seed,
            )
            owned = {kind.name: kind for kind in method.kinds}
            chain = StandIn(plan=plan, cell=cell, recipe=NO_RECIPE, inputs=inputs, owned=owned)
            try:
                model = method.stages(chain)
                if quantization == "int8":
                    method.quantize(chain, model)
            except Exception:
                continue
    return plan


def stand_in_inputs(*, released: bool, pretrained: bool) -> Inputs:
    """Every model, data and checkpoint there could be. released, pretrained: whether there are such encoders."""
    return Inputs(
        models=Anything(ModelIdentity(weights="weights", tokenizer="tokenizer", pretrained=pretrained)),
        data=Anything("data"),
        sparse_from=Anything("checkpoint"),
        released=Anything(_RELEASED) if released else {},
    )


class StandIn(Chain):
    """A chain without a recipe: its stages have the parameters that the plan gives them, and no others."""

    def _recipe(self, kind: StageKind, task: str | None, without: tuple[str, ...]) -> dict[str, Any]:
        return {}


class Anything(dict[Any, Any]):
    """The same value under every key."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def __missing__(self, key: object) -> Any:
        return self.value

    def __contains__(self, key: object) -> bool:
        return True

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(())
