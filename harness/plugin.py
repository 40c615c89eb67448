"""What a method of another package is written with: one import for its declaration. Nothing here imports torch.

    from harness.plugin import FINE_TUNING, Chain, Method, Parameter, StageKind, StageSpec

docs/new-method.md builds a method from it. The computation of a stage kind (the function that `run` names) is in a
module of its own, which imports `harness.stages`, `harness.training` and `harness.compression`.
"""

from __future__ import annotations

from harness.inputs.family import Family
from harness.planning.chain import DISTILLATION_PARAMETERS, Chain, PretrainedModel
from harness.planning.kinds import (
    DISTILLATION,
    FINE_TUNING,
    LEARNS,
    MASKED_LM,
    OPTIMIZER,
    PATTERN_LOCK,
    PRETRAINING,
    PRUNING,
    PRUNING_ORDER,
    QUANTIZATION,
    RUNTIME,
    TASK_DATA,
    TOKEN_DISTILLATION,
    TRAIN_DATA,
    WINDOW,
    WORK,
    StageKind,
)
from harness.planning.method import Method
from harness.planning.parameter import Parameter, Relation
from harness.specs import Cell, StageSpec

__all__ = [
    "DISTILLATION",
    "DISTILLATION_PARAMETERS",
    "FINE_TUNING",
    "LEARNS",
    "MASKED_LM",
    "OPTIMIZER",
    "PATTERN_LOCK",
    "PRETRAINING",
    "PRUNING",
    "PRUNING_ORDER",
    "QUANTIZATION",
    "RUNTIME",
    "TASK_DATA",
    "TOKEN_DISTILLATION",
    "TRAIN_DATA",
    "WINDOW",
    "WORK",
    "Cell",
    "Chain",
    "Family",
    "Method",
    "Parameter",
    "PretrainedModel",
    "Relation",
    "StageKind",
    "StageSpec",
]
