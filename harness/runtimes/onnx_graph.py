"""A scored model as an ONNX graph; a quantised one with QuantizeLinear and DequantizeLinear nodes.

Every quantised Linear becomes

    DequantizeLinear(QuantizeLinear(x)) @ DequantizeLinear(codes) + DequantizeLinear(bias)

and where its output is requantised, one pair more. Scales and zero points are the stored ones; ranges are not looked
for again. The scale that a requantised output is rounded by is that of the integer path, a whole number times a power
of 2 (`dyadic_multiplier` of `harness.compression.quantization`): a runtime with exact integer products has its codes.

codes: "uint8" stores each weight's code plus 128 with zero point 128, "int8" as it is. They are the same numbers. On
x86 without VNNI the usual kernel adds two products of 8 bits in 16: of int8 weights with uint8 activations they do not
always fit, and the sum saturates in silence (docs/export.md has what that costs). uint8 weights take another kernel.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES

from harness.compression.quantization import FrozenQuantizedLinear
from harness.errors import UsageError
from harness.files import write_new
from harness.training.model_inputs import inputs_for

OPSET = 18
Codes = Literal["uint8", "int8"]
_CENTRE = 128
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# Any two lengths: both are free in the graph. Not 1, which the exporter would take for a constant.
_EXAMPLES, _TOKENS = 2, 9


def write_onnx(model: nn.Module, path: Path, *, codes: Codes = "uint8") -> None:
    """Write the model's graph. Inputs: int64 [examples, tokens] by the model's own names; outputs: its fp32 logits.

    model: in evaluation mode, on the CPU; its frozen quantised Linears are the quantised ones of the graph. It is not
    changed. Raises UsageError where the packages of the extra "onnx" are not installed.
    """
    require_packages("onnx", "onnxscript")
    outputs = output_names(model)
    exported = _WithPlainInputs(_with_graph_linears(model, codes), input_names(model), outputs)
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            exported,
            example_inputs(model, _EXAMPLES, _TOKENS),
            dynamo=True,
            dynamic_shapes=(tuple(free for _ in input_names(model)),),
            input_names=list(input_names(model)),
            output_names=list(outputs),
            custom_translation_table=_translations(),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    _without_traces(graph)
    write_new(path, graph.SerializeToString(deterministic=True))


def input_names(model: nn.Module) -> tuple[str, ...]:
    """Of the token tensors that the model takes, in this module's order."""
    return tuple(inputs_for(model, dict.fromkeys(INPUTS, torch.empty(0))))


def output_names(model: nn.Module) -> tuple[str, ...]:
    """Of its task: two for the models that the library names for question answering, else one."""
    answers = type(model).__name__ in MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES.values()
    return ("start_logits", "end_logits") if answers else ("logits",)


def example_inputs(model: nn.Module, examples: int, tokens: int) -> tuple[Tensor, ...]:
    """Token ids 1, full attention, one text; int64 [examples, tokens] for each of `input_names`."""
    values = {"input_ids": 1, "attention_mask": 1, "token_type_ids": 0}
    return tuple(torch.full((examples, tokens), values[name]) for name in input_names(model))


def require_packages(*names: str, extra: str = "onnx") -> None:
    """Raises UsageError where one of these cannot be imported. extra: of this package's, that brings them."""
    import importlib.util

    absent = [name for name in names if importlib.util.find_spec(name) is None]
    if absent:
        raise UsageError(
            f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed. pip install "
            f"'encoder-compression-harness[{extra}]' brings what these formats need."
        )


