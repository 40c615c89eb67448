"""What a method needs before its cells can be planned, read off the stages that it adds for stand-in cells.

A method does not declare that it reads the corpus or varies by pruning seed: its chain shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Any

from harness.errors import UsageError
from harness.planning.chain import Chain
from harness.planning.graph import Inputs, ModelIdentity, Plan
from harness.planning.kinds import StageKind
from harness.planning.method import Method
from harness.planning.method_call import model_stage
from harness.planning.recipe import Recipe, Setting
from harness.specs import Cell
from harness.tasks import TASKS, Task

_RELEASED = "a released sparse encoder"


@dataclass(frozen=True, kw_only=True)
class Needs:
    """corpus: its data are read. pruning_seed: stages differ by it. released: it starts from a released encoder."""

    corpus: bool
    pruning_seed: bool
    released: bool


@cache
def needs(method: Method, *, released: bool) -> Needs:
    """What the stages of a method need. released: whether the preset has released sparse encoders.

    Every task and quantization that the method is defined for is tried, from a pre-trained base model. A cell whose
    stages cannot be added shows what it was asked for until then; its error shows in planning.
    """
    zero, one = StandIn(method, released=released), StandIn(method, released=released)
    for pruning_seed, stand_in in enumerate((zero, one)):
        for task, quantization in product(TASKS, method.quantization):
            with suppress(UsageError):
                stand_in.add(task, quantization, pruning_seed=pruning_seed)
    return Needs(
        corpus=zero.reads_corpus,
        pruning_seed=zero.plan.stages.keys() != one.plan.stages.keys(),
        released=any(spec.inputs.get("checkpoint") == _RELEASED for spec in zero.plan.stages.values()),
    )


def prunes_in_pretraining(method: Method) -> bool:
    """Whether the cells of a method differ by pruning seed, where no released encoder takes the place of pruning."""
    return needs(method, released=False).pruning_seed


@dataclass
class StandIn:
    """A plan of a method's cells without a model, data or a recipe. name: how an error calls the method.

    released: whether there are released sparse encoders. pretrained: whether the base model's weights are.
    tasks: those that cells may have.
    """

    method: Method
    released: bool
    name: str = ""
    pretrained: bool = True
    tasks: Mapping[str, Task] = field(default_factory=lambda: TASKS)
    plan: Plan = field(default_factory=Plan)
    data: _Anything = field(default_factory=lambda: _Anything("data"))

    def add(self, task: str, quantization: str, *, sparsity: float = 0.5, pruning_seed: int = 0) -> None:
        """Add the stages of a cell. Raises UsageError, whatever the method's code does."""
        cell = Cell(
            model="model",
            method=self.method.name,
            sparsity=sparsity if self.method.sparse else 0.0,
            task=task,
            quantization=quantization,
            seed=0,
            pruning_seed=pruning_seed,
        )
        model_stage(self.method, self.chain(cell), self.name)

    def chain(self, cell: Cell) -> Chain:
        """To add the stages of a cell of the method to the plan."""
        inputs = Inputs(
            models=_Anything(ModelIdentity(weights="weights", tokenizer="tokenizer", pretrained=self.pretrained)),
            data=self.data,
            sparse_from=_Anything("checkpoint"),
            released=_Anything(_RELEASED) if self.released else {},
        )
        recipe = Recipe(
            settings=_Anything(Setting(1, "assumed", "a stand-in")), tasks=self.tasks
        )  # the method's code may look at it
        owned = {kind.name: kind for kind in self.method.kinds}
        return _Chain(plan=self.plan, cell=cell, recipe=recipe, inputs=inputs, owned=owned)

    @property
    def reads_corpus(self) -> bool:
        return any(str(name).startswith("corpus/") for name in self.data.asked)


class _Chain(Chain):
    """A chain whose stages have no parameters of a recipe, so that no value can be missing.

    A method whose stages depend on a parameter is told its default.
    """

    def _recipe(
        self, kind: StageKind, task: str | None, sparsity: float | None, without: tuple[str, ...]
    ) -> dict[str, Any]:
        return {}

    def value(self, kind: str | StageKind, name: str) -> Any:
        return self._declared(kind).recipe[name].default


class _Anything(dict[Any, Any]):
    """The same value under every key; remembers which keys were asked for."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value
        self.asked: set[Any] = set()

    def __missing__(self, key: object) -> Any:
        self.asked.add(key)
        return self.value

    def get(self, key: object, default: object = None) -> Any:
        return self[key]

    def __contains__(self, key: object) -> bool:
        return True

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(())
