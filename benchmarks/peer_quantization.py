"""The same quantised model made with torch.ao's fake-quantise modules, to compare a step with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.ao.quantization import FakeQuantize, FusedMovingAvgObsFakeQuantize, MovingAverageMinMaxObserver
from torch.nn.functional import linear as linear_map

from harness.compression.quantization import ACTIVATION_MAX, ACTIVATION_MIN, RANGE_MOMENTUM

PEERS = {"FakeQuantize": FakeQuantize, "FusedMovingAvgObsFakeQuantize": FusedMovingAvgObsFakeQuantize}


class PeerLinear(nn.Linear):
    """A Linear with torch.ao's modules where a QuantizedLinear rounds: input, weight and, where it does, output."""

    input_rounding: nn.Module
    weight_rounding: nn.Module
    output_rounding: nn.Module | None

    def forward(self, input: Tensor) -> Tensor:
        output = linear_map(self.input_rounding(input), self.weight_rounding(self.weight), self.bias)
        return output if self.output_rounding is None else cast(Tensor, self.output_rounding(output))


def quantize_with_peer(
    model: nn.Module, names: Sequence[str], *, fp32_output_names: Collection[str], peer: str
) -> None:
    """As `quantization.quantize_linears`, in place: uint8 affine activations and int8 symmetric weights by tensor.

    peer: a name of PEERS. Ranges are moving averages with the momentum of the release, of weights too, as torch.ao has
    no other observer for its fused module.
    """
    for name in names:
        linear = cast(PeerLinear, model.get_submodule(name))
        linear.__class__ = PeerLinear
        linear.input_rounding = _activation(peer)
        linear.weight_rounding = _weight(peer)
        linear.output_rounding = None if name in fp32_output_names else _activation(peer)


def _activation(peer: str) -> nn.Module:
    limits = {"quant_min": ACTIVATION_MIN, "quant_max": ACTIVATION_MAX}
    return _made(peer, **limits, dtype=torch.quint8, qscheme=torch.per_tensor_affine)


def _weight(peer: str) -> nn.Module:
    return _made(peer, quant_min=-128, quant_max=127, dtype=torch.qint8, qscheme=torch.per_tensor_symmetric)


def _made(peer: str, **options: Any) -> nn.Module:
    options = {"observer": MovingAverageMinMaxObserver, "averaging_constant": RANGE_MOMENTUM, **options}
    return cast(nn.Module, PEERS[peer](**options))
