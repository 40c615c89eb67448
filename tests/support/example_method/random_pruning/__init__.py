"""Random pruning: a random choice of the encoder's weights is set to zero, and the rest is fine-tuned."""

from harness.plugin import (
    DISTILLATION,
    FINE_TUNING,
    OPTIMIZER,
    TRAIN_DATA,
    Chain,
    Method,
    Parameter,
    StageKind,
    StageSpec,
)

PRUNING = StageKind(
    name="random-pruning:pruning",
    version=1,
    run="random_pruning.stage:prune",
    recipe={
        **FINE_TUNING,
        **DISTILLATION,
        "learning_rate": OPTIMIZER["learning_rate"].with_default(5e-5, assumed="the library's default"),
        "mask_seed": Parameter(int, at_least=0, default=0, assumed="any draw is as good as another"),
    },
    identity=("model", "task", "sparsity", "seed"),
    task_data=TRAIN_DATA,
    work="training",
)


def stages(chain: Chain) -> StageSpec:
    start, teacher = chain.pretrained_model(), chain.teacher()
    return chain.fine_tuning(PRUNING, start=start, teacher=teacher, sparsity=chain.cell.sparsity)


METHOD = Method(
    name="random-pruning",
    title="Random pruning",
    stages=stages,
    kinds=(PRUNING,),
    sparse=True,
    transfer_kd="yes",
    note="The lower bound of every criterion: which weights go is drawn, not chosen.",
)
