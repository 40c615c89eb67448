"""Chain: what a method may add to the path of one cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from harness.planning.equivalents import identity_version
from harness.planning.graph import Inputs, Plan
from harness.planning.kinds import DISTILLATION, get_kind
from harness.planning.recipe import Recipe, fixed_settings
from harness.specs import Cell, StageSpec
from harness.tasks import get_task

TEACHER_SEED = 0

PRETRAINING_SEED = 0  # of a model that has no pre-training of its own

P = ParamSpec("P")


@dataclass
class Known:
    """What chains of one plan have worked out already; it saves time and nothing else.

    parameters: by kind, model, task and what is left out of the recipe. stages: by the call that made them.
    """

    parameters: dict[tuple[str, str, str | None, tuple[str, ...]], dict[str, Any]] = field(default_factory=dict)
    stages: dict[tuple[Any, ...], StageSpec] = field(default_factory=dict)


Call = Callable[Concatenate["Chain", P], StageSpec]


def told_by(*coordinates: str) -> Callable[[Call[P]], Call[P]]:
    """For a call whose stage depends on these coordinates of the cell and its arguments alone: made once for each."""

    def decorate(call: Call[P]) -> Call[P]:
        @wraps(call)
        def once(chain: Chain, *arguments: P.args, **named: P.kwargs) -> StageSpec:
            told = [getattr(chain.cell, name) for name in coordinates]
            given = [value.stage_id if isinstance(value, StageSpec) else value for value in arguments]
            key = (call.__name__, *told, *given, *named.items())
            if key not in chain.known.stages:
                chain.known.stages[key] = call(chain, *arguments, **named)
            return chain.known.stages[key]

        return once

    return decorate


@dataclass
class Chain:
    """What a method may add to the path of one cell. Every call returns the shared StageSpec."""

    plan: Plan
    cell: Cell
    recipe: Recipe
    inputs: Inputs
    known: Known = field(default_factory=Known)

    def stage(
        self,
        kind: str,
        *,
        parents: Mapping[str, StageSpec] | None = None,
        inputs: Mapping[str, str] | None = None,
        task: str | None = None,
        without: tuple[str, ...] = (),
        **identity: Any,
    ) -> StageSpec:
        """Add a stage of any registered kind: its recipe parameters less `without`, plus `identity`, which wins."""
        parameters = {**self._recipe(kind, task, without), **identity}
        if task is not None:
            parameters["task"] = task
        return self.plan.add(
            StageSpec(
                kind=kind,
                parameters=parameters,
                parents={role: parent.stage_id for role, parent in (parents or {}).items()},
                inputs=dict(inputs or {}),
                versions={"kind": identity_version(get_kind(kind))},
            )
        )

    def _recipe(self, kind: str, task: str | None, without: tuple[str, ...]) -> dict[str, Any]:
        key = (kind, self.cell.model, task, without)
        if key not in self.known.parameters:
            recipe = self.recipe.parameters(get_kind(kind), model=self.cell.model, task=task)
            kept = sorted(name for name in recipe if name not in without)  # sorted here, canonical JSON sorts faster
            self.known.parameters[key] = {name: recipe[name] for name in kept}
        return self.known.parameters[key]

    @told_by()
    def corpus(self) -> StageSpec:
        data = {split: self.inputs.data[f"corpus/{split}"] for split in ("train", "validation")}
        return self.stage("corpus", inputs=data)

    @told_by("model")
    def pairs(self) -> StageSpec:
        return self.stage(
            "pairs",
            parents={"corpus": self.corpus()},
            inputs={"tokenizer": self.inputs.models[self.cell.model].tokenizer},
        )

    def teacher_preparation(self) -> StageSpec:
        """Masked-LM and next-sentence training of the dense model on the corpus (Prune OFA)."""
        return self._prepared(self.cell.pruning_seed)

    @told_by("model")
    def _prepared(self, seed: int) -> StageSpec:
        return self.stage(
            "teacher_preparation",
            parents={"pairs": self.pairs()},
            inputs={"model": self.inputs.models[self.cell.model].weights},
            model=self.cell.model,
            seed=seed,
        )

    @told_by("model", "sparsity", "pruning_seed")
    def student_pruning(self) -> StageSpec:
        """Gradual pruning of that model on the same corpus, distilled from itself (Prune OFA)."""
        teacher = self.teacher_preparation()
        return self.stage(
            "student_pruning",
            parents={"pairs": self.pairs(), "teacher": teacher},
            model=self.cell.model,
            sparsity=self.cell.sparsity,
            seed=self.cell.pruning_seed,
        )

    def sparse_model(self) -> StageSpec:
        """The cell's sparse pre-trained model: a released checkpoint where the recipe lists such, else pruned here."""
        if not self.recipe.sparse_checkpoints:
            return self.student_pruning()
        return self._sparse_checkpoint(self.recipe.released(self.cell.model, self.cell.sparsity).content_id)

    def own_sparse_model(self, name: str) -> StageSpec:
        """The user's own sparse checkpoint NAME."""
        return self._sparse_checkpoint(self.inputs.sparse_from[name])

    def _sparse_checkpoint(self, identity: str) -> StageSpec:
        return self.stage(
            "sparse_checkpoint",
            inputs={"checkpoint": identity, "tokenizer": self.inputs.models[self.cell.model].tokenizer},
            model=self.cell.model,
            sparsity=self.cell.sparsity,
        )

    def dense(self, *, seed: int | None = None) -> StageSpec:
        return self._from_base_model("dense", seed=self.cell.seed if seed is None else seed)

    @told_by("model", "task")
    def teacher(self) -> StageSpec:
        """The task teacher: the dense fine-tune of the same base model with seed 0."""
        return self.dense(seed=TEACHER_SEED)

    @told_by("model", "task", "sparsity", "seed")
    def task_pruning(self) -> StageSpec:
        return self._from_base_model("task_pruning", teacher=self.teacher(), sparsity=self.cell.sparsity)

    @told_by("model", "task", "seed")
    def transfer(self, sparse_model: StageSpec, *, distillation: bool, **settings: Any) -> StageSpec:
        """Fine-tuning with the zero pattern of `sparse_model` locked (Prune OFA, pattern-lock).

        settings: what the method fixes, whatever the recipe says. Raises UsageError for one that the stage cannot have.
        """
        teacher = self.teacher() if distillation else None
        fixed = fixed_settings(get_kind("transfer"), settings, without=() if teacher else tuple(DISTILLATION))
        return self._fine_tuning("transfer", parents={"model": sparse_model}, teacher=teacher, **fixed)

    @told_by("model", "task", "seed")
    def quantization(self, model: StageSpec) -> StageSpec:
        """Quantization-aware training of a fine-tuned model, its pattern locked; with the teacher of its transfer."""
        teacher = self.plan.stages[model.parents["teacher"]] if "teacher" in model.parents else None
        return self._fine_tuning("quantization", parents={"model": model}, teacher=teacher)

    def evaluation(self, model: StageSpec) -> StageSpec:
        task = get_task(self.cell.task)
        splits = [split for split, _ in task.evaluation_splits if f"{task.name}/{split}" in self.inputs.data]
        return self.stage(
            "evaluation",
            parents={"model": model},
            inputs={split: self.inputs.data[f"{task.name}/{split}"] for split in splits},
            task=task.name,
            arithmetic="int8" if model.kind == "quantization" else "fp32",
        )

    def _from_base_model(self, kind: str, **named: Any) -> StageSpec:
        """Fine-tuning of the dense pre-trained model: the base model itself, or what pre-training here made of it."""
        found = self.inputs.models[self.cell.model]
        if not found.pretrained:
            return self._fine_tuning(kind, parents={"model": self._prepared(PRETRAINING_SEED)}, **named)
        return self._fine_tuning(kind, inputs={"model": found.weights, "tokenizer": found.tokenizer}, **named)

    def _fine_tuning(
        self,
        kind: str,
        *,
        parents: Mapping[str, StageSpec] | None = None,
        inputs: Mapping[str, str] | None = None,
        teacher: StageSpec | None = None,
        **identity: Any,
    ) -> StageSpec:
        """A stage on the cell's task. Without a teacher there is no distillation, whatever the recipe says of it."""
        task = get_task(self.cell.task)
        roles = {**(parents or {}), **({"teacher": teacher} if teacher else {})}
        return self.stage(
            kind,
            parents=roles,
            inputs={**(inputs or {}), "train": self.inputs.data[f"{task.name}/{task.train_split}"]},
            task=task.name,
            without=() if teacher else tuple(DISTILLATION),
            **{"model": self.cell.model, "seed": self.cell.seed, **identity},
        )
