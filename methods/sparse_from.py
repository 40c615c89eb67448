"""A sparse checkpoint of one's own (--sparse-from NAME=DIR): locked, transferred with distillation, quantized."""

from __future__ import annotations

from functools import cache

from harness.plugin import Chain, Method, StageSpec


@cache
def named(name: str) -> Method:
    """The method of the checkpoint called NAME."""

    def stages(chain: Chain) -> StageSpec:
        return chain.transfer(chain.own_sparse_model(name), distillation=True)

    return Method(
        name=f"sparse-from:{name}",
        title=name,
        stages=stages,
        sparse=True,
        transfer_kd="yes",
        note=(
            f"A sparse encoder from outside, given as --sparse-from {name}=DIR: nothing is pruned here. Its zeros are "
            "counted, its pattern is locked, and it is transferred as Prune OFA's models are."
        ),
    )
