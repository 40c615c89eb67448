"""Random mask: zeros drawn at random in the pre-trained model, then Prune OFA's transfer. The floor of every criterion.

It starts from the pre-trained model, as one-shot pruning does. README.md says what it rules out.
"""

from __future__ import annotations

from harness.plugin import PRUNING, Chain, Method, StageKind, StageSpec

MASK = StageKind(
    name="random-mask:mask",
    version=1,
    run="methods.random_mask.stage:mask",
    recipe={"prune_pooler": PRUNING["prune_pooler"]},
    identity=("model", "sparsity", "seed"),
    work="conversion",
)


def masked_model(chain: Chain) -> StageSpec:
    """The pre-trained model with its mask: one for all tasks and transfer seeds, another for each pruning seed."""
    start = chain.pretrained_model()
    found = {"parents": {"model": start}} if isinstance(start, StageSpec) else {"inputs": start.inputs}
    cell = chain.cell
    return chain.stage(MASK, **found, model=cell.model, sparsity=cell.sparsity, seed=cell.pruning_seed)


def stages(chain: Chain) -> StageSpec:
    return chain.transfer(masked_model(chain), distillation=True)


METHOD = Method(
    name="random-mask",
    title="(control) random mask",
    source="none: a control",
    stages=stages,
    kinds=(MASK,),
    sparse=True,
    transfer_kd="yes",
    note=(
        "Zeros are drawn, exactly as many in each matrix as Prune OFA has, before the same locked and distilled "
        "transfer: the floor of every criterion for which weights go. The pruning seed is the mask's."
    ),
)
