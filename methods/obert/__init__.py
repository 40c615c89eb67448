"""oBERT (Kurtic et al. 2022, arXiv 2203.07259): pruning by curvature, on the task or upstream, in cycles.

README.md in this folder says how to use it, what the paper's settings are and where we differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.inputs.shapes import FP32_BYTES, Shape
from harness.planning.kinds import LEARNS, WINDOW
from harness.plugin import (
    DISTILLATION,
    FINE_TUNING,
    OPTIMIZER,
    PRETRAINING,
    PRUNING,
    TOKEN_DISTILLATION,
    TRAIN_DATA,
    Chain,
    Method,
    Parameter,
    Relation,
    StageKind,
    StageSpec,
)

SQUAD = "sparseml, recipe 30epochs_unstructured90_squad and its script"
UPSTREAM_RECIPE = "sparseml, recipe 3epochs_unstructured90_mlm and its script"
FIRST, LAST, NUM = "first_event", "last_event", "num_events"
IN_ORDER = (
    Relation((FIRST, LAST), lambda first, last: first <= last, "a first event that is not after the last"),
    Relation(
        (FIRST, LAST, NUM), lambda first, last, num: num == 1 or first < last, "two events or more at different times"
    ),
    Relation(("batch_size", "gradient_batch"), lambda all_, part: part <= all_, "a gradient_batch within a batch"),
    LEARNS,
)
CURVATURE: Mapping[str, Parameter] = {
    "num_gradients": Parameter(int, at_least=1, default=1024, published=SQUAD),
    "block_size": Parameter(int, at_least=1, default=50, published=SQUAD),
    "dampening": Parameter(float, above=0, default=1e-7, published=SQUAD),
    "first_sparsity": Parameter(
        float, at_least=0, below=1, default=0.7, published=f"{SQUAD}; the same at 80 %; a lower goal is reached at once"
    ),
    "prune_pooler": PRUNING["prune_pooler"].with_default(
        False, published=f"{SQUAD}: the matrices of the layers; a model for SQuAD has no pooler"
    ),
}


def memory(shape: Shape, parameters: Mapping[str, Any]) -> int:
    """Bytes of the inverse Fisher matrix: one block of B x B for each B weights that are pruned."""
    pooler = shape.width**2 if parameters["prune_pooler"] else 0
    return FP32_BYTES * (shape.encoder_weights + pooler) * int(parameters["block_size"])


ON_TASK = StageKind(
    name="obert:pruning",
    version=1,
    run="methods.obert.stage:prune_on_task",
    recipe={
        **FINE_TUNING,
        "epochs": FINE_TUNING["epochs"].with_default(30.0, published=SQUAD),
        "batch_size": OPTIMIZER["batch_size"].with_default(16, published=f"{SQUAD}; 32 on MNLI and QQP"),
        "learning_rate": OPTIMIZER["learning_rate"].with_default(8e-5, published=f"{SQUAD}; 5e-5 on MNLI and QQP"),
        "ce_weight": DISTILLATION["ce_weight"].with_default(0.0, published=f"{SQUAD}: hardness 1"),
        "kd_weight": DISTILLATION["kd_weight"].with_default(1.0, published=f"{SQUAD}: hardness 1"),
        "temperature": DISTILLATION["temperature"].with_default(2.0, published=SQUAD),
        **CURVATURE,
        "gradient_batch": Parameter(int, at_least=1, default=8, published=f"{SQUAD}; 16 on MNLI and QQP"),
        FIRST: Parameter(float, at_least=0, below=1, default=2 / 30, published=f"{SQUAD}: epoch 2 of 30"),
        LAST: Parameter(float, at_least=0, below=1, default=26 / 30, published=f"{SQUAD}: epoch 26 of 30"),
        NUM: Parameter(int, at_least=1, default=7, published=f"{SQUAD}: every 4 epochs"),
        "cycle_end": Parameter(float, at_least=0, at_most=1, default=0.1, published=f"{SQUAD}: 8e-6 of 8e-5"),
    },
    identity=("model", "task", "sparsity", "seed"),
    task_data=TRAIN_DATA,
    work="training",
    relations=(*IN_ORDER, WINDOW),
    memory=memory,
)
UPSTREAM = StageKind(
    name="obert-upstream:pruning",
    version=1,
    run="methods.obert.stage:prune_upstream",
    recipe={
        **PRETRAINING,
        "steps": PRETRAINING["steps"].with_default(100_000, assumed="as Prune OFA; published: 3 epochs, books too"),
        "batch_size": OPTIMIZER["batch_size"].with_default(256, published=f"{UPSTREAM_RECIPE}: 4 x 32, twice"),
        "learning_rate": OPTIMIZER["learning_rate"].with_default(5e-4, published=UPSTREAM_RECIPE),
        **TOKEN_DISTILLATION,
        "ce_weight": DISTILLATION["ce_weight"].with_default(0.0, published=f"{UPSTREAM_RECIPE}: hardness 1"),
        "kd_weight": DISTILLATION["kd_weight"].with_default(1.0, published=f"{UPSTREAM_RECIPE}: hardness 1"),
        "temperature": DISTILLATION["temperature"].with_default(5.5, published=UPSTREAM_RECIPE),
        **CURVATURE,
        "gradient_batch": Parameter(int, at_least=1, default=16, published=UPSTREAM_RECIPE),
        FIRST: Parameter(float, at_least=0, below=1, default=0.0, published=f"{UPSTREAM_RECIPE}: epoch 0 of 3"),
        LAST: Parameter(float, at_least=0, below=1, default=2.75 / 3, published=f"{UPSTREAM_RECIPE}: epoch 2.75 of 3"),
        NUM: Parameter(int, at_least=1, default=12, published=f"{UPSTREAM_RECIPE}: every quarter of an epoch"),
        "cycle_end": Parameter(
            float, at_least=0, at_most=1, default=0.01, published=f"{UPSTREAM_RECIPE}: 5e-6 of 5e-4"
        ),
    },
    identity=("model", "sparsity", "seed"),
    work="pretraining",
    relations=IN_ORDER,
    memory=memory,
)


def stages(chain: Chain) -> StageSpec:
    return chain.fine_tuning(
        ON_TASK, start=chain.pretrained_model(), teacher=chain.teacher(), sparsity=chain.cell.sparsity
    )


def upstream_stages(chain: Chain) -> StageSpec:
    pruned = chain.stage(
        UPSTREAM,
        parents={"pairs": chain.pairs(), "teacher": chain.teacher_preparation()},
        model=chain.cell.model,
        sparsity=chain.cell.sparsity,
        seed=chain.cell.pruning_seed,
    )
    return chain.transfer(pruned, distillation=True)


METHOD = Method(
    name="obert",
    title="oBERT",
    source="arXiv 2203.07259",
    stages=stages,
    kinds=(ON_TASK,),
    sparse=True,
    transfer_kd="yes",
    note=(
        "Prunes the dense pre-trained model while it is fine-tuned on the task, in a few steps ranked by the inverse "
        "of the block Fisher matrix, which also moves the other weights (Kurtic et al. 2022, arXiv 2203.07259). "
        "Fisher: of the training loss, distillation included. Needs 4 bytes x weights x block_size (BERT-Base: 17 GB)."
    ),
)
UPSTREAM_METHOD = Method(
    name="obert-upstream",
    title="oBERT upstream",
    source="arXiv 2203.07259",
    stages=upstream_stages,
    kinds=(UPSTREAM,),
    sparse=True,
    transfer_kd="yes",
    note=(
        "oBERT while pre-training: prunes a copy of the prepared teacher on the pairs, distilled from it; then the "
        "transfer of Prune OFA with the pattern locked (Kurtic et al. 2022, arXiv 2203.07259)."
    ),
)
