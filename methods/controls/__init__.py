"""Controls: what a score of Prune OFA, or of fine-tune pruning, must be held against before sparsity gets the credit.

Each is the path of another method with one thing taken away or given; none computes anything of its own. README.md says
what each rules out. The random mask is `methods.random_mask`; dense at 8 bits is method dense at quantization int8.
"""

from __future__ import annotations

from harness.plugin import Chain, Method, StageSpec


def dense_kd(chain: Chain) -> StageSpec:
    return chain.fine_tuning("transfer", start=chain.pretrained_model(), teacher=chain.teacher())


def dense_prepared(chain: Chain) -> StageSpec:
    return chain.fine_tuning("dense", start=chain.teacher_preparation())


def dense_prepared_kd(chain: Chain) -> StageSpec:
    return chain.transfer(chain.teacher_preparation(), distillation=True)


def dense_continued(chain: Chain) -> StageSpec:
    return chain.transfer(chain.student_pruning(), distillation=True)  # at the cell's sparsity, 0


def finetune_pruning_prepared(chain: Chain) -> StageSpec:
    return chain.fine_tuning(
        "task_pruning", start=chain.teacher_preparation(), teacher=chain.teacher(), sparsity=chain.cell.sparsity
    )


DENSE_KD = Method(
    name="dense-kd",
    title="(control) dense, distilled",
    source="none: a control",
    stages=dense_kd,
    sparse=False,
    transfer_kd="yes",
    note=(
        "The dense model with the epochs, learning rate and distillation of Prune OFA's transfer: what a sparse row "
        "owes to these. Student and teacher are of one size (self-distillation)."
    ),
)
DENSE_PREPARED = Method(
    name="dense-prepared",
    title="(control) dense, prepared",
    source="none: a control",
    stages=dense_prepared,
    sparse=False,
    transfer_kd="na",
    note=(
        "Dense fine-tuning of the prepared teacher: what the further pre-training on the corpus is worth by itself. "
        "For an encoder that begins with random weights it is dense, for preparation is its pre-training."
    ),
)
DENSE_PREPARED_KD = Method(
    name="dense-prepared-kd",
    title="(control) dense, prepared and distilled",
    source="none: a control",
    stages=dense_prepared_kd,
    sparse=False,
    transfer_kd="yes",
    note="Both: Prune OFA's transfer from the model that it prunes, not pruned. What is missing to it is sparsity's.",
)
DENSE_CONTINUED = Method(
    name="dense-continued",
    title="(control) dense, prepared, continued and distilled",
    source="none: a control",
    stages=dense_continued,
    sparse=False,
    transfer_kd="yes",
    note=(
        "Prune OFA at sparsity 0: every step of both pre-training stages, distillation and rewound learning rate among "
        "them, and the transfer. Costs a student pruning of its own. Says more than dense-prepared-kd where the second "
        "stage still teaches."
    ),
)
FINETUNE_PRUNING_PREPARED = Method(
    name="finetune-pruning-prepared",
    title="(control) Fine-tune pruning, prepared",
    source="none: a control",
    stages=finetune_pruning_prepared,
    sparse=True,
    transfer_kd="yes",
    note=(
        "Fine-tune pruning from the prepared teacher: whether Prune OFA leads for pruning early, or for having seen "
        "the corpus again."
    ),
)
