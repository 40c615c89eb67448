"""Cell and StageSpec: what is asked for, and one step on the way there.

A cell is a path through a graph of stages. Both are frozen values that know nothing of disks, devices or schedulers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import Problem, unknown_name
from harness.identity import STAGE_ID_HEX_DIGITS, sha256_of
from harness.wording import harmless, shown

QUANTIZATIONS = ("none", "int8")
LARGEST_SEED = 2**32 - 1
# The setting that says where a student's teacher logits come from, the kind of the stage that stores them, and the role
# that it has as a parent.
TEACHER_LOGITS = "teacher_logits"
ONLINE, STORED = "online", "stored"
# Number types of matrix products (`harness.training.precision`).
FP32, TF32, BF16 = "fp32", "tf32", "bf16"


SPARSITY_DECIMALS = 6  # as a page prints it
_ARITHMETIC = 1e-12  # what computing a fraction may be off by


def as_sparsity(value: float) -> float:
    """The fraction as a page prints it, so that 17 * 0.05 is 0.85 and one cell with it."""
    return round(float(value), SPARSITY_DECIMALS)


def sparsity_problem(value: float) -> Problem | None:
    """What is wrong with a sparsity; None for a fraction in [0, 1) that a page prints in full."""
    if problem := _range_problem(value):
        return problem
    printed = as_sparsity(value)
    is_another = printed == 1 or (printed == 0 and value != 0)
    if not is_another and abs(value - printed) <= _ARITHMETIC:
        return None
    return Problem(
        f"sparsity {value!r}",
        expected=f"{SPARSITY_DECIMALS} decimals at most, as a page prints it",
        next_move=None if is_another else f"Write {printed:g}.",
    )


def _range_problem(sparsity: float) -> Problem | None:
    if 0 <= sparsity < 1:
        return None
    hint = f"For {sparsity:g} percent write {sparsity / 100:g}." if 1 < sparsity < 100 else None
    printed = shown(sparsity) if isinstance(sparsity, int) else f"{sparsity:g}"  # a whole number may be of any size
    return Problem(f"sparsity {printed}", expected="a fraction in [0, 1)", next_move=hint)


def seed_problem(seed: int) -> Problem | None:
    """What is wrong with a seed; None for one that every generator takes."""
    if seed < 0:
        return Problem(f"seed {seed}", expected="0 or more")
    if seed > LARGEST_SEED:
        return Problem(f"seed {seed}", expected=f"{LARGEST_SEED} or less (NumPy's generators take 32 bits)")
    return None


@dataclass(frozen=True, kw_only=True, order=True)
class Cell:
    """One configuration of the grid.

    sparsity: share of zeros in the prunable encoder matrices, in [0, 1); 0 for dense methods.
    quantization: "none" (fp32) or "int8" (8-bit weights and activations).
    seed: of the fine-tuning stages (head initialisation, data order, dropout).
    pruning_seed: of the stages that make the sparse pre-trained model; 0 for methods that have none.
    """

    model: str
    method: str
    sparsity: float
    task: str
    quantization: str
    seed: int
    pruning_seed: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "method": self.method,
            "sparsity": self.sparsity,
            "task": self.task,
            "quantization": self.quantization,
            "seed": self.seed,
            "pruning_seed": self.pruning_seed,
        }

    @classmethod
    def from_json(cls, value: Any) -> Cell:
        """The cell of which `as_json` gave `value`. Raises ValueError for what no cell can have."""
        names = ("model", "method", "sparsity", "task", "quantization", "seed", "pruning_seed")
        if not isinstance(value, Mapping) or value.keys() | {"pruning_seed"} != set(names):
            raise ValueError(f"cell {value!r}: expected {', '.join(names)}")
        cell = cls(**value)
        if problem := cell._problem():
            raise ValueError(f"cell {value!r}: {problem}")
        return cell

    def _problem(self) -> str | None:
        for name in ("model", "method", "task", "quantization"):
            if not isinstance(found := getattr(self, name), str) or not found or not found.isprintable():
                return f"{name} {found!r}, expected a name"
        if type(self.sparsity) not in (int, float):
            return f"sparsity {self.sparsity!r}, expected a number"
        for name in ("seed", "pruning_seed"):
            if type(found := getattr(self, name)) is not int:
                return f"{name} {found!r}, expected a whole number"
        if self.quantization not in QUANTIZATIONS:
            return unknown_name("quantization", self.quantization, QUANTIZATIONS)
        # Cells of earlier versions may have more decimals than are taken today.
        problem = _range_problem(self.sparsity) or seed_problem(self.seed) or seed_problem(self.pruning_seed)
        return None if problem is None else problem.message

    @property
    def bits(self) -> int:
        """Of weights and activations."""
        return 8 if self.quantization == "int8" else 32

    def __str__(self) -> str:
        sparse = f" {self.sparsity:g}" if self.sparsity else ""
        return f"{self.model} {self.method}{sparse} {self.task} {self.quantization} seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """One shared step of one or more cells: its kind, every parameter, its parents and the content ids of its inputs.

    parameters: fully resolved, defaults included; values are JSON scalars or lists of them.
    parents: role -> stage id, for example {"teacher": "9f..", "model": "03.."}.
    inputs: role -> content hash of data or base weights.
    versions: the integer code version of the kind, the oldest of those that give the same numbers. A method has none:
    see `harness.planning.method.Method`.
    declared_by: of a kind that a method brings, the package.module:METHOD in which a worker finds it; it enters no id.
    """

    kind: str
    parameters: Mapping[str, Any]
    parents: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    declared_by: str | None = field(default=None, compare=False)

    def fingerprint_fields(self) -> dict[str, Any]:
        """All that enters the stage id."""
        return {
            "kind": self.kind,
            "parameters": dict(self.parameters),
            "parents": dict(self.parents),
            "inputs": dict(self.inputs),
            "versions": dict(self.versions),
        }

    @cached_property
    def stage_id(self) -> str:
        """First 128 bits (hex) of SHA-256 over the canonical JSON of `fingerprint_fields()`."""
        return sha256_of(self.fingerprint_fields())[:STAGE_ID_HEX_DIGITS]

    def order(self) -> dict[str, Any]:
        """All that a worker needs to run it; read back by `from_json`."""
        fields = self.fingerprint_fields()
        return fields if self.declared_by is None else {**fields, "declared_by": self.declared_by}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> StageSpec:
        names = ("kind", "parameters", "parents", "inputs", "versions")
        return cls(**{name: value[name] for name in names}, declared_by=value.get("declared_by"))


def are_of(fields: Mapping[str, Any], spec: StageSpec) -> bool:
    """Whether fields that were read are a stage's own, types and all; sooner than from its id.

    False says nothing: then the id decides. Raises KeyError where one of the fields is missing.
    """
    return (
        fields["kind"] == spec.kind
        and fields["parents"] == spec.parents
        and fields["inputs"] == spec.inputs
        and _are_alike(fields["versions"], spec.versions)
        and _are_alike(fields["parameters"], spec.parameters)
    )


def _are_alike(values: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    """Whether scalars are equal and of equal types: 1 is equal to 1.0 and to True. Of lists it is not told."""
    if values != others:
        return False
    types = list(map(type, values.values()))
    return types == [type(others[name]) for name in values] and list not in types


def stage_label(spec: StageSpec, specs: Mapping[str, StageSpec]) -> str:
    """A short name for people, different from those of the other stages of a plan.

    specs: the stages of the plan, by id; the name of a stage whose parents are not among them may be less specific. A
    stage that goes on with a model of the same task is named by that model, and by its sparsity where it has one; a
    round that goes on with the round before it by the model of the first. What was timed names its machine.
    """
    model = specs.get(spec.parents.get("model", ""))
    if model is not None and "task" in model.parameters:
        while model.kind == spec.kind and model.parents.get("model") in specs:
            model = specs[model.parents["model"]]
        pruned = f" {spec.parameters['sparsity']:g}" if "sparsity" in spec.parameters else ""
        place = f" on {harmless(spec.parameters['machine'])}" if "machine" in spec.parameters else ""
        return f"{spec.kind}{pruned} of {stage_label(model, specs)}{place}"
    words = [spec.kind, *(spec.parameters[key] for key in ("model", "task") if key in spec.parameters)]
    sparsity = spec.parameters.get("sparsity", model.parameters.get("sparsity") if model is not None else None)
    words += [f"{sparsity:g}"] if sparsity is not None else []
    undistilled = (
        "train" in spec.inputs and "task" in spec.parameters and "teacher" not in spec.parents and spec.kind != "dense"
    )
    words += ["without KD"] if undistilled else []
    words += [f"from {model.kind}"] if model is not None and ":" in model.kind else []
    words += [f"seed {spec.parameters['seed']}"] if "seed" in spec.parameters else []
    return harmless(" ".join(str(word) for word in words))


@dataclass(frozen=True, kw_only=True)
class Team:
    """The ranks of a stage; `harness.training.ranks` connects them.

    size: how many there are. rank: this one's number; 0 is the worker's. is_local: all are on this machine.
    start: the worker's: a free port -> a context manager within which the others run and are told that port.
    address, copies: another rank's: host and port of the worker, and its folder of mapped copies of the data.
    """

    size: int
    rank: int = 0
    is_local: bool = True
    start: Callable[[int], AbstractContextManager[object]] | None = None
    address: tuple[str, int] | None = None
    copies: Path | None = None
