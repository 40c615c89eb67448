"""Stage kinds: what each computes, with which parameters, and which code runs it.

A kind is a declaration; its code (`harness.stages`, or a method's own `stage.py`) is imported by a worker alone. The
version is raised whenever the computation changes, so that finished work of the old code is never taken for the new. A
test notices when a kind's source changed and says what to do; `equivalents.toml` names versions that changed no number.

The kinds here are built in. A method may bring kinds of its own, named OWNER:NAME after it (`harness.planning.method`).

What a finished stage's record holds under `result`, beside `metrics` and `did` (what was done, in words, with counts):

    corpus              corpus      articles and sentences by split
    pairs               pairs       number of pairs and tokens by split
    all that hand on    sparsity    zeros of the encoder matrices (share, count, numel, by matrix), of the pooler apart,
    a model                         and pattern_sha256, the digest of where the matrices are non-zero
    all that train      training    steps, examples, tokens, seconds, threads, loss curve
    student_pruning,    schedule    the fractions of the recipe, resolved to steps
    task_pruning
    sparse_checkpoint   checkpoint  source, file, its SHA-256, claimed sparsity, whether it brought a pooler
    quantization        int8        zeros among the codes, beside those of the locked pattern
    teacher_logits      teacher_logits  examples and tokens
    evaluation          cell_sparsity, artifact_sparsity
    packing             packed      bytes of the packed file and of the encoder in it, beside Shannon's bound; the
                                    metrics are those of the model that was read back from the file
    latency             latency     milliseconds of a call by runtime, examples and tokens, on one machine
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError, unknown_name
from harness.identity import NAME
from harness.planning.parameter import Parameter, Relation
from harness.specs import BF16, FP32, ONLINE, STORED, TEACHER_LOGITS, TF32

if TYPE_CHECKING:
    from harness.inputs.shapes import Shape

Parameters = Mapping[str, Parameter]


def _fraction() -> Parameter:
    return Parameter(float, at_least=0, at_most=1, shared=True)


def _positive(kind: type) -> Parameter:
    return Parameter(kind, above=0, shared=True)


def _not_negative(kind: type) -> Parameter:
    return Parameter(kind, at_least=0, shared=True)


MOST_THREADS = 1024  # more than any machine has for one process; torch hangs when it is asked for many more
# Groups of parameters that many kinds share. A preset gives the values: under the kind, or under common for them all.
# precision: of matrix products (`harness.training.precision`); weights and all that prunes or quantises are fp32.
# padding: what a training batch is padded to. longest: its longest example, in batches of examples of similar length;
# max_length: that of the task, or of the pairs, in batches drawn at random (the GLUE scripts of the authors' release).
# Scoring pads to the longest whatever it says: there padding is no part of a number.
RUNTIME: Parameters = {
    "precision": Parameter(str, one_of=(FP32, TF32, BF16), shared=True),
    "attention": Parameter(str, one_of=("sdpa", "eager"), shared=True),
    "padding": Parameter(str, one_of=("longest", "max_length"), shared=True),
    "threads": Parameter(int, above=0, at_most=MOST_THREADS, shared=True),
}
OPTIMIZER: Parameters = {
    "learning_rate": _positive(float),
    "batch_size": _positive(int),
    "weight_decay": _not_negative(float),
    "warmup_fraction": _fraction(),
    "max_grad_norm": _not_negative(float),
    "adam_beta1": Parameter(float, at_least=0, below=1, shared=True),
    "adam_beta2": Parameter(float, at_least=0, below=1, shared=True),
    "adam_epsilon": _not_negative(float),
}
MASKED_LM: Parameters = {
    "mlm_probability": Parameter(float, above=0, at_most=1, shared=True),
    "evaluation_pairs": _positive(int),
}
SOFT_TARGETS: Parameters = {
    "ce_weight": _not_negative(float),
    "kd_weight": _not_negative(float),
    "temperature": _positive(float),
}
# On a task. teacher_logits: the teacher runs beside the student at every step, or what it says of each training example
# is read from the stage that computed it once. The losses are the same but for rounding: the examples never change.
DISTILLATION: Parameters = {
    **SOFT_TARGETS,
    TEACHER_LOGITS: Parameter(
        str,
        one_of=(ONLINE, STORED),
        shared=True,
        default=ONLINE,
        published="Prune OFA, the authors' release: the teacher runs at every step",
        silent=True,
    ),
}
# In pre-training, where the soft targets are a distribution over the vocabulary at every token. kd_positions: the share
# of the tokens of a pair that are distilled, drawn anew at each step; what is estimated stays the mean over all.
TOKEN_DISTILLATION: Parameters = {
    **SOFT_TARGETS,
    "kd_positions": Parameter(
        float,
        above=0,
        at_most=1,
        shared=True,
        default=1.0,
        published="Prune OFA, student pruning: every token",
        silent=True,
    ),
}
# regrowth: whether a pruned weight returns where it outranks one that is left. tie_rule: which of equal weights go.
PRUNING: Parameters = {
    "initial_sparsity": _fraction(),
    "ramp_begin": _fraction(),
    "ramp_end": _fraction(),
    "first_event": _fraction(),
    "last_event": _fraction(),
    "frequency": Parameter(float, above=0, at_most=1, shared=True),
    "ranking": Parameter(str, one_of=("local", "global"), shared=True),
    "lr_rewind": Parameter(bool, shared=True),
    "prune_pooler": Parameter(bool, shared=True),
    "regrowth": Parameter(
        bool,
        shared=True,
        default=True,
        published="authors' release: every mask update ranks all weights, those that are pruned too",
        silent=True,
    ),
    "tie_rule": Parameter(
        str,
        one_of=("exact", "threshold"),
        shared=True,
        default="exact",
        assumed="an exact count of zeros; the authors' release prunes every weight at the threshold",
        silent=True,
    ),
}
# A window of a context holds its question, three special tokens and more new context than the step to the next.
WINDOW = Relation(
    ("max_length", "max_query_length", "doc_stride"),
    lambda length, question, stride: length - question - 3 > stride,
    "a max_length above the sum of the other two and 3 special tokens",
)
LEARNS = Relation(
    ("ce_weight", "kd_weight"), lambda ce, kd: ce > 0 or kd > 0, "one of them above 0: else there is nothing to learn"
)
# The order in which pruning happens (`harness.compression.schedule`), as far as the fractions alone tell it.
PRUNING_ORDER = (
    Relation(("sparsity", "initial_sparsity"), lambda last, first: first <= last, "a sparsity that does not sink"),
    Relation(("ramp_begin", "ramp_end"), lambda begin, end: begin < end, "a ramp that begins before it ends"),
    Relation(("ramp_end", "last_event"), lambda end, last: end <= last, "mask updates until the ramp has ended"),
    Relation(("first_event", "last_event"), lambda first, last: first <= last, "a first event before the last"),
)
TIES = Relation(
    ("tie_rule", "ranking"),
    lambda tie_rule, ranking: tie_rule == "exact" or ranking == "local",
    "exact under a global ranking: the threshold is one matrix's",
)
PATTERN_LOCK: Parameters = {"lock_pooler": Parameter(bool, shared=True)}
# quantization_begin: the share of the run after which weights and activations are rounded.
QUANTIZATION: Parameters = {
    "activation_momentum": Parameter(float, above=0, at_most=1, shared=True),
    "weight_scale": Parameter(str, one_of=("max127", "ref_max127_5"), shared=True),
    "quantization_begin": Parameter(
        float,
        at_least=0,
        below=1,
        shared=True,
        default=0.0,
        published="authors' release: from the first step on",
        silent=True,
    ),
}
FINE_TUNING: Parameters = {**RUNTIME, **OPTIMIZER, "epochs": _positive(float)}
PRETRAINING: Parameters = {**RUNTIME, **OPTIMIZER, **MASKED_LM, "steps": _positive(int)}
# Of a task rather than of a kind: a preset gives them under task.TASK. A kind names those it reads.
TASK_DATA: Parameters = {
    "max_length": Parameter(int, at_least=5, shared=True),  # as of pairs
    "train_examples": _not_negative(int),
    "train_subset_seed": _not_negative(int),
    "doc_stride": _not_negative(int),
    "max_query_length": _positive(int),
    "n_best": _positive(int),
    "max_answer_length": _positive(int),
}
TRAIN_DATA = ("max_length", "train_examples", "train_subset_seed", "doc_stride", "max_query_length")
SCORING_DATA = ("max_length", "doc_stride", "max_query_length", "n_best", "max_answer_length")

# What a stage does with its time: what estimates, labels and notes ask, instead of its name.
WORK: Mapping[str, str] = {
    "data": "makes data, without a model",
    "pretraining": "trains an encoder on the corpus",
    "training": "trains a model on a task",
    "scoring": "runs a model on a task's data",
    "conversion": "changes a model's form, without training",
    "measuring": "measures a model beside its scores",
}
TRAINS = frozenset(("pretraining", "training"))
MAKES_MODEL = frozenset(("pretraining", "training", "conversion"))  # the artifact is a model, which others load
RESERVED = frozenset(("task", "kind", "parents", "inputs", "without"))  # what the chain itself gives a stage
_OWNED = re.compile(rf"(?P<owner>{NAME}):(?P<name>[A-Za-z0-9][A-Za-z0-9_-]*)")
SIZES = re.compile(r"[1-9][0-9]{0,5}x[1-9][0-9]{0,5}(,[1-9][0-9]{0,5}x[1-9][0-9]{0,5})*")
_TARGET = re.compile(r"\w+(\.\w+)*:\w+")


@dataclass(frozen=True, kw_only=True)
class StageKind:
    """A kind of stage, as declared. Raises ValueError for a declaration that contradicts itself.

    name: of a method's own kind OWNER:NAME, where OWNER is the method's name or its package's.
    version: from 1; raised when the code gives other numbers.
    run: "module:function" taking a StageContext and returning a StageResult; imported by a worker alone.
    recipe: every hyperparameter by name.
    identity: parameters that the plan gives and no recipe (model, task, sparsity, seed, or others by any name).
    task_data: which of `TASK_DATA` it reads.
    work: one of `WORK`.
    relations: what its parameters must be to each other.
    memory: (the encoder's shape, the stage's parameters) -> bytes that it needs at once beside an ordinary training;
        None: no more. A grid refuses to start where the machine has less.
    """

    name: str
    version: int
    run: str
    recipe: Parameters
    work: str
    identity: tuple[str, ...] = ()
    task_data: tuple[str, ...] = field(default=())
    relations: tuple[Relation, ...] = ()
    memory: Callable[[Shape, Mapping[str, Any]], float] | None = None

    def __post_init__(self) -> None:
        if problem := self._problem():
            raise ValueError(f"stage kind {self.name!r}: {problem}")

    def _problem(self) -> str | None:
        if not isinstance(self.name, str) or not isinstance(self.run, str):
            return f"run={self.run!r}: expected a name and a run that are texts."
        if type(self.version) is not int or self.version < 1:
            return f"version={self.version!r}: expected a whole number, 1 or more."
        if not _TARGET.fullmatch(self.run):
            return f"run={self.run!r}: expected package.module:function."
        if self.work not in WORK:
            return f"work={self.work!r}: expected one of {', '.join(WORK)}."
        if not isinstance(self.recipe, Mapping):
            return f"recipe={self.recipe!r}: expected a mapping of names to Parameter."
        for name, parameter in self.recipe.items():
            if not name.isidentifier() or not isinstance(parameter, Parameter):
                return f"recipe: {name!r}: {parameter!r}: expected a name and a Parameter."
        for given in ("identity", "task_data"):
            names = getattr(self, given)
            if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
                return f"{given}={names!r}: expected a tuple of names."
        twice = [name for name in self.identity if name in self.recipe]
        if twice:
            return f"{', '.join(twice)}: in recipe and in identity; a recipe gives it, or the plan does."
        if taken := [name for name in self.identity if name in RESERVED and name != "task"]:
            return f"identity: {taken[0]!r} is a word of the chain's own calls; choose another name."
        if unknown := [name for name in self.task_data if name not in TASK_DATA]:
            return unknown_name("task_data", unknown[0], TASK_DATA)
        known = {*self.recipe, *self.identity, *self.task_data}
        if strange := [name for relation in self.relations for name in relation.names if name not in known]:
            return f"relations: {unknown_name('parameter', strange[0], known)}"
        return None

    @property
    def owner(self) -> str | None:
        """OWNER of OWNER:NAME; None: the kind is built in."""
        found = _OWNED.fullmatch(self.name)
        return found["owner"] if found else None

    @property
    def makes_model(self) -> bool:
        """Whether a stage's artifact is a model: config.json and model.safetensors, as save_pretrained writes them."""
        return self.work in MAKES_MODEL

    @property
    def silent(self) -> list[str]:
        """Parameters that a stage with their default does not have."""
        return [name for name, parameter in self.recipe.items() if parameter.silent]

    def is_common(self, parameter: str) -> bool:
        """Whether `common.PARAMETER` of a preset gives its value: in an owned kind, those of the shared groups."""
        return self.owner is None or self.recipe[parameter].shared

    def function(self) -> Callable[..., Any]:
        module, _, attribute = self.run.partition(":")
        function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        return function