class _WithPlainInputs(nn.Module):
    """The model behind inputs by position and outputs as a tuple."""

    def __init__(self, model: nn.Module, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.inputs, self.outputs = inputs, outputs

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        found = self.model(**dict(zip(self.inputs, tensors, strict=True)))
        return tuple(found[name] for name in self.outputs)


class _GraphLinear(nn.Module):
    """A frozen quantised Linear in terms of the operators that have a translation."""

    def __init__(self, frozen: FrozenQuantizedLinear, codes: Codes) -> None:
        super().__init__()
        weight = frozen.codes.t().contiguous()
        centre = 0
        if codes == "uint8":
            weight, centre = (weight.to(torch.int16) + _CENTRE).to(torch.uint8), _CENTRE
        accumulator_scale = frozen.input_scale.double() * frozen.weight_scale.double()
        bias = torch.zeros(frozen.out_features, dtype=torch.int32) if frozen.bias_codes is None else frozen.bias_codes
        self.register_buffer("codes", weight)
        self.register_buffer("weight_scale", frozen.weight_scale.float())
        self.register_buffer("weight_zero_point", torch.tensor(centre, dtype=weight.dtype))
        self.register_buffer("input_scale", frozen.input_scale.float())
        self.register_buffer("input_zero_point", frozen.input_zero_point.to(torch.uint8))
        self.register_buffer("bias_codes", bias)
        self.register_buffer("bias_scale", accumulator_scale.float())
        self.requantises = frozen.output_scale is not None
        if self.requantises:
            multiplier = frozen.output_a.double() * 2.0 ** -frozen.output_n.double()  # type: ignore[union-attr]
            self.register_buffer("rounding_scale", (accumulator_scale / multiplier).float())
            self.register_buffer("output_scale", frozen.output_scale.float())  # type: ignore[union-attr]
            self.register_buffer("output_zero_point", frozen.output_zero_point.to(torch.uint8))  # type: ignore[union-attr]
        self.weight = nn.Parameter(torch.empty(0))  # model code asks for its type

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.encoder_harness.quantized_linear(
            x,
            self.codes,
            self.weight_scale,
            self.weight_zero_point,
            self.input_scale,
            self.input_zero_point,
            self.bias_codes,
            self.bias_scale,
        )
        if self.requantises:
            y = torch.ops.encoder_harness.requantize(y, self.rounding_scale, self.output_scale, self.output_zero_point)
        return y


def _with_graph_linears(model: nn.Module, codes: Codes) -> nn.Module:
    changed = copy.deepcopy(model)
    for name, module in list(changed.named_modules()):
        if isinstance(module, FrozenQuantizedLinear):
            parent, _, child = name.rpartition(".")
            setattr(changed.get_submodule(parent), child, _GraphLinear(module, codes))
    return changed


# The two operators as the exporter's tracer sees them: names with shapes. Only their translations compute.


@torch.library.custom_op("encoder_harness::quantized_linear", mutates_args=())
def _quantized_linear(
    x: Tensor,
    codes: Tensor,
    weight_scale: Tensor,
    weight_zero_point: Tensor,
    input_scale: Tensor,
    input_zero_point: Tensor,
    bias_codes: Tensor,
    bias_scale: Tensor,
) -> Tensor:
    return x.new_zeros(*x.shape[:-1], codes.shape[1])


@_quantized_linear.register_fake
def _(x: Tensor, codes: Tensor, *scales: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], codes.shape[1])


@torch.library.custom_op("encoder_harness::requantize", mutates_args=())
def _requantize(x: Tensor, rounding_scale: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    return x.clone()


@_requantize.register_fake
def _(x: Tensor, rounding_scale: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    return torch.empty_like(x)


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    from onnxscript import opset18 as op

    def linear(
        x: Any,
        codes: Any,
        weight_scale: Any,
        weight_zero_point: Any,
        input_scale: Any,
        input_zero_point: Any,
        bias_codes: Any,
        bias_scale: Any,
    ) -> Any:
        rounded = op.DequantizeLinear(
            op.QuantizeLinear(x, input_scale, input_zero_point), input_scale, input_zero_point
        )
        weight = op.DequantizeLinear(codes, weight_scale, weight_zero_point)
        return op.Add(op.MatMul(rounded, weight), op.DequantizeLinear(bias_codes, bias_scale))

    def requantize(x: Any, rounding_scale: Any, scale: Any, zero_point: Any) -> Any:
        return op.DequantizeLinear(op.QuantizeLinear(x, rounding_scale, zero_point), scale, zero_point)

    return {
        torch.ops.encoder_harness.quantized_linear.default: linear,
        torch.ops.encoder_harness.requantize.default: requantize,
    }


def _without_traces(model: Any) -> None:
    """Takes away what the exporter notes of where each node came from: lines of source files of one machine."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of operators that this project has no use for."""
    import warnings

    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
