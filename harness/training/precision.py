"""Precision: the number type of a forward pass's matrix products. Everything that lasts is fp32 in all of them.

    fp32   IEEE single precision, TF32 switched off
    tf32   fp32 operands rounded to 10 bits of fraction in matrix products: NVIDIA GPUs from Ampere on
    bf16   autocast: products in bfloat16; weights, their gradients and moments, masks, rankings, losses and the
           arithmetic of quantisation in fp32

Weights stay fp32, so a pruned or locked zero is the same zero in all three; what is published of a precision changes
neither counts nor patterns, only the roundings that training meets.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.specs import BF16, TF32
from harness.training.objectives import Inputs, Objective

FIRST_WITH_TF32 = (8, 0)  # compute capability


def compute_device() -> torch.device:
    """The device that stages run on: the GPU that is visible, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def matrix_products(precision: str, device: torch.device | None = None) -> Iterator[None]:
    """Within it fp32 products are IEEE's, or TF32's where `precision` says so; what was set before comes back after.

    Raises ValueError on a device that cannot compute so.
    """
    device = compute_device() if device is None else device
    _check(precision, device)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == TF32 else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def forward_in(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Around a forward pass and its loss: autocast to bfloat16, or nothing at all."""
    if precision != BF16:
        return nullcontext()
    return torch.autocast(device_type=device.type, dtype=torch.bfloat16)


def in_precision(objective: Objective, precision: str) -> Objective:
    """The objective with its forward passes, the teacher's among them, in this precision; fp32: itself."""
    return _AutocastObjective(objective, precision) if precision == BF16 else objective


@dataclass(frozen=True)
class _AutocastObjective:
    objective: Objective
    precision: str

    def __call__(self, model: nn.Module, inputs: Inputs, full_batch: Inputs | None = None) -> Tensor:
        with forward_in(self.precision, inputs["attention_mask"].device):
            return self.objective(model, inputs, full_batch)


def _check(precision: str, device: torch.device) -> None:
    """Raises ValueError where the device has no such products: the numbers would be another precision's."""
    if precision == TF32 and not (
        device.type == "cuda" and torch.cuda.get_device_capability(device) >= FIRST_WITH_TF32
    ):
        found, needed = _named(device), "an NVIDIA GPU of compute capability 8.0 or more"
    elif precision == BF16 and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        found, needed = _named(device), "an NVIDIA GPU of compute capability 8.0 or more, or a CPU"
    else:
        return
    raise ValueError(
        f"precision={precision} needs {needed}, and this stage runs on {found}. Run it there, or plan the grid with "
        "--set common.precision=fp32."
    )


def _named(device: torch.device) -> str:
    if device.type != "cuda":
        return f"a {device.type.upper()}"
    return f"{torch.cuda.get_device_name(device)} ({'.'.join(map(str, torch.cuda.get_device_capability(device)))})"
