"""Fine-tune pruning: gradual magnitude pruning while fine-tuning on the task, the paper's own baseline."""

from __future__ import annotations

from dataclasses import replace

from harness.plugin import Chain, Method, StageSpec


def stages(chain: Chain) -> StageSpec:
    return chain.task_pruning()


def stages_without_kd(chain: Chain) -> StageSpec:
    return chain.task_pruning(distillation=False)


METHOD = Method(
    name="finetune-pruning",
    title="Fine-tune pruning",
    stages=stages,
    sparse=True,
    transfer_kd="yes",
    source="arXiv 2111.05754, the baseline; gradual magnitude pruning: arXiv 1710.01878",
    note=(
        "Starts from the dense pre-trained model; masks, learning-rate rewinding and distillation from the task "
        "teacher act during the one fine-tuning run (Prune OFA, Tables 1 and 3). Paid again for every task."
    ),
)
WITHOUT_KD = replace(
    METHOD,
    name="finetune-pruning-no-kd",
    stages=stages_without_kd,
    transfer_kd="no",
    note="Fine-tune pruning with the hard-label loss alone: what distillation is worth to it.",
)
