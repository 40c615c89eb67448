"""Torch's own counter of the floating-point operations that a training step really runs."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def counted_by_torch(objective: Any, model: Any, inputs: dict[str, torch.Tensor]) -> int:
    """FLOPs of the matrix products that forward and backward pass really run."""

    def in_place(out: Any, left: Any, right: Any, *args: Any, **options: Any) -> int:
        return 2 * left[0] * left[1] * right[1]

    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: in_place}) as counter:
        objective(model, inputs).backward()
    return int(counter.get_total_flops())
