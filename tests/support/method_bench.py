"""A bench for methods: the stages of any method's cell, run on toy encoders in this process, alone or with a variation.

What a method is to do is read from its declaration and from the stages that it adds; nothing here knows one by name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import tiny_world
from safetensors.torch import load_file
from torch import Tensor, nn
from tutorial import EXAMPLE

from harness.errors import Interrupted
from harness.files import folder_digest
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.data_sources import FolderData
from harness.inputs.families import FAMILIES
from harness.inputs.family import Family
from harness.inputs.models import find_models
from harness.planning.graph import Inputs, ModelIdentity, Plan
from harness.planning.method import Method
from harness.planning.method_registry import BUILT_IN, FoundMethod, find_method, kind_of
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset
from harness.specs import Cell, StageSpec, Team
from harness.stages.context import Resources, Sources, StageContext, StageResult
from harness.stages.training_run import TrainingRun
from harness.tasks import get_task
from harness.training.modifiers import Factor, Matrices, Modifier, ModifierFactory
from harness.worker.stage_call import call_stage

MODEL, TASK, SPARSITY = "tiny", "sst2", 0.85
PLUGIN = "random_pruning:METHOD"  # the package of docs/new-method.md
METHODS = (*BUILT_IN, PLUGIN)
# Any kind that has a parameter of this name gets this value: small runs, whatever the shipped presets say.
SMALL: Mapping[str, Any] = {
    "threads": 1,
    "epochs": 2.0,
    "steps": 16,
    "batch_size": 8,
    "learning_rate": 0.003,
    "evaluation_pairs": 16,
    "num_gradients": 16,
    "num_events": 3,
    "gradient_batch": 4,
    "block_size": 8,
    "amount": 0.5,
    "score_learning_rate": 0.5,
    "final_lambda": 100.0,
}
SMALL_DATA: Mapping[str, Any] = {
    "pairs.max_length": 32,
    "task.sst2.max_length": 16,
    "task.sst2.train_examples": 64,
    "task.squad.max_length": 32,
    "task.squad.doc_stride": 8,
    "task.squad.max_query_length": 10,
    "task.squad.train_examples": 24,
}
MAKERS = {"bert": tiny_world.make_model, "distilbert": tiny_world.make_distilbert}


def found_method(name: str) -> FoundMethod:
    if str(EXAMPLE) not in sys.path:
        sys.path.append(str(EXAMPLE))
    return find_method(name)


def is_of(key: str, kind: str, parameter: str) -> bool:
    """Whether a recipe key gives a parameter of a kind its value, for all of its stages or for some."""
    return key.startswith(f"{kind}.") and key.endswith(f".{parameter}")


def is_exact(method: Method) -> bool:
    """Whether the cell's sparsity is what its zeros are to be; else it is an outcome, which is reported."""
    return getattr(method, "sparsity_is", "exact") != "outcome"


@dataclass(frozen=True)
class Made:
    """What a stage made. steps: how many it told of."""

    spec: StageSpec
    artifact: Path
    result: StageResult
    steps: int

    @property
    def digest(self) -> str:
        return folder_digest(self.artifact)

    @property
    def told(self) -> dict[str, Any]:
        """The result without what a clock or a micro-batch size says."""
        details = {name: value for name, value in self.result.details.items() if name != "training"}
        training = dict(self.result.details.get("training", {}))
        for name in ("seconds", "batches"):
            training.pop(name, None)
        return {"metrics": self.result.metrics, "did": self.result.did, **details, "training": training}

    @property
    def weights(self) -> dict[str, Tensor]:
        return load_file(self.artifact / "model.safetensors")

    @property
    def sparsity(self) -> dict[str, Any]:
        """As the stage's record has it; empty for a stage that makes no model."""
        found: dict[str, Any] = self.result.details.get("sparsity", {})
        return found


