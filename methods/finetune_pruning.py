"""Fine-tune pruning: gradual magnitude pruning while fine-tuning on the task, the paper's own baseline."""

from __future__ import annotations

from harness.plugin import Chain, Method, StageSpec


def stages(chain: Chain) -> StageSpec:
    return chain.task_pruning()


METHOD = Method(
    name="finetune-pruning",
    title="Fine-tune pruning",
    stages=stages,
    sparse=True,
    transfer_kd="yes",
    note=(
        "Starts from the dense pre-trained model; masks, learning-rate rewinding and distillation from the task "
        "teacher act during the one fine-tuning run (Prune OFA, Tables 1 and 3). Paid again for every task."
    ),
)
