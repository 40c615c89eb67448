"""What runs a model, and how each is opened: torch in three forms, onnxruntime and OpenVINO."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.compression.quantization import FrozenQuantizedLinear

Tensors = Mapping[str, Tensor]
Session = Callable[[Tensors], object]


@dataclass(frozen=True)
class Source:
    """What a runtime opens. load: the model, of a quantised one with frozen Linears. onnx: its graph, once written.

    inputs: names of its token tensors.
    """

    load: Callable[[], nn.Module]
    onnx: Path
    inputs: Sequence[str]


Open = Callable[[Source, int], Session]  # with so many threads


@dataclass(frozen=True)
class Runtime:
    """One way to run a model.

    name: in records and tables. meaning: for a legend. is_for: whether it has anything to do with a
    model of this kind; called with (share of zeros in its matrices, whether it is quantised). is_scored: whether it
    computes what the cell's evaluation scored, but for rounding. opens_graph: it reads `Source.onnx`. needs: packages.
    """

    name: str
    meaning: str
    open: Open
    is_for: Callable[[float, bool], bool]
    is_scored: bool = True
    opens_graph: bool = False
    needs: tuple[str, ...] = ()

    def is_installed(self) -> bool:
        return all(importlib.util.find_spec(package) is not None for package in self.needs)


def _dense(source: Source, threads: int) -> Session:
    return _in_torch(_unquantised(source.load()))


def _sparse_rows(source: Source, threads: int) -> Session:
    """Every Linear with zeros as a matrix in compressed sparse rows."""
    changed = _unquantised(source.load())
    for name, module in list(changed.named_modules()):
        if isinstance(module, nn.Linear) and bool((module.weight == 0).float().mean() > SPARSE_FROM):
            _put(changed, name, _SparseLinear(module))
    return _in_torch(changed)


def _dynamic(source: Source, threads: int) -> Session:
    """torch's own: weights in 8 bits, and ranges of activations found anew for every input."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        changed = torch.ao.quantization.quantize_dynamic(_unquantised(source.load()), {nn.Linear}, dtype=torch.qint8)
    return _in_torch(changed)


def _onnxruntime(source: Source, threads: int) -> Session:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(source.onnx), options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})


def _openvino(source: Source, threads: int) -> Session:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(source.onnx), "CPU", settings)
    return lambda inputs: compiled([inputs[name].numpy() for name in source.inputs])


SPARSE_FROM = 0.5  # share of zeros above which a matrix takes a sparse form
TOKENS_AT_ONCE = 32  # of a product with such a matrix
STORED = "the stored codes and ranges"
ONNX = ("onnx", "onnxscript", "onnxruntime")
OPENVINO = ("onnx", "onnxscript", "openvino")
DENSE = "torch fp32"  # what others are compared with
RUNTIMES: tuple[Runtime, ...] = (
    Runtime(DENSE, "every weight, zero or not", _dense, lambda zeros, is_quantised: not is_quantised),
    Runtime("torch csr", "matrices in compressed sparse rows", _sparse_rows, lambda zeros, q: zeros > 0.5 and not q),
    Runtime("torch dynamic int8", "8 bits, ranges found at each input", _dynamic, lambda zeros, q: not q, False),
    Runtime("onnxruntime fp32", "every weight", _onnxruntime, lambda zeros, q: not q, opens_graph=True, needs=ONNX),
    Runtime(
        "onnxruntime int8",
        STORED,
        _onnxruntime,
        lambda zeros, q: q,
        opens_graph=True,
        needs=ONNX,
    ),
    Runtime("openvino fp32", "every weight", _openvino, lambda zeros, q: not q, opens_graph=True, needs=OPENVINO),
    Runtime("openvino int8", STORED, _openvino, lambda zeros, q: q, opens_graph=True, needs=OPENVINO),
)


def pin(threads: int) -> None:
    """This process on as many cores as it has threads, the first of those it may use, and torch with that many."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    torch.set_num_threads(threads)


class _SparseLinear(nn.Module):
    """weight in compressed sparse rows, times the input's rows, a few at a time: as many as stay in the cache."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library says that the form is in beta
            rows = linear.weight.detach().to_sparse_csr()
            # As the library's product takes them; of 64 bits it makes a copy at each call.
            indices = rows.crow_indices().int(), rows.col_indices().int()
            self.rows = torch.sparse_csr_tensor(*indices, rows.values(), size=rows.shape)
        self.bias = linear.bias
        self.weight = nn.Parameter(torch.empty(0))  # model code asks for its type

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        product = flat.new_empty(len(flat), self.rows.shape[0])
        for into, part in zip(product.split(TOKENS_AT_ONCE), flat.split(TOKENS_AT_ONCE), strict=True):
            into.copy_((self.rows @ part.t()).t())
        if self.bias is not None:
            product += self.bias
        return product.reshape(*x.shape[:-1], -1)


def _in_torch(model: nn.Module) -> Session:
    model.eval()

    def run(inputs: Tensors) -> object:
        with torch.inference_mode():
            return model(**inputs)

    return run


def _unquantised(model: nn.Module) -> nn.Module:
    """The model; its frozen quantised Linears as plain ones with codes times scale."""
    for name, module in list(model.named_modules()):
        if isinstance(module, FrozenQuantizedLinear):
            plain = nn.Linear(module.in_features, module.out_features, module.bias is not None)
            plain.weight.data.copy_(module.weight)
            if module.bias is not None:
                plain.bias.data.copy_(module.bias)
            _put(model, name, plain)
    return model


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def inputs_of(names: Sequence[str], vocabulary: int, examples: int, tokens: int) -> dict[str, Tensor]:
    """Token ids drawn with a fixed seed, full attention: what a batch of full length is."""
    draw = torch.Generator().manual_seed(0)
    values = {
        "input_ids": torch.randint(1, vocabulary, (examples, tokens), generator=draw),
        "attention_mask": torch.ones(examples, tokens, dtype=torch.int64),
        "token_type_ids": torch.zeros(examples, tokens, dtype=torch.int64),
    }
    return {name: values[name] for name in names}
