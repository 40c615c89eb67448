"""Stage kinds: what each computes, with which parameters, and which code runs it.

A kind is a declaration; the code stands in `harness.stages` and is imported only by a worker. `version` is raised
whenever the computation changes, so that finished work of the old code is never taken for the new. A test notices when
a kind's source changed and says what to do; `equivalents.toml` names versions that changed no number.

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
    evaluation          cell_sparsity, artifact_sparsity
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.errors import UsageError, unknown_name


@dataclass(frozen=True)
class Domain:
    """The values a parameter may take, and how to say so."""

    holds: Callable[[Any], bool]
    words: str


def _one_of(*names: str) -> Domain:
    return Domain(lambda value: value in names, "one of " + ", ".join(names))


_POSITIVE = Domain(lambda value: value > 0, "a number above 0")
_NOT_NEGATIVE = Domain(lambda value: value >= 0, "0 or more")
_SHARE = Domain(lambda value: 0 <= value <= 1, "a fraction in [0, 1]")
_POSITIVE_SHARE = Domain(lambda value: 0 < value <= 1, "a fraction in (0, 1]")

# By parameter name; what is not here may take any value of its type.
DOMAINS: Mapping[str, Domain] = {
    "precision": _one_of("fp32"),
    "attention": _one_of("sdpa", "eager"),
    "padding": _one_of("longest"),
    "ranking": _one_of("local", "global"),
    "weight_scale": _one_of("max127", "ref_max127_5"),
    **dict.fromkeys(("threads", "learning_rate", "batch_size", "epochs", "steps", "temperature"), _POSITIVE),
    **dict.fromkeys(("max_length", "n_best", "max_answer_length", "max_query_length"), _POSITIVE),
    "evaluation_pairs": _POSITIVE,
    **dict.fromkeys(("weight_decay", "max_grad_norm", "ce_weight", "kd_weight", "adam_epsilon"), _NOT_NEGATIVE),
    **dict.fromkeys(("train_examples", "train_subset_seed", "seed", "shuffle_seed", "doc_stride"), _NOT_NEGATIVE),
    **dict.fromkeys(("warmup_fraction", "short_sequence_probability", "next_sentence_probability"), _SHARE),
    **dict.fromkeys(("initial_sparsity", "ramp_begin", "ramp_end", "first_event", "last_event"), _SHARE),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), Domain(lambda value: 0 <= value < 1, "a number in [0, 1)")),
    **dict.fromkeys(("mlm_probability", "frequency", "activation_momentum"), _POSITIVE_SHARE),
}

RUNTIME = {"precision": str, "attention": str, "padding": str, "threads": int}
OPTIMIZER = {
    "learning_rate": float,
    "batch_size": int,
    "weight_decay": float,
    "warmup_fraction": float,
    "max_grad_norm": float,
    "adam_beta1": float,
    "adam_beta2": float,
    "adam_epsilon": float,
}
MASKED_LM = {"mlm_probability": float, "evaluation_pairs": int}
DISTILLATION = {"ce_weight": float, "kd_weight": float, "temperature": float}
PRUNING = {
    "initial_sparsity": float,
    "ramp_begin": float,
    "ramp_end": float,
    "first_event": float,
    "last_event": float,
    "frequency": float,
    "ranking": str,
    "lr_rewind": bool,
    "prune_pooler": bool,
}
QUANTIZATION = {"activation_momentum": float, "weight_scale": str}
TASK_DATA = {
    "max_length": int,
    "train_examples": int,
    "train_subset_seed": int,
    "doc_stride": int,
    "max_query_length": int,
    "n_best": int,
    "max_answer_length": int,
}
FINE_TUNING = {**RUNTIME, **OPTIMIZER, "epochs": float}


@dataclass(frozen=True, kw_only=True)
class StageKind:
    """A registered kind of stage.

    recipe: parameter name -> type, for everything a recipe must give.
    identity: names the planner adds (model, task, sparsity, seed ...).
    run: "module:function" taking a StageContext and returning a StageResult.
    """

    name: str
    version: int
    run: str
    recipe: Mapping[str, type]
    identity: tuple[str, ...] = ()
    task_data: tuple[str, ...] = field(default=())

    def function(self) -> Callable[..., Any]:
        module, _, attribute = self.run.partition(":")
        function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        return function


_TRAIN_DATA = ("max_length", "train_examples", "train_subset_seed", "doc_stride", "max_query_length")
_KINDS = (
    StageKind(
        name="corpus",
        version=1,
        run="harness.stages.pretraining_data:corpus",
        recipe={"sentence_splitter": str, "shuffle_seed": int},
    ),
    StageKind(
        name="pairs",
        version=1,
        run="harness.stages.pretraining_data:pairs",
        recipe={
            "max_length": int,
            "short_sequence_probability": float,
            "next_sentence_probability": float,
            "seed": int,
        },
    ),
    StageKind(
        name="teacher_preparation",
        version=1,
        run="harness.stages.pretraining:teacher_preparation",
        recipe={**RUNTIME, **OPTIMIZER, **MASKED_LM, "steps": int},
        identity=("model", "seed"),
    ),
    StageKind(
        name="student_pruning",
        version=1,
        run="harness.stages.pretraining:student_pruning",
        recipe={**RUNTIME, **OPTIMIZER, **MASKED_LM, **DISTILLATION, **PRUNING, "steps": int},
        identity=("model", "sparsity", "seed"),
    ),
    StageKind(
        name="sparse_checkpoint",
        version=1,
        run="harness.stages.sparse_checkpoint:sparse_checkpoint",
        recipe={},
        identity=("model", "sparsity"),
    ),
    StageKind(
        name="dense",
        version=1,
        run="harness.stages.fine_tuning:dense",
        recipe=FINE_TUNING,
        identity=("model", "task", "seed"),
        task_data=_TRAIN_DATA,
    ),
    StageKind(
        name="task_pruning",
        version=1,
        run="harness.stages.fine_tuning:task_pruning",
        recipe={**FINE_TUNING, **DISTILLATION, **PRUNING},
        identity=("model", "task", "sparsity", "seed"),
        task_data=_TRAIN_DATA,
    ),
    StageKind(
        name="transfer",
        version=1,
        run="harness.stages.fine_tuning:transfer",
        recipe={**FINE_TUNING, **DISTILLATION, "lock_pooler": bool},
        identity=("model", "task", "seed"),
        task_data=_TRAIN_DATA,
    ),
    StageKind(
        name="quantization",
        version=1,
        run="harness.stages.fine_tuning:quantization",
        recipe={**FINE_TUNING, **DISTILLATION, **QUANTIZATION, "lock_pooler": bool},
        identity=("model", "task", "seed"),
        task_data=_TRAIN_DATA,
    ),
    StageKind(
        name="evaluation",
        version=1,
        run="harness.stages.evaluation:evaluation",
        recipe={**RUNTIME, "batch_size": int},
        identity=("task",),
        task_data=("max_length", "doc_stride", "max_query_length", "n_best", "max_answer_length"),
    ),
)
KINDS: dict[str, StageKind] = {kind.name: kind for kind in _KINDS}


def get_kind(name: str) -> StageKind:
    """The registered kind. Raises UsageError with the nearest names."""
    if name not in KINDS:
        raise UsageError(unknown_name("stage kind", name, KINDS))
    return KINDS[name]
