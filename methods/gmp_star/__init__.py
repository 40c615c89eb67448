"""GMP*: gradual magnitude pruning in fine-tuning with a large first step and a learning rate that starts anew."""

from __future__ import annotations

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
    Relation,
    StageKind,
    StageSpec,
)

_MEMORY = "arXiv 2210.06384 from memory, its text beyond the introduction was not read again"


def _share(default: float, *, assumed: str) -> Parameter:
    return Parameter(float, at_least=0, at_most=1, default=default, assumed=assumed)


KIND = StageKind(
    name="gmp-star:pruning",
    version=1,
    run="methods.gmp_star.stage:prune",
    recipe={
        **FINE_TUNING,
        **DISTILLATION,
        "epochs": FINE_TUNING["epochs"].with_default(10.0, assumed=f"{_MEMORY}: 10 epochs, or 30"),
        "learning_rate": FINE_TUNING["learning_rate"].with_default(5e-5, assumed="the default of the library"),
        "batch_size": FINE_TUNING["batch_size"].with_default(32, assumed="as the GLUE example of Prune OFA's release"),
        "ce_weight": DISTILLATION["ce_weight"].with_default(0.0, assumed=f"{_MEMORY}: hardness 1"),
        "kd_weight": DISTILLATION["kd_weight"].with_default(1.0, assumed=f"{_MEMORY}: hardness 1"),
        "temperature": DISTILLATION["temperature"].with_default(5.5, assumed=f"{_MEMORY}: about 5.5"),
        "num_cycles": Parameter(
            int,
            at_least=1,
            default=5,
            assumed=f"{_MEMORY}: the rate of a run of 2 epochs, 5 times in 10; 15 times in 30",
        ),
        "initial_sparsity": Parameter(
            float, at_least=0, below=1, default=0.5, assumed=f"{_MEMORY}: a large first step, to 0.5 or 0.7"
        ),
        "ramp_begin": _share(0.2, assumed=f"{_MEMORY}: epoch 2 of 10"),
        "ramp_end": _share(0.8, assumed=f"{_MEMORY}: two epochs before the end, of 10"),
        "frequency": Parameter(
            float, above=0, at_most=1, default=0.01, assumed=f"{_MEMORY}: frequent updates; here ten an epoch of 10"
        ),
        "ranking": Parameter(str, one_of=("local", "global"), default="global", assumed=f"{_MEMORY}: one ranking"),
        "prune_pooler": PRUNING["prune_pooler"],
    },
    work="training",
    identity=("model", "task", "sparsity", "seed"),
    task_data=TRAIN_DATA,
    relations=(
        LEARNS,
        Relation(("ramp_begin", "ramp_end"), lambda begin, end: begin < end, "a ramp that begins before it ends"),
        WINDOW,
    ),
)


def stages(chain: Chain) -> StageSpec:
    return chain.fine_tuning(
        KIND, start=chain.pretrained_model(), teacher=chain.teacher(), sparsity=chain.cell.sparsity
    )


METHOD = Method(
    name="gmp-star",
    title="GMP*",
    stages=stages,
    kinds=(KIND,),
    sparse=True,
    transfer_kd="yes",
    source="arXiv 2210.06384",
    note=(
        "Gradual magnitude pruning while fine-tuning: a dense first fifth, then half of the weights at once, a cubic "
        "ramp to four fifths of the run, one ranking over all matrices; the learning rate decays five times."
    ),
)