_KINDS = (
    StageKind(
        name="corpus",
        version=1,
        run="harness.stages.pretraining_data:corpus",
        recipe={"sentence_splitter": Parameter(str), "shuffle_seed": Parameter(int, at_least=0)},
        work="data",
    ),
    StageKind(
        name="pairs",
        version=1,
        run="harness.stages.pretraining_data:pairs",
        recipe={
            "max_length": Parameter(int, at_least=5),  # three special tokens and one of each part
            "short_sequence_probability": Parameter(float, at_least=0, at_most=1),
            "next_sentence_probability": Parameter(float, at_least=0, at_most=1),
            "seed": Parameter(int, at_least=0),
        },
        work="data",
    ),
    StageKind(
        name="teacher_preparation",
        version=1,
        run="harness.stages.pretraining:teacher_preparation",
        recipe=PRETRAINING,
        work="pretraining",
        identity=("model", "seed"),
    ),
    StageKind(
        name="student_pruning",
        version=1,
        run="harness.stages.pretraining:student_pruning",
        recipe={**PRETRAINING, **TOKEN_DISTILLATION, **PRUNING},
        work="pretraining",
        identity=("model", "sparsity", "seed"),
        relations=(LEARNS, *PRUNING_ORDER, TIES),
    ),
    StageKind(
        name="sparse_checkpoint",
        version=1,
        run="harness.stages.sparse_checkpoint:sparse_checkpoint",
        recipe={},
        work="conversion",
        identity=("model", "sparsity"),
    ),
    StageKind(
        name="dense",
        version=1,
        run="harness.stages.fine_tuning:dense",
        recipe=FINE_TUNING,
        work="training",
        identity=("model", "task", "seed"),
        task_data=TRAIN_DATA,
        relations=(WINDOW,),
    ),
    StageKind(
        name=TEACHER_LOGITS,
        version=1,
        run="harness.stages.teacher_logits:teacher_logits",
        recipe={
            **{name: RUNTIME[name] for name in ("precision", "attention", "threads")},
            "batch_size": OPTIMIZER["batch_size"].with_default(32, assumed="changes no number beyond rounding"),
        },
        work="scoring",
        identity=("task",),
        task_data=TRAIN_DATA,
        relations=(WINDOW,),
    ),
    StageKind(
        name="task_pruning",
        version=1,
        run="harness.stages.fine_tuning:task_pruning",
        recipe={**FINE_TUNING, **DISTILLATION, **PRUNING},
        work="training",
        identity=("model", "task", "sparsity", "seed"),
        task_data=TRAIN_DATA,
        relations=(LEARNS, *PRUNING_ORDER, TIES, WINDOW),
    ),
    StageKind(
        name="transfer",
        version=1,
        run="harness.stages.fine_tuning:transfer",
        recipe={**FINE_TUNING, **DISTILLATION, **PATTERN_LOCK},
        work="training",
        identity=("model", "task", "seed"),
        task_data=TRAIN_DATA,
        relations=(LEARNS, WINDOW),
    ),
    StageKind(
        name="quantization",
        version=1,
        run="harness.stages.fine_tuning:quantization",
        recipe={**FINE_TUNING, **DISTILLATION, **QUANTIZATION, **PATTERN_LOCK},
        work="training",
        identity=("model", "task", "seed"),
        task_data=TRAIN_DATA,
        relations=(LEARNS, WINDOW),
    ),
    StageKind(
        name="evaluation",
        version=1,
        run="harness.stages.evaluation:evaluation",
        recipe={**RUNTIME, "batch_size": OPTIMIZER["batch_size"]},
        work="scoring",
        identity=("task",),
        task_data=SCORING_DATA,
        relations=(WINDOW,),
    ),
    StageKind(
        name="packing",
        version=1,
        run="harness.stages.packing:packing",
        recipe={
            **RUNTIME,
            "batch_size": OPTIMIZER["batch_size"].with_default(64, assumed="changes no number beyond rounding"),
            "embeddings": Parameter(
                str,
                one_of=("fp32", "int8"),
                default="fp32",
                assumed="as the model has them; int8 is a step more, whose cost in accuracy the metrics show",
            ),
        },
        work="measuring",
        identity=("task",),
        task_data=SCORING_DATA,
        relations=(WINDOW,),
    ),
    StageKind(
        name="latency",
        version=2,
        run="harness.stages.latency:latency",
        recipe={
            **{name: RUNTIME[name] for name in ("attention", "threads")},
            "sizes": Parameter(
                str,
                default=",".join(f"{examples}x{tokens}" for examples in (1, 8, 32) for tokens in (16, 128, 384)),
                assumed="examples x tokens; more tokens than a model reads are left out",
            ),
            "seconds": Parameter(float, above=0, default=2.0, assumed="of calls, for each size and runtime"),
        },
        work="measuring",
        identity=("task", "machine"),
        relations=(
            Relation(("sizes",), lambda text: SIZES.fullmatch(text) is not None, "EXAMPLESxTOKENS,.. as 1x128,32x128"),
        ),
    ),
)
KINDS: dict[str, StageKind] = {kind.name: kind for kind in _KINDS}
MEASURES = tuple(kind.name for kind in _KINDS if kind.work == "measuring")  # in addition, where a grid asks for them


def get_kind(name: str, kinds: Mapping[str, StageKind] | None = None) -> StageKind:
    """The kind of that name, of the built-in ones or of `kinds`. Raises UsageError with the nearest names."""
    known = KINDS if kinds is None else kinds
    if name not in known:
        raise UsageError(unknown_name("stage kind", name, known))
    return known[name]
