"""One-shot magnitude pruning: a fine-tuned model is pruned once, then trained with its zeros kept, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from harness.plugin import (
    DISTILLATION,
    FINE_TUNING,
    LEARNS,
    PRUNING,
    TRAIN_DATA,
    WINDOW,
    Chain,
    Method,
    Parameter,
    StageKind,
    StageSpec,
)

_LIBRARY = "the default of the library, as the GLUE example of Prune OFA's release has it"
_EPOCHS = "as long as the model was fine-tuned before; 0: no training at all"
_DISTILLED = "as Prune OFA's examples have it: equal terms"
LOCAL = StageKind(
    name="one-shot:pruning",
    version=1,
    run="methods.one_shot.stage:prune_by_matrix",
    recipe={
        **FINE_TUNING,
        **DISTILLATION,
        "epochs": Parameter(float, at_least=0, shared=True, default=3.0, assumed=_EPOCHS),
        "learning_rate": FINE_TUNING["learning_rate"].with_default(5e-5, assumed=_LIBRARY),
        "batch_size": FINE_TUNING["batch_size"].with_default(32, assumed="as the GLUE example of Prune OFA's release"),
        "ce_weight": DISTILLATION["ce_weight"].with_default(0.5, assumed=_DISTILLED),
        "kd_weight": DISTILLATION["kd_weight"].with_default(0.5, assumed=_DISTILLED),
        "temperature": DISTILLATION["temperature"].with_default(2.0, assumed=_DISTILLED),
        "prune_pooler": PRUNING["prune_pooler"],
    },
    identity=("model", "task", "sparsity", "seed"),
    task_data=TRAIN_DATA,
    work="training",
    relations=(LEARNS, WINDOW),
)
TOGETHER = replace(LOCAL, name="one-shot-global:pruning", run="methods.one_shot.stage:prune_together")


def pruned(kind: StageKind) -> Callable[[Chain], StageSpec]:
    def stages(chain: Chain) -> StageSpec:
        # Without a training nothing is distilled, and the stage says so; the teacher is in the plan all the same.
        fixed: dict[str, Any] = {} if chain.value(kind, "epochs") else {"ce_weight": 1.0, "kd_weight": 0.0}
        return chain.fine_tuning(
            kind, start=chain.dense(), teacher=chain.teacher(), sparsity=chain.cell.sparsity, **fixed
        )

    return stages


METHOD = Method(
    name="one-shot",
    title="One-shot magnitude",
    stages=pruned(LOCAL),
    kinds=(LOCAL,),
    sparse=True,
    transfer_kd="yes",
    source="arXiv 1506.02626 (prune once, then retrain)",
    note=(
        "The fine-tuned dense model loses the smallest weights of every matrix at once; then its zeros are locked and "
        "it is trained again, distilled from the task teacher. With one-shot:pruning.epochs=0 it is only pruned."
    ),
)
GLOBAL = replace(
    METHOD,
    name="one-shot-global",
    stages=pruned(TOGETHER),
    kinds=(TOGETHER,),
    note="One-shot magnitude pruning with one ranking over all matrices of the encoder; else as one-shot.",
)
