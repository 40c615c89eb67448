"""What a compressed BERT-Base takes to run on this machine, in every runtime: `python -m benchmarks.inference`.

The weights are random: how long a product takes does not depend on them, and of zeros only how many there are. One
thread. docs/export.md says how to read it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tabulate import tabulate
from transformers import BertConfig, BertForSequenceClassification, set_seed

from harness.compression.quantization import dequantize_linears, freeze, quantize_linears
from harness.inputs.families import BERT
from harness.inputs.machine_facts import machine_facts, machine_in_words
from harness.inputs.weight_files import INT8_FILE
from harness.runtimes.sessions import DENSE, RUNTIMES, inputs_of
from harness.stages.fine_tuning import quantisable
from harness.stages.latency import in_a_process, question, write_graph
from harness.training.modifiers import Matrices
from harness.worker.provenance import provenance

SPARSITY = 0.9
SIZES = "1x16,1x128,8x128"
# (runtime, (examples, tokens)) -> times faster than dense fp32 in torch
GOALS: Mapping[tuple[str, tuple[int, int]], float] = {
    ("torch csr", (1, 16)): 2.0,
    ("torch csr", (1, 128)): 1.3,
    ("onnxruntime int8", (1, 128)): 1.5,
}


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="harness-bench-") as folder:
        found = list(measured(Path(folder), layers=options.layers, sizes=options.sizes, seconds=options.seconds))
    print(as_text(found))
    if options.out is not None:
        told = {
            "measured": found,
            "machine": machine_facts(),
            "machine_in_words": machine_in_words(),  # with the version of every runtime
            "code": provenance(),
            "layers": options.layers,
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


def measured(root: Path, *, layers: int, sizes: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Every runtime that is installed, on the pruned model and on its 8-bit form; one after the other."""
    model = pruned(layers)
    model.save_pretrained(root / "fp32")
    frozen = quantised(model)
    model.save_pretrained(root / "int8")
    save_file({name: tensor.contiguous() for name, tensor in frozen.items()}, root / "int8" / INT8_FILE)
    for form, is_quantised in (("fp32", False), ("int8", True)):
        parameters = {
            "threads": 1,
            "sizes": sizes,
            "seconds": seconds,
            "attention": "sdpa",
            "task": "sst2",
            "arithmetic": "int8" if is_quantised else "fp32",
        }
        asked = question(root / form, root / form, parameters)
        wanted = [each for each in RUNTIMES if each.is_for(SPARSITY, is_quantised) and each.is_installed()]
        if any(runtime.opens_graph for runtime in wanted):
            write_graph(asked)
        for runtime in wanted:
            print(f"{runtime.name} ..", file=sys.stderr)
            yield from in_a_process(asked, runtime.name)


def pruned(layers: int) -> Any:
    """A BERT-Base of so many layers with a classifier, random, its encoder matrices pruned by magnitude."""
    set_seed(0)
    model = BertForSequenceClassification(BertConfig(num_hidden_layers=layers)).eval()
    for name in Matrices.of(model, BERT).encoder:
        weight = model.get_submodule(name).weight.data
        weight.view(-1)[weight.abs().view(-1).argsort()[: int(SPARSITY * weight.numel())]] = 0
    return model


@torch.no_grad()
def quantised(model: Any) -> dict[str, torch.Tensor]:
    """Its codes, scales and ranges, these observed on random tokens."""
    names = quantisable(model, Matrices.of(model, BERT), BERT)
    quantize_linears(model, names, fp32_output_names=[name for name in names if BERT.keeps_fp32_output(name)])
    model.train()
    model(**inputs_of(("input_ids", "attention_mask", "token_type_ids"), model.config.vocab_size, 4, 64))
    frozen = freeze(model.eval())
    dequantize_linears(model, frozen)
    return frozen


def as_text(found: Sequence[Mapping[str, Any]]) -> str:
    """A line for each runtime and size, with its goal where there is one."""
    dense = {(each["examples"], each["tokens"]): each["p50_ms"] for each in found if each["runtime"] == DENSE}
    rows = []
    for each in found:
        size = each["examples"], each["tokens"]
        ratio, goal = dense[size] / each["p50_ms"], GOALS.get((each["runtime"], size))
        verdict = "" if goal is None else f"{'met' if ratio >= goal else 'not met'} ({goal})"
        times = [f"{each[name]:.1f}" for name in ("p50_ms", "p90_ms", "p99_ms")]
        memory = f"{each['memory_bytes'] / 2**20:.0f}"
        rows.append((each["runtime"], f"{size[0]} x {size[1]}", *times, f"{ratio:.2f}", memory, verdict))
    header = ("runtime", "examples x tokens", "p50 ms", "p90", "p99", "times dense", "MiB", "goal")
    title = f"BERT-Base, {SPARSITY:.0%} zeros, one thread; {machine_in_words()}"
    return f"{title}\n\n{tabulate(rows, header, disable_numparse=True)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__)
    parser.add_argument("--layers", type=int, default=12, help="of the encoder (default 12)")
    parser.add_argument("--sizes", default=SIZES, help=f"EXAMPLESxTOKENS,.. (default {SIZES})")
    parser.add_argument("--seconds", type=float, default=5.0, help="of calls, for each size and runtime (default 5)")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
