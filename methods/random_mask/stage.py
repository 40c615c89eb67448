"""The computation of the random mask; a worker alone imports it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from harness.compression.random_mask import random_mask
from harness.identity import sha256_of
from harness.stages.context import StageContext, StageResult
from harness.stages.loading import (
    family_of,
    load_for_pretraining,
    load_tokenizer,
    quiet,
    save_artifact,
    start_folder,
)
from harness.training.modifiers import Matrices, sparsity_details


def mask(context: StageContext) -> StageResult:
    """Sets a drawn share of every encoder matrix to zero, and of the pooler where it is pruned; trains nothing."""
    quiet()
    parameters, folder = context.parameters, start_folder(context)
    model = load_for_pretraining(folder, seed=parameters["seed"], attention="sdpa", new_head=True)
    matrices = Matrices.of(model, family_of(folder))
    masked = matrices.masked(with_pooler=parameters["prune_pooler"])
    zero_at_random(model, context.checked(masked, "matrices to mask"), parameters["sparsity"], parameters["seed"])
    save_artifact(context.artifact, model, load_tokenizer(folder))
    pooler = [name for name in matrices.pooler if name in masked]
    did = [f"masked {len(matrices.encoder)} of {len(matrices.encoder)} encoder matrices at random"]
    did += [f"masked {len(pooler)} of {len(matrices.pooler)} pooler matrices at random"] if matrices.pooler else []
    return StageResult(did=did, details=sparsity_details(model, matrices))


@torch.no_grad()
def zero_at_random(model: nn.Module, names: Iterable[str], sparsity: float, seed: int) -> None:
    """Zeros in these matrices of the model. A matrix has a draw of its own, told by the seed and its name."""
    for name in names:
        weight: torch.Tensor = model.get_submodule(name).weight  # type: ignore[assignment]
        draw = torch.Generator().manual_seed(int(sha256_of(["random-mask", seed, name])[:15], 16))
        weight.masked_fill_(~random_mask(weight.shape, sparsity, draw).to(weight.device), 0.0)
