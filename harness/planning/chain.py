"""Chain: what a method may add to the path of one cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.errors import Problem, UsageError, unknown_name
from harness.planning.equivalents import identity_version
from harness.planning.graph import Inputs, Plan
from harness.planning.kinds import (
    DISTILLATION,
    KINDS,
    RESERVED,
    TOKEN_DISTILLATION,
    StageKind,
    get_kind,
)
from harness.planning.recipe import Recipe, WrongCall, fixed_settings
from harness.specs import STORED, TEACHER_LOGITS, Cell, StageSpec
from harness.tasks import Task
from harness.wording import option

TEACHER_SEED = 0
PRETRAINING_SEED = 0  # where a model with random weights is pre-trained
DISTILLATION_PARAMETERS = tuple({**DISTILLATION, **TOKEN_DISTILLATION})


@dataclass
class PlanCache:
    """What the chains of one plan have computed already; it saves time and nothing else.

    parameters: by kind, model, task, sparsity and what is left out of the recipe.
    stages: by all that a call assembles: kind, model, task, what is left out, other parameters, parents and inputs.
    """

    parameters: dict[tuple[str, str, str | None, float | None, tuple[str, ...]], dict[str, Any]] = field(
        default_factory=dict
    )
    stages: dict[tuple[Any, ...], StageSpec] = field(default_factory=dict)


@dataclass(frozen=True)
class PretrainedModel:
    """A pre-trained encoder that no stage makes: the content of its weights and tokenizer."""

    inputs: Mapping[str, str]


@dataclass
class Chain:
    """What a method may add to the path of one cell. Every call returns the shared StageSpec.

    owned: the stage kinds that the cell's method brings. declared_by: where a worker finds their declaration, the
    method's package.module:METHOD. problems: values that no stage can have, noted for all of a plan.
    """

    plan: Plan
    cell: Cell
    recipe: Recipe
    inputs: Inputs
    owned: Mapping[str, StageKind] = field(default_factory=dict)
    declared_by: str | None = None
    cache: PlanCache = field(default_factory=PlanCache)
    problems: dict[Problem, None] = field(default_factory=dict)

    # -- any stage

    def stage(
        self,
        kind: str | StageKind,
        *,
        parents: Mapping[str, StageSpec] | None = None,
        inputs: Mapping[str, str] | None = None,
        task: str | None = None,
        without: tuple[str, ...] = (),
        **parameters: Any,
    ) -> StageSpec:
        """Add a stage: the recipe's parameters of its kind less `without`, and `parameters`, which go before them.

        parents: role -> stage. inputs: role -> content hash. Raises UsageError for a kind that is neither built in nor
        the method's own, and for every value that the recipe lacks. A stage on a task whose teacher's logits are stored
        has their stage as one more parent.
        """
        declared = self._declared(kind)
        of_task = self.recipe.tasks[task] if task is not None else None
        without = (*without, *(of_task.head.without if of_task is not None else ()))
        roles = {role: parent.stage_id for role, parent in parents.items()} if parents else {}
        given = tuple(inputs.items()) if inputs else ()
        texts = repr(parameters) if parameters else ""  # 1, 1.0 and True are three values: their text tells them apart
        key = (declared.name, self.cell.model, task, without, texts, tuple(roles.items()), given)
        known = self.cache.stages.get(key)
        if known is not None:
            return known
        sparsity = parameters.get("sparsity") if "sparsity" in declared.identity else None
        resolved = {**self._recipe(declared, task, sparsity, without), **parameters}
        if of_task is not None:
            resolved |= of_task.parameters
        self._check_values(declared, resolved)
        for name in declared.silent:
            if name in resolved and not declared.recipe[name].is_told(resolved[name]):
                del resolved[name]
        if resolved.get(TEACHER_LOGITS) == STORED:
            if task is not None and parents and "teacher" in parents:
                roles[TEACHER_LOGITS] = self.teacher_logits(parents["teacher"]).stage_id
            else:  # nothing to store: no teacher, or tokens that are masked anew in every epoch
                del resolved[TEACHER_LOGITS]
        added = self.cache.stages[key] = self.plan.add(
            StageSpec(
                kind=declared.name,
                parameters=resolved,
                parents=roles,
                inputs=dict(given),
                versions={"kind": identity_version(declared)},
                declared_by=self.declared_by if declared.owner else None,
            )
        )
        self.plan.models.setdefault(added.stage_id, self.cell.model)
        return added

    def fine_tuning(
        self,
        kind: str | StageKind,
        *,
        start: StageSpec | PretrainedModel,
        teacher: StageSpec | None = None,
        mask_from: StageSpec | None = None,
        **parameters: Any,
    ) -> StageSpec:
        """Add a training on the cell's task, with the cell's model and seed.

        start: whose weights it begins with (parent "model", or the inputs of a pre-trained model).
        teacher: whom it distils from (parent "teacher"); without one the stage has no distillation parameters.
        mask_from: becomes the parent "mask", whose zero pattern the kind's own code may read.
        parameters: those of the kind's identity, such as sparsity; and values that the method fixes, whatever the
        recipe says. Raises UsageError for a parameter that the stage cannot have, and for one of its identity that is
        missing.
        """
        declared, task = self._declared(kind), self.task
        if taken := RESERVED & parameters.keys():
            raise WrongCall(f"{declared.name}: {', '.join(sorted(taken))}: given by the chain, not by a method.")
        without = () if teacher else DISTILLATION_PARAMETERS
        identity: dict[str, Any] = {"model": self.cell.model, "seed": self.cell.seed}
        fixed: dict[str, Any] = {}
        for name, value in parameters.items():
            (identity if name in declared.identity else fixed)[name] = value
        for name in declared.identity:
            if name not in identity and name != "task":
                raise WrongCall(f"{declared.name}: {name} is missing; give it to fine_tuning.")
        if fixed:
            identity |= fixed_settings(declared, fixed, without=without)
        inputs = {"train": self._data(f"{task.name}/{task.train_split}")}
        roles: dict[str, StageSpec] = {}
        if isinstance(start, PretrainedModel):
            inputs = {**start.inputs, **inputs}
        else:
            roles["model"] = start
        if teacher is not None:
            roles["teacher"] = teacher
        if mask_from is not None:
            roles["mask"] = mask_from
        return self.stage(declared, parents=roles, inputs=inputs, task=task.name, without=without, **identity)

    def value(self, kind: str | StageKind, name: str) -> Any:
        """What the recipe gives a stage of the cell for a parameter: for a method whose stages depend on it.

        Where the recipe has none, the declared default. Raises UsageError where there is neither.
        """
        declared = self._declared(kind)
        if name not in declared.recipe:
            raise WrongCall(f"{declared.name}: {unknown_name('parameter', name, declared.recipe)}")
        found = self.recipe.value_for(declared, name, self.cell.model, self.cell.task)
        if found is None:
            key = f"{declared.name}.{name}"
            raise UsageError(f"the recipe has no value for {key}. Give one: {option('set')} {key}=..")
        return found

    # -- pre-training

    def corpus(self) -> StageSpec:
        """The corpus, split into sentences."""
        data = {split: self._data(f"corpus/{split}") for split in ("train", "validation")}
        return self.stage("corpus", inputs=data)

    def pairs(self) -> StageSpec:
        """Sentence pairs of the corpus in the model's word pieces."""
        return self.stage(
            "pairs",
            parents={"corpus": self.corpus()},
            inputs={"tokenizer": self.inputs.models[self.cell.model].tokenizer},
        )

    def teacher_preparation(self) -> StageSpec:
        """Masked-LM and next-sentence training of the dense model on the corpus (Prune OFA)."""
        return self._prepared(self.pairs(), self.cell.pruning_seed)

    def _prepared(self, pairs: StageSpec, seed: int) -> StageSpec:
        return self.stage(
            "teacher_preparation",
            parents={"pairs": pairs},
            inputs={"model": self.inputs.models[self.cell.model].weights},
            model=self.cell.model,
            seed=seed,
        )

    def student_pruning(self) -> StageSpec:
        """Gradual magnitude pruning of the prepared teacher on the same corpus, distilled from it (Prune OFA)."""
        pairs = self.pairs()
        return self.stage(
            "student_pruning",
            parents={"pairs": pairs, "teacher": self._prepared(pairs, self.cell.pruning_seed)},
            model=self.cell.model,
            sparsity=self.cell.sparsity,
            seed=self.cell.pruning_seed,
        )

    # -- where fine-tuning starts

    def pretrained_model(self) -> StageSpec | PretrainedModel:
        """The dense pre-trained model: the base model itself; for random weights, the one pre-trained in this grid."""
        found = self.inputs.models[self.cell.model]
        if not found.pretrained:
            return self._prepared(self.pairs(), PRETRAINING_SEED)
        return PretrainedModel({"model": found.weights, "tokenizer": found.tokenizer})

    def sparse_model(self) -> StageSpec:
        """The cell's sparse pre-trained model: a released checkpoint where the grid has such, else pruned here."""
        if not self.inputs.released:
            return self.student_pruning()
        wanted = self.cell.model, self.cell.sparsity
        if wanted not in self.inputs.released:
            released = ", ".join(f"{model} {sparsity:g}" for model, sparsity in self.inputs.released)
            raise UsageError(
                f"the preset has no sparse checkpoint for {self.cell.model} at {self.cell.sparsity:g}. There are: "
                f"{released}. Bring one of your own with {option('sparse-from')} NAME=DIR, or prune here under another "
                "preset."
            )
        return self._sparse_checkpoint(self.inputs.released[wanted])

    def own_sparse_model(self, name: str) -> StageSpec:
        """The user's own sparse checkpoint NAME."""
        return self._sparse_checkpoint(self.inputs.sparse_from[name])

    def _sparse_checkpoint(self, content: str) -> StageSpec:
        return self.stage(
            "sparse_checkpoint",
            inputs={"checkpoint": content, "tokenizer": self.inputs.models[self.cell.model].tokenizer},
            model=self.cell.model,
            sparsity=self.cell.sparsity,
        )

    # -- on a task

    def dense(self, *, seed: int | None = None) -> StageSpec:
        """Plain fine-tuning of the dense model. seed: default the cell's."""
        return self.fine_tuning("dense", start=self.pretrained_model(), seed=self.cell.seed if seed is None else seed)

    def teacher(self) -> StageSpec:
        """The task teacher: the dense fine-tune of the same base model with seed 0."""
        return self.dense(seed=TEACHER_SEED)

    def teacher_logits(self, teacher: StageSpec) -> StageSpec:
        """What a teacher says of the task's training examples: one stage for all students, sparsities and seeds."""
        task = self.task
        inputs = {"train": self._data(f"{task.name}/{task.train_split}")}
        return self.stage(TEACHER_LOGITS, parents={"model": teacher}, inputs=inputs, task=task.name)

    def task_pruning(self, *, distillation: bool = True) -> StageSpec:
        """Gradual magnitude pruning of the dense model during fine-tuning, distilled from the task teacher or not."""
        teacher = self.teacher() if distillation else None
        return self.fine_tuning(
            "task_pruning", start=self.pretrained_model(), teacher=teacher, sparsity=self.cell.sparsity
        )

    def transfer(self, sparse_model: StageSpec, *, distillation: bool, **settings: Any) -> StageSpec:
        """Fine-tuning with the zero pattern of `sparse_model` locked (Prune OFA, pattern-lock).

        settings: what the method fixes, whatever the recipe says. Raises UsageError for one that the stage cannot have.
        """
        teacher = self.teacher() if distillation else None
        if settings:  # checked here as well: fine_tuning would let a method give another model or seed
            without = () if teacher else DISTILLATION_PARAMETERS
            settings = fixed_settings(get_kind("transfer"), settings, without=without)
        return self.fine_tuning("transfer", start=sparse_model, teacher=teacher, **settings)

    def quantization(self, model: StageSpec) -> StageSpec:
        """Quantization-aware training of a fine-tuned model, its pattern locked; with the teacher of its transfer."""
        teacher = self.plan.stages[model.parents["teacher"]] if "teacher" in model.parents else None
        return self.fine_tuning("quantization", start=model, teacher=teacher)

    def evaluation(self, model: StageSpec, *, arithmetic: str = "fp32") -> StageSpec:
        """The scores of a model on the task's evaluation splits. arithmetic: "fp32" or "int8"."""
        task = self.task
        splits = [split for split, _ in task.evaluation_splits if f"{task.name}/{split}" in self.inputs.data]
        return self.stage(
            "evaluation",
            parents={"model": model},
            inputs={split: self.inputs.data[f"{task.name}/{split}"] for split in splits},
            task=task.name,
            arithmetic=arithmetic,
        )

    def measure(self, kind: str, evaluation: StageSpec) -> StageSpec:
        """A stage of one of `MEASURES` on the model that an evaluation scores, with the same arithmetic.

        One that reads the task's data has the evaluation's; one that belongs to a machine has that of the plan.
        """
        declared = self.kind(kind)
        own: dict[str, Any] = {"machine": self.inputs.machine} if "machine" in declared.identity else {}
        return self.stage(
            kind,
            parents={"model": self.plan.stages[evaluation.parents["model"]]},
            inputs=evaluation.inputs if declared.task_data else {},
            task=self.cell.task,
            arithmetic=evaluation.parameters["arithmetic"],
            **own,
        )

    def kind(self, name: str) -> StageKind:
        """The declaration of a kind that this chain may add. Raises UsageError for another name."""
        return self._declared(name)

    @property
    def task(self) -> Task:
        """The cell's."""
        return self.recipe.tasks[self.cell.task]

    # -- what calls assemble

    def _declared(self, kind: str | StageKind) -> StageKind:
        """The declaration of a kind that this chain may add."""
        name = kind if isinstance(kind, str) else kind.name
        found = self.owned.get(name) or KINDS.get(name)
        if found is None or (found is not kind and isinstance(kind, StageKind) and found != kind):
            hint = "" if isinstance(kind, str) else f" Name it in the method's declaration: kinds=({name!r}, ..)."
            raise WrongCall(unknown_name("stage kind", name, [*KINDS, *self.owned]) + hint)
        return found

    def _check_values(self, kind: StageKind, values: Mapping[str, Any]) -> None:
        """Note what is wrong with values that are right each by itself."""

        def key(name: str) -> str:
            if name in kind.identity:
                return name
            return f"task.{values['task']}.{name}" if name in kind.task_data else f"{kind.name}.{name}"

        found = [problem for relation in kind.relations if (problem := relation.problem(values, key))]
        positions, length = self.inputs.models[self.cell.model].positions, values.get("max_length")
        if positions is not None and type(length) is int and length > positions:
            found.append(
                Problem(
                    f"{key('max_length')}={length}, and model {self.cell.model!r} has {positions} positions",
                    "set",
                    next_move=f"Give {option('set')} {key('max_length')}={positions} or less, or another model.",
                )
            )
        kernels, kernel = self.inputs.models[self.cell.model].attention, values.get("attention")
        if kernels is not None and kernel is not None and kernel not in kernels:
            found.append(
                Problem(
                    f"common.attention={kernel}, and the library has {', '.join(kernels)} for {self.cell.model!r}",
                    "set",
                    next_move=f"Give {option('set')} common.attention={kernels[0]}, or another model.",
                )
            )
        self.problems.update(dict.fromkeys(found))

    def _recipe(
        self, kind: StageKind, task: str | None, sparsity: float | None, without: tuple[str, ...]
    ) -> dict[str, Any]:
        key = (kind.name, self.cell.model, task, sparsity, without)
        if key not in self.cache.parameters:
            recipe = self.recipe.parameters(kind, model=self.cell.model, task=task, sparsity=sparsity)
            defaults = self.recipe.defaults(kind, model=self.cell.model, task=task, sparsity=sparsity)
            unread = {f"{kind.name}.{name}" for name in without}
            self.plan.defaults.update({key: setting for key, setting in defaults.items() if key not in unread})
            kept = sorted(name for name in recipe if name not in without)  # sorted here, canonical JSON sorts faster
            self.cache.parameters[key] = {name: recipe[name] for name in kept}
        return self.cache.parameters[key]

    def _data(self, name: str) -> str:
        if name not in self.inputs.data:
            raise WrongCall(f"method {self.cell.method!r} reads {name}, which this grid has no data for.")
        return self.inputs.data[name]
