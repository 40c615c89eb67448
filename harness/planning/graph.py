"""Plan: the stage graph of a set of cells.

Stages with equal identity are one stage, so that what cells share (corpus, teacher preparation, student pruning, task
teachers) appears once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from harness.errors import require
from harness.planning.kinds import KINDS
from harness.planning.method_summary import MethodFacts
from harness.planning.recipe import Setting
from harness.specs import Cell, StageSpec, stage_label
from harness.tasks import DECLARATION, TASK, Task, task_of

SEEDED = frozenset(kind.name for kind in KINDS.values() if "seed" in kind.identity)


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """What a plan needs to know of a base model: content hashes, not paths.

    pretrained: False where the weights are random; then all that would start from them starts from the teacher
    preparation, which is their pre-training.
    positions: the most tokens it can read at once; None: not known.
    attention: the attention kernels that there are for it; None: not known.
    """

    weights: str
    tokenizer: str
    pretrained: bool = True
    positions: int | None = None
    attention: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Identity of everything a grid reads. data: "sst2/train" or "corpus/validation" -> content hash.

    sparse_from: NAME of a sparse checkpoint of the user's -> content hash.
    machine: in words, the one that measurements of time are planned on.
    released: (model, sparsity) -> content of a released sparse encoder; where there are any, methods that start from a
    sparse pre-trained model take it from there and prune none.
    """

    models: Mapping[str, ModelIdentity]
    data: Mapping[str, str]
    sparse_from: Mapping[str, str] = field(default_factory=dict)
    released: Mapping[tuple[str, float], str] = field(default_factory=dict)
    machine: str = ""


@dataclass
class Plan:
    """The stage graph of a set of cells: stages in an order in which parents come first, and each cell's path.

    measures: the stages that measure a cell's model beside scoring it; a cell is done without them.
    methods: the facts of the cells' methods, by name: all that a reader of the plan needs of them.
    defaults: the declared defaults that stages use because the recipe gives no value, by dotted key.
    models: the model whose settings each stage has, by stage id; of a plan that was read back nobody knows.
    """

    stages: dict[str, StageSpec] = field(default_factory=dict)
    paths: dict[Cell, tuple[str, ...]] = field(default_factory=dict)
    measures: dict[Cell, tuple[str, ...]] = field(default_factory=dict)
    methods: dict[str, MethodFacts] = field(default_factory=dict)
    defaults: dict[str, Setting] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    _ancestors: dict[str, tuple[str, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _alike: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    _unlike: dict[Any, list[Any]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def add(self, spec: StageSpec) -> StageSpec:
        if spec.stage_id in self.stages:
            return self.stages[spec.stage_id]
        missing = [parent for parent in spec.parents.values() if parent not in self.stages]
        require(not missing, f"parents of {spec.kind} are not planned: {missing}")
        return self.stages.setdefault(spec.stage_id, spec)

    def ancestors(self, stage_id: str) -> tuple[str, ...]:
        """The stage and all it depends on, parents first; computed once for each stage from its parents' ancestors."""
        if stage_id not in self._ancestors:
            ordered: dict[str, None] = {}
            for parent in self.stages[stage_id].parents.values():
                ordered.update(dict.fromkeys(self.ancestors(parent)))
            self._ancestors[stage_id] = (*ordered, stage_id)
        return self._ancestors[stage_id]

    def part(self, ends: Iterable[str]) -> Plan:
        """These stages and all they depend on: a plan without cells."""
        wanted = {stage_id for end in ends for stage_id in self.ancestors(end)}
        return Plan(stages={stage_id: spec for stage_id, spec in self.stages.items() if stage_id in wanted})

    def alike(self, stage_id: str) -> int:
        """A number, the same for stages that only the seeds of their cells set apart, in themselves or behind them.

        Computed once for each stage from its parents' numbers: sooner than comparing stages two by two. Of stages with
        different numbers nothing is said: only a seed that the plan gives a kind of the harness is passed over.
        """
        if stage_id not in self._alike:  # nor are those that were added after it
            for added in list(self.stages)[len(self._alike) :]:
                self._alike[added] = self._first_like(self.stages[added])
        return self._alike[stage_id]

    def _first_like(self, spec: StageSpec) -> int:
        """The place of the first stage that is like it; one that is not numbered yet, its parents are."""
        parameters = dict(spec.parameters)
        if spec.kind in SEEDED:
            parameters.pop("seed", None)
        parents = {role: self._alike[parent] for role, parent in spec.parents.items()}
        own = spec.inputs, parents, parameters, spec.versions
        known = self._unlike.setdefault((spec.kind, *parents.values()), [])
        for place, theirs in known:
            if own == theirs:
                return place
        known.append((len(self._alike), own))
        return len(self._alike)

    def models_behind(self, spec: StageSpec) -> Iterator[StageSpec]:
        """The stages whose model this one starts from, the last first: each the parent "model" of the one before."""
        while (parent := spec.parents.get("model", "")) in self.stages:
            spec = self.stages[parent]
            yield spec

    def base_model(self, spec: StageSpec) -> str | None:
        """The base model of a stage: its own parameter, or that of the nearest model behind it that has one."""
        lineage = chain((spec,), self.models_behind(spec))
        return next((each.parameters["model"] for each in lineage if "model" in each.parameters), None)

    def label(self, stage_id: str) -> str:
        """The stage's name for people."""
        return stage_label(self.stages[stage_id], self.stages)

    def work(self, stage_id: str) -> str | None:
        """What the stage does with its time, one of `kinds.WORK`; None where no method of the plan says so."""
        return self.work_of_kind(self.stages[stage_id].kind)

    def work_of_kind(self, name: str) -> str | None:
        if name in KINDS:
            return KINDS[name].work
        return next((facts.kinds[name] for facts in self.methods.values() if name in facts.kinds), None)

    def endpoint(self, cell: Cell) -> str:
        """The stage whose record holds the cell's metrics."""
        return self.paths[cell][-1]

    def task_of(self, cell: Cell) -> Task:
        """The cell's task, as its stages declare it. Raises ValueError for one that nobody knows."""
        return task_of(self.stages[self.endpoint(cell)].parameters)

    def declarations(self) -> dict[str, str | None]:
        """Of each task that a cell has: its declaration; None of one that is named alone."""
        found = (self.stages[self.endpoint(cell)].parameters for cell in self.paths)
        return {parameters[TASK]: parameters.get(DECLARATION) for parameters in found}

    def stages_of(self, cell: Cell) -> tuple[str, ...]:
        """The cell's path, and the stages that measure its model."""
        return (*self.paths[cell], *self.measures.get(cell, ()))

    def ends(self) -> set[str]:
        """The stages that cells end with, and those that measure their models."""
        return {self.endpoint(cell) for cell in self.paths}.union(*self.measures.values())

    def measuring(self, cell: Cell, kind: str) -> tuple[str, ...]:
        """The stages of that kind that measure the cell's model."""
        return tuple(i for i in self.measures.get(cell, ()) if self.stages[i].kind == kind)

    def counts(self) -> dict[str, int]:
        """Number of stages by kind, in order of first appearance."""
        return dict(Counter(spec.kind for spec in self.stages.values()))
