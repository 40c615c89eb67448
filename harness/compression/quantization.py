"""8-bit Linears: fake quantisation while training, stored integers afterwards (Q8BERT, as Prune OFA applies it).

A real number r has the code q = clip(round_half_even(r * (1 / scale)) + zero_point, qmin, qmax), and a code stands for
(q - zero_point) * scale; the reciprocal is rounded first, as in torch's own kernels. Weights are int8, symmetric, one
scale per matrix; activations uint8, affine, one scale per tensor with ranges learnt in training. Only Linears are
quantised: embeddings, LayerNorm, softmax, GELU, residual adds and the attention products stay in floating point.

In order: `quantize_linears`, train (the masks of `sparsify` go on top), `remove_masks`, `freeze` to integers; then
`dequantize_linears` to save a plain checkpoint, and `load_frozen` to evaluate it from the integers.

Scales are fp32 numbers throughout. In a float64 model they are widened exactly, never recomputed, so a run in double
precision describes the same quantised model, and its two arithmetics agree to rounding error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear as linear_map
from torch.nn.utils import parametrize

ScaleRule = Literal["max127", "ref_max127_5"]
Arithmetic = Literal["dequantised", "integer"]

WEIGHT_MAX = 127
ACTIVATION_MIN, ACTIVATION_MAX = 0, 255
RANGE_MOMENTUM = 0.01

_BIAS_MIN, _BIAS_MAX = -(2**31), 2**31 - 1
_AROUND = np.arange(-4, 5)
_REQUIRED_PARTS = ("codes", "weight_scale", "input_scale", "input_zero_point")
_OPTIONAL_PARTS = ("bias_codes", "output_scale", "output_zero_point")


def weight_scale(weight: Tensor, *, rule: ScaleRule = "max127") -> Tensor:
    """Scale of a weight matrix from its current values: an fp32 scalar tensor, > 0 and without gradient.

    rule "max127": max|W| / 127 (Q8BERT). "ref_max127_5": max|W| / 127.5, the authors' release, where a largest weight
    that is positive falls off the range and loses its gradient; a QuantizedLinear takes its maximum from
    `RunningMaximum`. All-zero weights get the scale 1.
    Raises ValueError on an unknown rule. A NaN or infinity in the weight shows as such in the scale.
    """
    _check_choice("rule", rule, ScaleRule)
    return _scale_of(_largest(weight), rule)


def quantize_weight(weight: Tensor, scale: Tensor, *, rule: ScaleRule = "max127") -> Tensor:
    """int8 codes of a weight, same shape: round_half_even(W * (1 / scale)) clipped to [-127, 127].

    rule "ref_max127_5" clips to [-128, 127] as the authors' release does. Zero weights get code 0.
    """
    qmin, qmax = _weight_range(rule)
    return _quantize(weight.detach(), scale, 0, qmin, qmax).to(torch.int8)


def dequantize(codes: Tensor, scale: Tensor, zero_point: Tensor | int = 0) -> Tensor:
    """(codes - zero_point) * scale, in the dtype of `scale`; equal bit for bit to what `fake_quantize` returns."""
    return (codes.to(scale.dtype) - zero_point) * scale


def fake_quantize(x: Tensor, scale: Tensor, zero_point: Tensor | int, qmin: int, qmax: int) -> Tensor:
    """Rounds x to the nearest representable value, half to even: dequantised codes, same shape and dtype as x.

    scale: scalar > 0. zero_point: integer, the code of 0. qmin, qmax: range of codes.
    Straight-through gradient, gated by the clamp: 1 where the unclipped code lies in [qmin, qmax], else 0; none
    reaches scale or zero_point. On a CPU a clipped entry passes nothing of a gradient that is not finite either; on a
    GPU that becomes NaN.
    """
    return _FakeQuantize.apply(x, scale, zero_point, qmin, qmax)


def affine_parameters(minimum: Tensor, maximum: Tensor) -> tuple[Tensor, Tensor]:
    """(scale fp32, zero_point int32) of the uint8 grid that covers a range widened to contain 0.

    scale = (max(maximum, 0) - min(minimum, 0)) / 255, zero_point = clip(-round(min(minimum, 0) / scale), 0, 255), so
    0 is always representable exactly. The empty range 0..0 gets scale 1, zero_point 0.
    """
    low = minimum.float().clamp(max=0)
    high = maximum.float().clamp(min=0)
    scale = _safe((high - low) / (ACTIVATION_MAX - ACTIVATION_MIN))
    zero_point = (-torch.round(low / scale)).clamp(ACTIVATION_MIN, ACTIVATION_MAX).to(torch.int32)
    return scale, zero_point


def dyadic_multiplier(ratio: float) -> tuple[int, int]:
    """(a, n) with a * 2**-n close to `ratio` (relative error at most 2**-15) and a in [2**14, 2**15].

    n = floor(15 - log2(ratio)), a = round(ratio * 2**n): a rescaling that integer hardware does with a multiplication
    and a shift (Q8BERT; a fits 16 bits unsigned). Taken from the float's own exponent, so powers of 2 are exact.
    Raises ValueError unless ratio is finite and > 0.
    """
    if not (math.isfinite(ratio) and ratio > 0):
        raise ValueError(f"ratio={ratio}: expected a finite number above 0; a scale is broken.")
    mantissa, exponent = math.frexp(ratio)  # mantissa in [0.5, 1)
    n = 16 - exponent if mantissa == 0.5 else 15 - exponent
    return round(math.ldexp(ratio, n)), n


Widest = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class RangeObserver(nn.Module):
    """Range of an activation: the first batch's minimum and maximum, then x += momentum * (batch - x).

    momentum: in (0, 1], 0.01 in the authors' release; ValueError otherwise. Ranges move in training mode only. Padding
    positions take part like any other. A batch that is not finite is skipped: the step it belongs to is to be skipped
    as well, and must not poison the range for good. A batch in micro-batches: `observed_as_one_batch`.
    Buffers: minimum, maximum (scalars), initialised (bool).
    """

    minimum: Tensor
    maximum: Tensor
    initialised: Tensor

    def __init__(self, *, momentum: float = RANGE_MOMENTUM, device: torch.device | None = None) -> None:
        super().__init__()
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum={momentum}: expected a share in (0, 1].")
        self.momentum = momentum
        self._micro_batches: _MicroBatches | None = None
        self.register_buffer("minimum", torch.zeros((), device=device))
        self.register_buffer("maximum", torch.zeros((), device=device))
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool, device=device))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(scale, zero_point) to quantise x with, after taking x into the range when training.

        Raises RuntimeError in eval mode when no training batch was ever seen.
        """
        if self.training:
            self._observe(x.detach())
            return affine_parameters(self.minimum, self.maximum)
        return self.stored_parameters()

    def stored_parameters(self) -> tuple[Tensor, Tensor]:
        """(scale, zero_point) of the range seen so far. Raises RuntimeError when there is none."""
        if not bool(self.initialised):
            raise RuntimeError(
                "an activation range was never observed: run at least one batch in training mode, or load a state "
                "that holds the ranges, before evaluating or freezing."
            )
        return affine_parameters(self.minimum, self.maximum)

    @torch.no_grad()
    def _observe(self, x: Tensor) -> None:
        low, high = (value.to(self.minimum.dtype) for value in torch.aminmax(x))
        minimum, maximum, initialised = self.minimum, self.maximum, self.initialised
        if self._micro_batches is not None:
            low, high = self._micro_batches.widen(low, high)
            minimum, maximum, initialised = self._micro_batches.before
        usable = torch.isfinite(low) & torch.isfinite(high)
        for stored, before, batch in ((self.minimum, minimum, low), (self.maximum, maximum, high)):
            updated = torch.where(initialised, before + self.momentum * (batch - before), batch)
            stored.copy_(torch.where(usable, updated, before))
        self.initialised.copy_(initialised | usable)


