"""Movement pruning and soft movement pruning (Sanh et al. 2020, arXiv 2005.07683), distilled from the task teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.plugin import (
    DISTILLATION,
    FINE_TUNING,
    LEARNS,
    OPTIMIZER,
    PRUNING,
    TRAIN_DATA,
    WINDOW,
    Chain,
    Method,
    Parameter,
    Relation,
    StageKind,
    StageSpec,
)

if TYPE_CHECKING:
    from harness.inputs.shapes import Shape

_SQUAD = "Sanh et al. 2020, SQuAD recipe of the authors' release"
_RAMP = Relation(("ramp_begin", "ramp_end"), lambda begin, end: begin < end, "a ramp that begins before it ends")
# What both variants have. The shared names get their values from the preset; what follows counts where it gives none.
_RECIPE: Mapping[str, Parameter] = {
    **FINE_TUNING,
    **DISTILLATION,
    "epochs": FINE_TUNING["epochs"].with_default(10.0, published=_SQUAD),
    "batch_size": OPTIMIZER["batch_size"].with_default(16, published=_SQUAD),
    "learning_rate": OPTIMIZER["learning_rate"].with_default(3e-5, published=_SQUAD),
    "prune_pooler": PRUNING["prune_pooler"].with_default(False, published=f"{_SQUAD}: encoder matrices alone"),
    "score_learning_rate": Parameter(float, above=0, default=1e-2, published=_SQUAD),
    "freeze_embeddings": Parameter(bool, default=True, published="Sanh et al. 2020: embeddings are not trained"),
    "ramp_begin": Parameter(
        float, at_least=0, at_most=1, default=0.09762, published=f"{_SQUAD}: one warm-up, step 5,400 of 55,320"
    ),
    "ramp_end": Parameter(
        float, at_least=0, at_most=1, default=0.80477, published=f"{_SQUAD}: two warm-ups before the end, step 44,520"
    ),
}


def _memory(shape: Shape, parameters: Mapping[str, Any]) -> float:
    """Of each matrix: scores, their gradient, two moments, the masked weight and the mask as numbers, in fp32; a bool.

    The pooler counts with them where it is pruned.
    """
    pooler = shape.width**2 if parameters["prune_pooler"] else 0
    return (shape.encoder_weights + pooler) * (6 * 4 + 1)


MOVEMENT_PRUNING = StageKind(
    name="movement:pruning",
    version=1,
    run="methods.movement.stage:movement_pruning",
    recipe=_RECIPE,
    identity=("model", "task", "sparsity", "seed"),
    task_data=TRAIN_DATA,
    work="training",
    relations=(LEARNS, WINDOW, _RAMP),
    memory=_memory,
)
SOFT_MOVEMENT_PRUNING = StageKind(
    name="soft-movement:pruning",
    version=1,
    run="methods.movement.stage:soft_movement_pruning",
    recipe={
        **_RECIPE,
        "final_threshold": Parameter(float, above=0, below=1, default=0.1, published=_SQUAD),
        "final_lambda": Parameter(float, at_least=0, default=400.0, published=_SQUAD),  # sparsity is what comes of it
        "least_kept": Parameter(
            float, at_least=0, below=1, default=0.005, published="the authors' release: half a percent of each matrix"
        ),
    },
    identity=("model", "task", "sparsity", "seed"),
    task_data=TRAIN_DATA,
    work="training",
    relations=(LEARNS, WINDOW, _RAMP),
    memory=_memory,
)


def stages(chain: Chain) -> StageSpec:
    return _pruned(chain, MOVEMENT_PRUNING)


def soft_stages(chain: Chain) -> StageSpec:
    return _pruned(chain, SOFT_MOVEMENT_PRUNING)


def _pruned(chain: Chain, kind: StageKind) -> StageSpec:
    start, teacher = chain.pretrained_model(), chain.teacher()
    return chain.fine_tuning(kind, start=start, teacher=teacher, sparsity=chain.cell.sparsity)


METHOD = Method(
    name="movement",
    title="Movement pruning",
    source="arXiv 2005.07683",
    stages=stages,
    kinds=(MOVEMENT_PRUNING,),
    sparse=True,
    transfer_kd="yes",
    note=(
        "Learns a score for every weight while fine-tuning, distilled from the task teacher; the top scores of each "
        "matrix stay (Sanh et al. 2020). Exact sparsity. Paid again for every task (methods/movement/README.md)."
    ),
)
SOFT = Method(
    name="soft-movement",
    title="Soft movement pruning",
    source="arXiv 2005.07683",
    stages=soft_stages,
    kinds=(SOFT_MOVEMENT_PRUNING,),
    sparse=True,
    sparsity_is="outcome",
    transfer_kd="yes",
    note=(
        "As movement, but the scores above a threshold stay, and a penalty pushes them down: the sparsity is an "
        "outcome of its weight, final_lambda, given for each sparsity; tables show what was reached."
    ),
)
