"""Gradual magnitude pruning in fine-tuning with Neural Magic's schedule: a long run, pruned in its second tenth on."""

from __future__ import annotations

from harness.plugin import (
    DISTILLATION,
    FINE_TUNING,
    LEARNS,
    PRUNING,
    PRUNING_ORDER,
    TRAIN_DATA,
    WINDOW,
    Chain,
    Method,
    Parameter,
    StageKind,
    StageSpec,
)

_RECIPE = "SparseML, bert-base-12layers_prune90.md (SQuAD)"
KIND = StageKind(
    name="gmp-neural-magic:pruning",
    version=1,
    run="harness.stages.fine_tuning:task_pruning",
    recipe={
        **FINE_TUNING,
        **DISTILLATION,
        **PRUNING,
        "epochs": FINE_TUNING["epochs"].with_default(30.0, partner=f"{_RECIPE}: 30 epochs"),
        "learning_rate": FINE_TUNING["learning_rate"].with_default(5e-5, partner=f"{_RECIPE}, its command"),
        "batch_size": FINE_TUNING["batch_size"].with_default(16, partner=f"{_RECIPE}, its command"),
        "ce_weight": DISTILLATION["ce_weight"].with_default(0.0, partner=f"{_RECIPE}: hardness 1.0"),
        "kd_weight": DISTILLATION["kd_weight"].with_default(1.0, partner=f"{_RECIPE}: hardness 1.0"),
        "temperature": DISTILLATION["temperature"].with_default(2.0, partner=f"{_RECIPE}: 2.0"),
        "initial_sparsity": Parameter(float, at_least=0, at_most=1, default=0.0, partner=f"{_RECIPE}: 0.00"),
        "ramp_begin": Parameter(float, at_least=0, at_most=1, default=2 / 30, partner=f"{_RECIPE}: epoch 2 of 30"),
        "ramp_end": Parameter(float, at_least=0, at_most=1, default=20 / 30, partner=f"{_RECIPE}: epoch 20 of 30"),
        "first_event": Parameter(float, at_least=0, at_most=1, default=2 / 30, partner=f"{_RECIPE}: epoch 2 of 30"),
        "last_event": Parameter(float, at_least=0, at_most=1, default=20 / 30, partner=f"{_RECIPE}: epoch 20 of 30"),
        "frequency": Parameter(
            float, above=0, at_most=1, default=0.01 / 30, partner=f"{_RECIPE}: every hundredth of an epoch of 30"
        ),
        "ranking": Parameter(
            str, one_of=("local", "global"), default="local", partner=f"{_RECIPE}: every matrix has the sparsity"
        ),
        "lr_rewind": Parameter(bool, default=False, partner=f"{_RECIPE}: no modifier of the rate; one linear decay"),
    },
    work="training",
    identity=("model", "task", "sparsity", "seed"),
    task_data=TRAIN_DATA,
    relations=(LEARNS, *PRUNING_ORDER, WINDOW),
)


def stages(chain: Chain) -> StageSpec:
    return chain.fine_tuning(
        KIND, start=chain.pretrained_model(), teacher=chain.teacher(), sparsity=chain.cell.sparsity
    )


METHOD = Method(
    name="gmp-neural-magic",
    title="Gradual magnitude, Neural Magic",
    stages=stages,
    kinds=(KIND,),
    sparse=True,
    transfer_kd="yes",
    source="SparseML recipes, bert-base-12layers_prune90; arXiv 1710.01878 (gradual magnitude pruning)",
    note=(
        "Gradual magnitude pruning while fine-tuning from the dense pre-trained model: a dense fifteenth of the run, a "
        "cubic ramp to two thirds with a mask update every few steps, the last third with frozen masks; the learning "
        "rate falls in one line."
    ),
)
