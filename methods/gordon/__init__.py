"""Pruning in pre-training without distillation, then plain fine-tuning with the pattern kept (Gordon et al. 2020)."""

from __future__ import annotations

from harness.plugin import (
    PRETRAINING,
    PRUNING,
    PRUNING_ORDER,
    Chain,
    Method,
    Parameter,
    PretrainedModel,
    StageKind,
    StageSpec,
)

_RELEASE = "Gordon et al. 2020, released code (bert-prune, pretrain_experiments/gradual_prune.py)"
KIND = StageKind(
    name="gordon:pruning",
    version=1,
    run="harness.stages.pretraining:student_pruning",
    recipe={
        **PRETRAINING,
        **PRUNING,
        "steps": PRETRAINING["steps"].with_default(95_000, published=f"{_RELEASE}: 5,000 x 19"),
        "batch_size": PRETRAINING["batch_size"].with_default(256, assumed="as Prune OFA's pruning; not seen"),
        "ramp_begin": PRUNING["ramp_begin"].with_default(0.0, published=f"{_RELEASE}: step 0"),
        "ramp_end": PRUNING["ramp_end"].with_default(10 / 95, published=f"{_RELEASE}: step 10,000 of 95,000"),
        "first_event": PRUNING["first_event"].with_default(0.0, published=f"{_RELEASE}: step 0"),
        "last_event": PRUNING["last_event"].with_default(0.99, published=f"{_RELEASE}: until the end"),
        "frequency": PRUNING["frequency"].with_default(0.01, assumed="as Prune OFA's; a library's default there"),
        "lr_rewind": Parameter(bool, default=False, published="BERT's own pre-training code, which it uses: one decay"),
        "learning_rate": PRETRAINING["learning_rate"].with_default(5e-5, assumed="as Prune OFA's pruning; not seen"),
    },
    identity=("model", "sparsity", "seed"),
    work="pretraining",
    relations=PRUNING_ORDER,
)


def stages(chain: Chain) -> StageSpec:
    return chain.transfer(pruned_in_pretraining(chain), distillation=False)


def pruned_in_pretraining(chain: Chain) -> StageSpec:
    """The pre-trained model pruned gradually on the corpus with the losses of pre-training alone."""
    start, parents = chain.pretrained_model(), {"pairs": chain.pairs()}
    inputs: dict[str, str] = {}
    if isinstance(start, PretrainedModel):
        inputs["model"] = start.inputs["model"]
    else:
        parents["model"] = start
    cell = chain.cell
    return chain.stage(
        KIND, parents=parents, inputs=inputs, model=cell.model, sparsity=cell.sparsity, seed=cell.pruning_seed
    )


METHOD = Method(
    name="gordon",
    title="Pruning in pre-training",
    stages=stages,
    kinds=(KIND,),
    sparse=True,
    transfer_kd="no",
    source="arXiv 2002.08307",
    note=(
        "The pre-trained model is pruned while it goes on pre-training, without a teacher; then it is fine-tuned on "
        "every task with the zeros kept, again without a teacher. What Prune OFA adds to it is distillation and a "
        "learning rate that is rewound."
    ),
)
