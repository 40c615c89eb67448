"""Prune Once for All (arXiv 2111.05754): prune while pre-training, lock the zero pattern, transfer to every task."""

from __future__ import annotations

from dataclasses import replace

from harness.plugin import Chain, Method, StageSpec


def stages(chain: Chain) -> StageSpec:
    return chain.transfer(chain.sparse_model(), distillation=True)


def stages_without_kd(chain: Chain) -> StageSpec:
    return chain.transfer(chain.sparse_model(), distillation=False)


METHOD = Method(
    name="prune-ofa",
    title="Prune OFA",
    stages=stages,
    sparse=True,
    transfer_kd="yes",
    source="arXiv 2111.05754",
    note=(
        "Teacher preparation and student pruning are shared by all tasks (a released checkpoint takes their place "
        "under paper-released); transfer keeps the zero pattern and distils from the task teacher."
    ),
)
WITHOUT_KD = replace(
    METHOD,
    name="prune-ofa-no-kd",
    stages=stages_without_kd,
    transfer_kd="no",
    note="Prune OFA with the hard-label loss alone in transfer (Table 1, the row without distillation).",
)