@dataclass
class _MicroBatches:
    """A batch in micro-batches: the observer's buffers before it, and the range of the micro-batches so far.

    over_ranks: the range of a micro-batch -> of what all ranks have at the time.
    """

    before: tuple[Tensor, Tensor, Tensor]
    over_ranks: Widest | None = None
    low: Tensor | None = None
    high: Tensor | None = None

    def widen(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The range so far, this micro-batch included; not finite once one of them was not."""
        if self.over_ranks is not None:
            low, high = self.over_ranks(low, high)
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)
        return self.low, self.high


@contextmanager
def observed_as_one_batch(model: nn.Module, over_ranks: Widest | None = None) -> Iterator[None]:
    """The training batches in this block are micro-batches of one: every activation range moves once for all of them.

    After the last one an observer holds what the full batch would have given for the same activations. Each is
    quantised with the range known by then, the earlier ones without the later extremes; that, and its effect on the
    activations of later layers, is where quantisation-aware training in micro-batches differs from the full batch.
    over_ranks: (low, high) of this process's micro-batch -> of those of all ranks, where several have parts of the
    batch; with one micro-batch a rank the ranges are those of the full batch.
    """
    observers = [module for module in model.modules() if isinstance(module, RangeObserver)]
    for observer in observers:
        buffers = observer.minimum.clone(), observer.maximum.clone(), observer.initialised.clone()
        observer._micro_batches = _MicroBatches(before=buffers, over_ranks=over_ranks)
    try:
        yield
    finally:
        for observer in observers:
            observer._micro_batches = None


class RunningMaximum(nn.Module):
    """The largest |W| that a weight ever had in training: the authors' release keeps a range that never shrinks.

    Moves in training mode only; a weight that is not finite is passed over.
    Buffers: largest (fp32 scalar), initialised (bool).
    """

    largest: Tensor
    initialised: Tensor

    def __init__(self, *, device: torch.device | None = None) -> None:
        super().__init__()
        self.register_buffer("largest", torch.zeros((), device=device))
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool, device=device))

    @torch.no_grad()
    def forward(self, weight: Tensor) -> Tensor:
        """max|W| over all weights so far, this one included when training; in eval mode the stored one."""
        if not self.training:
            return self.stored()
        now = _largest(weight).to(self.largest.dtype)
        usable = torch.isfinite(now)
        self.largest.copy_(torch.where(usable, torch.maximum(self.largest, now), self.largest))
        self.initialised.copy_(self.initialised | usable)
        return self.largest

    def stored(self) -> Tensor:
        """max|W| over the weights so far. Raises RuntimeError when none was ever seen."""
        if not bool(self.initialised):
            raise RuntimeError(
                "the range of a weight was never observed: run at least one batch in training mode, or load a state "
                "that holds it, before evaluating or freezing."
            )
        return self.largest


class QuantizedLinear(nn.Linear):
    """Linear whose input, weight and optionally output are fake-quantised (Q8BERT, as Prune OFA applies it).

    Input and output: uint8, ranges by RangeObserver, updated in training mode and then used, stored ones in eval.
    Weight: int8, masked or not, at every forward; its scale is that of its current values, or under scale_rule
    "ref_max127_5" of the largest so far (`RunningMaximum`). Bias: floating point here; integers come with `freeze`.
    requantize_output False leaves the output in floating point, for what feeds a residual add, the attention context or
    a loss. Autocast is switched off inside: bfloat16 cannot hold code * scale, which would leave the grid by a quarter
    of a step.
    is_active False: an ordinary Linear for the time being, which observes and rounds nothing.
    """

    is_active: bool = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        requantize_output: bool = False,
        scale_rule: ScaleRule = "max127",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias, device=device, dtype=dtype)
        _check_choice("scale_rule", scale_rule, ScaleRule)
        self.scale_rule: ScaleRule = scale_rule
        self.input_observer = RangeObserver(device=self.weight.device)
        self.output_observer = RangeObserver(device=self.weight.device) if requantize_output else None
        self.weight_observer = _weight_observer(scale_rule, self.weight.device)

    @classmethod
    def from_linear(
        cls,
        linear: nn.Linear,
        *,
        requantize_output: bool,
        scale_rule: ScaleRule = "max127",
        range_momentum: float = RANGE_MOMENTUM,
    ) -> QuantizedLinear:
        """The quantised form of `linear`, holding the same weight and bias Parameters."""
        quantized = cls(  # on "meta" nothing is allocated and no random number drawn
            linear.in_features, linear.out_features, linear.bias is not None, scale_rule=scale_rule, device="meta"
        )
        quantized.weight, quantized.bias = linear.weight, linear.bias
        device = linear.weight.device
        quantized.input_observer = RangeObserver(momentum=range_momentum, device=device)
        if requantize_output:
            quantized.output_observer = RangeObserver(momentum=range_momentum, device=device)
        quantized.weight_observer = _weight_observer(scale_rule, device)
        return quantized.train(linear.training)

    @property
    def requantize_output(self) -> bool:
        """Whether the output is rounded to uint8 codes."""
        return self.output_observer is not None

    def forward(self, input: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features]. Raises RuntimeError in eval mode without observed ranges."""
        weight = self.weight  # read once: behind a mask every read computes V * M
        if not self.is_active:
            return linear_map(input, weight, self.bias)
        qmin, qmax = _weight_range(self.scale_rule)
        with torch.autocast(device_type=input.device.type, enabled=False):
            x = input.to(weight.dtype)
            weight = fake_quantize(weight, self.scale_of(weight), 0, qmin, qmax)
            output = linear_map(_through_range(x, self.input_observer), weight, self.bias)
            return output if self.output_observer is None else _through_range(output, self.output_observer)

    def scale_of(self, weight: Tensor) -> Tensor:
        """The scale to quantise this weight with, by the scale rule; `RunningMaximum` says what it takes note of."""
        if self.weight_observer is None:
            return weight_scale(weight, rule=self.scale_rule)
        return _scale_of(self.weight_observer(weight), self.scale_rule)


class FrozenQuantizedLinear(nn.Module):
    """Linear evaluated from stored integers; the inference form of a QuantizedLinear, without Parameters.

    Buffers: codes int8 [out, in]; weight_scale, input_scale fp32 scalars; input_zero_point int32 scalar; bias_codes
    int32 [out] or None, in units of input_scale * weight_scale; with a requantised output also output_scale,
    output_zero_point and the dyadic multiplier output_a, output_n (a * 2**-n stands for input_scale * weight_scale /
    output_scale).

    arithmetic "integer": acc = q_x q_w^T - z_x * sum_j q_w + b_q on exact integers carried in float64 (all far below
    2**53), then y = acc * s_x * s_w, or the output code round(acc * a * 2**-n) + z_y. "dequantised": an ordinary
    matrix product of the dequantised operands; for a requantised output acc is recovered by rounding. In float64 the
    two agree to rounding error; in fp32 a requantised code can differ where an accumulator exceeds 2**24.
    Autocast is switched off inside. The output has the input's dtype.
    """

    codes: Tensor
    weight_scale: Tensor
    input_scale: Tensor
    input_zero_point: Tensor
    bias_codes: Tensor | None
    output_scale: Tensor | None
    output_zero_point: Tensor | None
    output_a: Tensor | None
    output_n: Tensor | None

    def __init__(
        self,
        *,
        codes: Tensor,
        weight_scale: Tensor,
        input_scale: Tensor,
        input_zero_point: Tensor,
        bias_codes: Tensor | None = None,
        output_scale: Tensor | None = None,
        output_zero_point: Tensor | None = None,
        arithmetic: Arithmetic = "dequantised",
    ) -> None:
        """Raises ValueError on an unknown arithmetic, codes that are not int8 [out, in], or a scale not above 0."""
        super().__init__()
        _check_choice("arithmetic", arithmetic, Arithmetic)
        if codes.dtype != torch.int8 or codes.dim() != 2:
            raise ValueError(f"codes: {codes.dtype} {list(codes.shape)}, expected torch.int8 [out, in].")
        if (output_scale is None) != (output_zero_point is None):
            raise ValueError("output_scale and output_zero_point: expected both or neither.")
        self.arithmetic: Arithmetic = arithmetic
        self.out_features, self.in_features = codes.shape
        self.register_buffer("codes", codes)
        for name, scale in (("weight_scale", weight_scale), ("input_scale", input_scale)):
            self.register_buffer(name, _checked_scale(name, scale))
        self.register_buffer("input_zero_point", input_zero_point)
        self.register_buffer("bias_codes", bias_codes)
        a = n = None
        if output_scale is not None:
            output_scale = _checked_scale("output_scale", output_scale)
            ratio = float(input_scale) * float(weight_scale) / float(output_scale)
            a, n = (torch.tensor(value, dtype=torch.int32, device=codes.device) for value in dyadic_multiplier(ratio))
        self.register_buffer("output_scale", output_scale)
        self.register_buffer("output_zero_point", output_zero_point)
        self.register_buffer("output_a", a)
        self.register_buffer("output_n", n)

    @property
    def weight(self) -> Tensor:
        """Dequantised weight [out, in], codes * weight_scale; computed at every read.

        There for what looks at a Linear from outside: counting zeros, or model code that asks for its weight's dtype.
        """
        return dequantize(self.codes, self.weight_scale)

    @property
    def bias(self) -> Tensor | None:
        """Dequantised bias [out], or None."""
        if self.bias_codes is None:
            return None
        return self.bias_codes.to(self.weight_scale.dtype) * (self.input_scale * self.weight_scale)

    def forward(self, input: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features], dtype of the input (computed in fp32 or float64)."""
        x = input if input.dtype == torch.float64 else input.float()
        with torch.autocast(device_type=x.device.type, enabled=False):
            x_codes = _quantize(x, self.input_scale, self.input_zero_point, ACTIVATION_MIN, ACTIVATION_MAX)
            output = self._integer(x_codes) if self.arithmetic == "integer" else self._dequantised(x_codes)
        return output.to(input.dtype)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, arithmetic={self.arithmetic!r}"

    def _integer(self, x_codes: Tensor) -> Tensor:
        codes = self.codes.double()
        accumulator = linear_map(x_codes.double(), codes) - self.input_zero_point * codes.sum(dim=1)
        if self.bias_codes is not None:
            accumulator = accumulator + self.bias_codes
        if self.output_scale is not None:
            return self._requantised(accumulator)
        return accumulator * self._accumulator_scale()

    def _dequantised(self, x_codes: Tensor) -> Tensor:
        dtype = x_codes.dtype
        weight = dequantize(self.codes, self.weight_scale.to(dtype))
        x = dequantize(x_codes, self.input_scale.to(dtype), self.input_zero_point)
        bias = None if self.bias_codes is None else (self.bias_codes.double() * self._accumulator_scale()).to(dtype)
        output = linear_map(x, weight, bias)
        if self.output_scale is None:
            return output
        return self._requantised(torch.round(output.double() / self._accumulator_scale()))

    def _requantised(self, accumulator: Tensor) -> Tensor:
        """Integers in float64 -> output code by multiplication and shift -> its dequantised value.

        A multiplication by 2**-n, not a shift of integers: exact in float64, and defined for a negative n.
        """
        assert self.output_a is not None
        assert self.output_n is not None
        assert self.output_scale is not None
        assert self.output_zero_point is not None
        rescaled = torch.round(accumulator * torch.ldexp(self.output_a.double(), -self.output_n))
        codes = (rescaled + self.output_zero_point).clamp(ACTIVATION_MIN, ACTIVATION_MAX)
        return dequantize(codes, self.output_scale.double(), self.output_zero_point)

    def _accumulator_scale(self) -> Tensor:
        """input_scale * weight_scale in float64, where the product of two fp32 numbers is exact."""
        return self.input_scale.double() * self.weight_scale.double()


def activate_fake_quantization(model: nn.Module, is_active: bool) -> int:
    """Whether every QuantizedLinear of the model observes and rounds from now on; returns how many there are."""
    found = [module for module in model.modules() if isinstance(module, QuantizedLinear)]
    for module in found:
        module.is_active = is_active
    return len(found)


def quantize_linears(
    model: nn.Module,
    names: Sequence[str],
    *,
    fp32_output_names: Collection[str],
    scale_rule: ScaleRule = "max127",
    range_momentum: float = RANGE_MOMENTUM,
) -> list[str]:
    """Replaces every named nn.Linear in place by a QuantizedLinear on the same Parameters; returns the names.

    fp32_output_names: those of `names` whose output stays in floating point. scale_rule: see `weight_scale`.
    range_momentum: see `RangeObserver`. Load weights first, quantise second, lock a zero pattern third.
    Raises ValueError, leaving the model untouched, that lists every name that is missing, repeated or not a plain
    nn.Linear (a masked one is not), every fp32_output_name outside `names`, and when `names` is empty.
    """
    problems = _linear_problems(model, names, allowed=(nn.Linear,))
    problems += [f"{name}: in fp32_output_names but not in names" for name in fp32_output_names if name not in names]
    if problems or not names:
        raise ValueError(f"cannot quantise {len(names)} Linears: " + ("; ".join(problems) or "names is empty") + ".")
    for name in names:
        linear = cast(nn.Linear, model.get_submodule(name))
        _replace(
            model,
            name,
            QuantizedLinear.from_linear(
                linear,
                requantize_output=name not in fp32_output_names,
                scale_rule=scale_rule,
                range_momentum=range_momentum,
            ),
        )
    return list(names)


@torch.no_grad()
def freeze(model: nn.Module) -> dict[str, Tensor]:
    """The integers and scales of every QuantizedLinear, from its final weights: a flat dict of CPU tensors.

    Keys "<module>." + codes (int8 [out, in]), weight_scale (fp32), input_scale (fp32), input_zero_point (int32),
    bias_codes (int32 [out], where there is a bias: round(bias / (input_scale * weight_scale)), clipped),
    output_scale, output_zero_point (where the output is requantised). The model is not changed.
    Raises ValueError when the model has no QuantizedLinear, one is still masked, or a number is not finite or a scale
    not above 0; RuntimeError when a range was never observed.
    """
    quantized = {name: module for name, module in model.named_modules() if isinstance(module, QuantizedLinear)}
    if not quantized:
        raise ValueError(f"{type(model).__name__} has no QuantizedLinear: call quantize_linears and train first.")
    tensors: dict[str, Tensor] = {}
    for name, module in quantized.items():
        if parametrize.is_parametrized(module):
            raise ValueError(f"{name}: still masked; call remove_masks before freeze.")
        tensors |= {f"{name}.{part}": tensor for part, tensor in _frozen_parts(name, module).items()}
    return tensors


def load_frozen(
    model: nn.Module, tensors: Mapping[str, Tensor], *, arithmetic: Arithmetic = "dequantised"
) -> list[str]:
    """Replaces, in place, every Linear that `tensors` names by a FrozenQuantizedLinear; returns the names.

    tensors: as `freeze` returns them. The Linear's own weight and bias are dropped.
    Raises ValueError, leaving the model untouched, that lists every name that is missing in the model, neither a
    plain nn.Linear nor a QuantizedLinear, or of another shape; on tensors of another form and an unknown arithmetic.
    """
    _check_choice("arithmetic", arithmetic, Arithmetic)
    by_name = _parts_by_name(tensors)
    problems = _linear_problems(model, list(by_name), allowed=(nn.Linear, QuantizedLinear))
    problems += _shape_problems(model, by_name)
    if problems:
        raise ValueError(f"cannot load {len(by_name)} frozen Linears: " + "; ".join(problems) + ".")
    for name, parts in by_name.items():
        linear = cast(nn.Linear, model.get_submodule(name))
        moved: dict[str, Any] = {part: tensor.to(linear.weight.device) for part, tensor in parts.items()}
        _replace(model, name, FrozenQuantizedLinear(**moved, arithmetic=arithmetic).train(linear.training))
    return list(by_name)


@torch.no_grad()
def dequantize_linears(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Writes codes * weight_scale into the weights and turns every QuantizedLinear back into a plain nn.Linear.

    tensors: as `freeze` returns them. Weight and bias Parameters stay the same objects, the bias keeps its floating
    point value, and the model has a plain state_dict again. An fp32 weight equals codes.float() * scale bit for bit.
    Raises ValueError on names missing in the model, masked, of another shape, or a QuantizedLinear not in `tensors`.
    """
    by_name = _parts_by_name(tensors)
    problems = _linear_problems(model, list(by_name), allowed=(nn.Linear, QuantizedLinear))
    problems += _shape_problems(model, by_name)
    for name, module in model.named_modules():
        if isinstance(module, QuantizedLinear) and name not in by_name:
            problems.append(f"{name}: a {type(module).__name__} without frozen tensors")
    if problems:
        raise ValueError("cannot dequantise: " + "; ".join(problems) + ".")
    for name, parts in by_name.items():
        linear = cast(nn.Linear, model.get_submodule(name))
        scale = parts["weight_scale"].to(device=linear.weight.device)
        codes = parts["codes"].to(linear.weight.device)
        linear.weight.copy_(dequantize(codes, scale.double() if linear.weight.dtype == torch.float64 else scale))
        if isinstance(linear, QuantizedLinear):
            plain = nn.Linear(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
            plain.weight, plain.bias = linear.weight, linear.bias
            _replace(model, name, plain.train(linear.training))


def int8_zero_counts(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, int]]:
    """(zero codes, number of codes) per module of what `freeze` returns; other tensors are passed over."""
    return {
        key.removesuffix(".codes"): (int((codes == 0).sum()), codes.numel())
        for key, codes in tensors.items()
        if key.endswith(".codes")
    }


class _FakeQuantize(torch.autograd.Function):
    """torch.fake_quantize_per_tensor_affine for any float type: float64 keeps its precision, 16 bit is widened."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor | int, qmin: int, qmax: int) -> Tensor:
        unclipped = _unclipped_codes(x, scale, zero_point)
        if x.device.type == "cpu":  # where bools are slow to make and to multiply by
            ctx.save_for_backward(x)
            ctx.edges = _edges(scale, zero_point, qmin, qmax, unclipped.dtype) if ctx.needs_input_grad[0] else None
            codes = unclipped.clamp_(qmin, qmax)
        else:
            codes = unclipped.clamp(qmin, qmax)
            ctx.save_for_backward(codes == unclipped)  # not where it is NaN
        return codes.sub_(zero_point).mul_(scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        (kept,) = ctx.saved_tensors
        if kept.dtype == torch.bool:
            return grad * kept, None, None, None, None
        wide, x = (each if each.dtype == torch.float64 else each.float() for each in (grad, kept))
        inside = torch.ops.aten.hardtanh_backward(wide, x, *ctx.edges)  # one pass: 0 unless x is between the edges
        return inside.to(grad.dtype), None, None, None, None


def _edges(scale: Tensor, zero_point: Tensor | int, qmin: int, qmax: int, dtype: torch.dtype) -> tuple[float, float]:
    """The largest float of this type whose unclipped code is below qmin, and the smallest whose code is above qmax.

    Codes never fall as x rises, so the two tell which x are clipped: infinities where no finite x is. Each is the first
    outside among the floats around (bound +- 0.5 - zero_point) * scale, by the arithmetic of `_unclipped_codes` itself:
    roundings move it by two floats at most.
    """
    number, bits = (np.float64, np.int64) if dtype == torch.float64 else (np.float32, np.int32)
    reciprocal, zero = float(1 / scale.to(dtype)), int(zero_point)
    if not 0 < reciprocal < math.inf:
        return -math.inf, math.inf
    with np.errstate(over="ignore", invalid="ignore"):
        beside = np.array([qmin - 0.5 - zero, qmax + 0.5 - zero]) / reciprocal
        around = (beside.astype(number).view(bits)[:, None] + _AROUND.astype(bits)).view(
            number
        )  # outwards, as bits rise
        codes = np.rint(around * number(reciprocal)) + number(zero)
    first = ((codes < qmin) | (codes > qmax)).argmax(axis=1)
    low, high = (float(row[at]) if np.isfinite(row).all() else math.inf for row, at in zip(around, first, strict=True))
    return (low if low < 0 else -math.inf), high


def _quantize(x: Tensor, scale: Tensor, zero_point: Tensor | int, qmin: int, qmax: int) -> Tensor:
    """Codes as floating-point integers of x's dtype, at least fp32."""
    return _unclipped_codes(x, scale, zero_point).clamp(qmin, qmax)


def _unclipped_codes(x: Tensor, scale: Tensor, zero_point: Tensor | int) -> Tensor:
    wide = x if x.dtype == torch.float64 else x.float()
    return (wide * (1 / scale.to(wide.dtype))).round_().add_(zero_point)  # the sum turns -0.0 into 0.0


def _safe(scale: Tensor) -> Tensor:
    """The scale, or 1 where it is 0 or so small that its reciprocal overflows."""
    return torch.where(scale < torch.finfo(scale.dtype).tiny, torch.ones_like(scale), scale)


def _largest(weight: Tensor) -> Tensor:
    """max|W| in fp32; NaN or infinite where an entry is."""
    low, high = torch.aminmax(weight.detach())
    return torch.maximum(-low, high).float()


def _scale_of(largest: Tensor, rule: ScaleRule) -> Tensor:
    return _safe(largest.float() / (WEIGHT_MAX if rule == "max127" else WEIGHT_MAX + 0.5))


def _weight_observer(rule: ScaleRule, device: torch.device) -> RunningMaximum | None:
    """None: the scale is that of the current weight."""
    return RunningMaximum(device=device) if rule == "ref_max127_5" else None


def _through_range(x: Tensor, observer: RangeObserver) -> Tensor:
    scale, zero_point = observer(x)
    return fake_quantize(x, scale, zero_point, ACTIVATION_MIN, ACTIVATION_MAX)


def _weight_range(rule: ScaleRule) -> tuple[int, int]:
    _check_choice("rule", rule, ScaleRule)
    return (-WEIGHT_MAX if rule == "max127" else -WEIGHT_MAX - 1), WEIGHT_MAX


def _check_choice(field: str, value: str, choices: Any) -> None:
    if value not in get_args(choices):
        raise ValueError(f"{field}={value!r}: expected one of {', '.join(get_args(choices))}.")


def _checked_scale(name: str, scale: Tensor) -> Tensor:
    if scale.dim() != 0 or not (math.isfinite(float(scale)) and float(scale) > 0):
        raise ValueError(f"{name}={scale.tolist()}: expected one finite number above 0.")
    return scale


def _frozen_parts(name: str, module: QuantizedLinear) -> dict[str, Tensor]:
    if not bool(torch.isfinite(module.weight).all()):
        raise ValueError(f"{name}: the weight has entries that are not finite.")
    if module.weight_observer is None:
        scale = weight_scale(module.weight, rule=module.scale_rule)
    else:
        scale = _scale_of(module.weight_observer.stored(), module.scale_rule)
    input_scale, input_zero_point = module.input_observer.stored_parameters()
    parts = {
        "codes": quantize_weight(module.weight, scale, rule=module.scale_rule),
        "weight_scale": scale,
        "input_scale": input_scale,
        "input_zero_point": input_zero_point,
    }
    if module.bias is not None:
        if not bool(torch.isfinite(module.bias).all()):
            raise ValueError(f"{name}: the bias has entries that are not finite.")
        codes = torch.round(module.bias.double() / (input_scale.double() * scale.double()))
        parts["bias_codes"] = codes.clamp(_BIAS_MIN, _BIAS_MAX).to(torch.int32)
    if module.output_observer is not None:
        parts["output_scale"], parts["output_zero_point"] = module.output_observer.stored_parameters()
    for part in ("weight_scale", "input_scale", "output_scale"):
        if part in parts:
            _checked_scale(f"{name}.{part}", parts[part])
    return {part: tensor.detach().cpu().contiguous() for part, tensor in parts.items()}


def _parts_by_name(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Module name -> its parts; ValueError on a key of another form, a missing part, or no module at all."""
    by_name: dict[str, dict[str, Tensor]] = {}
    problems = []
    for key, tensor in tensors.items():
        name, _, part = key.rpartition(".")
        if name and part in _REQUIRED_PARTS + _OPTIONAL_PARTS:
            by_name.setdefault(name, {})[part] = tensor
        else:
            problems.append(f"unknown key {key!r}")
    for name, parts in by_name.items():
        missing = [part for part in _REQUIRED_PARTS if part not in parts]
        if ("output_scale" in parts) != ("output_zero_point" in parts):
            missing.append("output_scale or output_zero_point")
        if missing:
            problems.append(f"{name}: without {', '.join(missing)}")
    if problems or not by_name:
        raise ValueError("these are not frozen tensors: " + ("; ".join(problems) or "there are none") + ".")
    return by_name


def _linear_problems(model: nn.Module, names: Sequence[str], *, allowed: tuple[type[nn.Module], ...]) -> list[str]:
    modules = dict(model.named_modules())
    problems = [f"{name}: named twice" for name in {name for name in names if list(names).count(name) > 1}]
    for name in names:
        if not name or name not in modules:
            problems.append(f"{name or '(the model itself)'}: no such module")
        elif type(modules[name]) not in allowed:
            expected = " or ".join(kind.__name__ for kind in allowed)
            problems.append(f"{name}: a {type(modules[name]).__name__}, expected a plain {expected}")
    return problems


def _shape_problems(model: nn.Module, by_name: Mapping[str, Mapping[str, Tensor]]) -> list[str]:
    modules = dict(model.named_modules())
    problems = []
    for name, parts in by_name.items():
        module = modules.get(name)
        if not isinstance(module, nn.Linear):
            continue
        if module.weight.shape != parts["codes"].shape:
            problems.append(f"{name}: codes {list(parts['codes'].shape)}, weight {list(module.weight.shape)}")
        if (module.bias is None) == ("bias_codes" in parts):
            problems.append(f"{name}: bias in one of model and tensors only")
    return problems


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