@dataclass
class Bench:
    """Toy encoders of one family, and what stages made of them so far."""

    family: Family
    folder: Path
    sources: Sources
    inputs: Inputs
    specs: dict[str, StageSpec] = field(default_factory=dict)
    made: dict[str, Made] = field(default_factory=dict)
    checked: dict[tuple[str, str], Any] = field(default_factory=dict)
    runs: int = 0

    @classmethod
    def at(cls, folder: Path, family: str) -> Bench:
        models = find_models([(MODEL, MAKERS[family](folder / "model"))], ContentHashes()).models
        data = FolderData(tiny_world.make_data(folder / "data"))
        identity = ModelIdentity(weights=models[MODEL].weights, tokenizer=models[MODEL].tokenizer)
        inputs = Inputs(
            models={MODEL: identity}, data=data.content_ids([get_task(TASK), get_task("squad")], corpus=True)
        )
        return cls(FAMILIES[family], folder, Sources(models=models, data=data), inputs)

    @property
    def matrices(self) -> list[str]:
        return self.family.encoder_matrices(tiny_world.NUM_LAYERS)

    # -- planning

    def plan(self, name: str, *, quantization: str = "none", **changed: Any) -> Plan:
        """Of one cell. changed: fields of the cell."""
        found = found_method(name)
        cell = Cell(
            **{
                "model": MODEL,
                "method": found.method.name,
                "sparsity": SPARSITY if found.method.sparse else 0.0,
                "task": TASK,
                "quantization": quantization,
                "seed": 0,
                **changed,
            }
        )
        recipe = load_preset("quick", [name]).recipe
        settings = dict(SMALL_DATA)
        for kind in recipe.kinds.values():
            for parameter in SMALL.keys() & kind.recipe.keys():
                given = [key for key in recipe.settings if is_of(key, kind.name, parameter)]  # for tasks, models, ..
                settings |= dict.fromkeys([*given, f"{kind.name}.{parameter}"], SMALL[parameter])
        planned = plan_cells([cell], recipe.changed(settings), self.inputs, {cell.method: found})
        self.specs.update(planned.stages)
        return planned

    def trained(self, name: str, **changed: Any) -> list[StageSpec]:
        """The stages on the way to the cell that train a model or change one, its own model last."""
        (path,) = (planned := self.plan(name, **changed)).paths.values()
        stages = [planned.stages[stage_id] for stage_id in planned.stages if stage_id in path]
        return [spec for spec in stages if kind_of(spec).makes_model]

    def one_of_each_kind(self, name: str) -> list[StageSpec]:
        """The last stage of every kind on the way."""
        return list({spec.kind: spec for spec in self.trained(name)}.values())

    # -- running

    def make(self, spec: StageSpec) -> Made:
        """What the stage makes, its parents made before it; once for all that ask."""
        if spec.stage_id not in self.made:
            self.made[spec.stage_id] = self.run(spec)
        return self.made[spec.stage_id]

    def run(
        self,
        spec: StageSpec,
        *,
        stops: Sequence[int] = (),
        resources: Resources | None = None,
        inside: Callable[[], AbstractContextManager[Any]] = nullcontext,
        on_step: Callable[[], None] = lambda: None,
        team: Team | None = None,
    ) -> Made:
        """Run the stage anew. stops: after so many of its steps, ascending, it is stopped and begun again.

        inside: entered around the stage's own code. on_step: called after every step. team: as in `StageContext`, of
        the first attempt; those after it are of a process alone. Raises Interrupted where another rank is stopped.
        """
        parents = {role: self.make(self.specs[parent]) for role, parent in spec.parents.items()}
        self.runs += 1
        folder = self.folder / f"run-{self.runs}"
        (folder / "checkpoints").mkdir(parents=True)
        done = [0]

        def count(progress: Any) -> None:
            done[0] += 1
            on_step()

        for attempt, limit in enumerate((*stops, None)):
            artifact = folder / f"artifact-{attempt}"
            artifact.mkdir()
            context = StageContext(
                spec=spec,
                parent_records={role: record_of(made) for role, made in parents.items()},
                parent_artifacts={role: made.artifact for role, made in parents.items()},
                artifact=artifact,
                checkpoints=folder / "checkpoints",
                sources=self.sources,
                resources=resources or Resources(checkpoint_minutes=60.0),
                should_stop=lambda limit=limit: limit is not None and done[0] >= limit,  # type: ignore[misc]
                report=count,
                team=None if attempt else team,
            )
            try:
                with inside():
                    result = call_stage(kind_of(spec), context)
            except Interrupted:
                if limit is None:
                    raise
                continue
            return Made(spec, artifact, result, done[0])
        raise AssertionError("the last attempt is not stopped")

    def once(self, check: str, spec: StageSpec, make: Callable[[], Any]) -> Any:
        """make(), but once for a stage that several methods have on their way."""
        key = check, spec.stage_id
        if key not in self.checked:
            self.checked[key] = make()
        return self.checked[key]

    # -- what there is to see

    def pattern(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of the encoder's matrices; True: not zero."""
        return {name: weights[f"{name}.weight"] != 0 for name in self.matrices}

    def zeros(self, made: Made) -> list[int]:
        """Of every encoder matrix, counted in the saved weights."""
        return [int((~kept).sum()) for kept in self.pattern(made.weights).values()]


def record_of(made: Made) -> dict[str, Any]:
    """As much of a record as stages read."""
    result = {"metrics": made.result.metrics, "did": made.result.did, **made.result.details}
    return {"kind": made.spec.kind, "parameters": dict(made.spec.parameters), "result": result}


def with_values(spec: StageSpec, **values: Any) -> StageSpec:
    """The stage with other values of those parameters that it has."""
    return replace(spec, parameters={**spec.parameters, **{k: v for k, v in values.items() if k in spec.parameters}})


# -- variations


@contextmanager
def every_run(**change: Callable[[Any], Any]) -> Iterator[None]:
    """Every TrainingRun that is made meanwhile has these fields changed by these functions."""
    make = TrainingRun.__init__

    def made(self: TrainingRun, **given: Any) -> None:
        make(self, **{name: change[name](value) if name in change else value for name, value in given.items()})

    with mock.patch.object(TrainingRun, "__init__", made):
        yield


def in_double_without_dropout() -> AbstractContextManager[None]:
    """Sums in another order differ by 1e-16 then, and micro-batches draw nothing of their own."""

    def model(load: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        def loaded() -> nn.Module:
            network = load().double()
            for module in network.modules():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0
            return network

        return loaded

    def objective(given: Any) -> Any:
        if (kd := getattr(given, "distillation", None)) is not None and isinstance(
            getattr(kd, "teacher", None), nn.Module
        ):
            kd.teacher.double()
        return given

    return every_run(load_model=model, objective=objective)


@dataclass(kw_only=True)
class NoPruning(Modifier):
    """Plain training with the learning rates of another modifier."""

    other: Modifier

    def factor(self, num_steps: int, warmup_steps: int) -> Factor:
        return self.other.factor(num_steps, warmup_steps)


def with_pruning_off() -> AbstractContextManager[None]:
    def off(make: ModifierFactory) -> ModifierFactory:
        return lambda model, matrices, steps: NoPruning(matrices=matrices, other=make(model, matrices, steps))

    return every_run(make_modifier=off)


@contextmanager
def without_matrices() -> Iterator[None]:
    """A model in which no module has the name of a matrix to prune."""
    none = Matrices(encoder=(), pooler=())
    with (
        mock.patch.object(Family, "encoder_matrices", return_value=[]),
        mock.patch.object(Matrices, "of", classmethod(lambda cls, model, family: none)),
    ):
        yield
