"""Dense fine-tuning: the reference row of the paper's tables, and the task teacher of every other method."""

from __future__ import annotations

from harness.plugin import Chain, Method, StageSpec


def stages(chain: Chain) -> StageSpec:
    return chain.dense()


METHOD = Method(
    name="dense",
    title="Reference (dense)",
    stages=stages,
    sparse=False,
    transfer_kd="na",
    source="arXiv 1810.04805",
    note="Fine-tunes the pre-trained model; nothing is pruned. Its seed 0 is the task teacher of the other methods.",
)
