"""`python -m benchmarks.gpu`: student pruning of a BERT with distillation on this device, beside what it could be.

A step as the stage makes it: masked student, frozen teacher, masked-LM and next-sentence losses with soft targets at
every token, micro-batches, clipping, AdamW. The floor is its floating-point operations, counted matrix by matrix
(`benchmarks.step_products`), at the rate of one large product in the same precision. Beside it the plain step: the
library's model with eager attention in fp32, the vocabulary head on every token of student and teacher at once.
Weights are drawn at random; nothing is downloaded. Runs on a CPU as well, where `--size tiny` is of use.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertForPreTraining

from benchmarks.matrix_product import total_flops
from benchmarks.step_products import Rows, step_products
from harness.compression.distillation import combine_losses, soft_target_loss
from harness.compression.sparsify import attach_masks, update_masks
from harness.data.masking import IGNORED_LABEL
from harness.inputs.families import BERT
from harness.training.micro_batch import micro_batches
from harness.training.objectives import Distillation, Inputs, PretrainingObjective
from harness.training.precision import compute_device, in_precision, matrix_products

SIZES: Mapping[str, Mapping[str, Any]] = {
    "base": {},
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
    "tiny": {
        "vocab_size": 1000,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 256,
    },
}
MASKED = 0.15
TEMPERATURE = 2.0
DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
GOAL_OF_FLOOR, GOAL_OF_PLAIN = 0.40, 2.0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One way to make the step. floor_seconds: its operations at the rate of one large product. peak_gb: of the GPU."""

    name: str
    seconds: float
    tokens: int
    flops: int
    floor_seconds: float
    peak_gb: float | None

    @property
    def share_of_floor(self) -> float:
        return self.floor_seconds / self.seconds


def config_of(size: str, attention: str = "sdpa") -> BertConfig:
    config = BertConfig(**SIZES[size])
    config._attn_implementation = attention
    return config


def batch_of(config: BertConfig, examples: int, length: int, device: torch.device) -> dict[str, Tensor]:
    """A global batch without padding; `MASKED` of its tokens have a label."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(5, config.vocab_size, (examples, length), generator=draw)
    is_masked = torch.rand(examples, length, generator=draw) < MASKED
    batch = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": (torch.arange(length) >= length // 2).long().expand(examples, length).contiguous(),
        "labels": torch.where(is_masked, ids, torch.full_like(ids, IGNORED_LABEL)),
        "next_sentence_label": torch.randint(0, 2, (examples,), generator=draw),
    }
    return {name: tensor.to(device) for name, tensor in batch.items()}


def models_of(size: str, attention: str, device: torch.device, *, masked: bool) -> tuple[Any, Any]:
    """Student and teacher. masked: the student's encoder at 85 % zeros, behind masks."""
    torch.manual_seed(0)
    config = config_of(size, attention)
    student, teacher = (cast(Any, BertForPreTraining(config)).to(device) for _ in range(2))
    if masked:
        attach_masks(student, BERT.encoder_matrices(config.num_hidden_layers))
        update_masks(student, 0.85)
    return student.train(), teacher.eval().requires_grad_(False)


def our_loss(teacher: nn.Module, precision: str) -> Callable[[nn.Module, Inputs, Inputs], Tensor]:
    kd = Distillation(teacher=teacher, ce_weight=0.5, kd_weight=0.5, temperature=TEMPERATURE)
    return in_precision(PretrainingObjective(distillation=kd), precision)


def plain_loss(teacher: nn.Module) -> Callable[[nn.Module, Inputs, Inputs], Tensor]:
    """As a Trainer with the library's model has it: logits of every token, of student and teacher, at once."""

    def loss(model: nn.Module, part: Inputs, batch: Inputs) -> Tensor:
        own = {name: tensor for name, tensor in part.items() if not name.endswith(("labels", "label"))}
        student = model(**own)
        with torch.no_grad():
            taught = teacher(**own)
        hard = functional.cross_entropy(student.prediction_logits.flatten(0, 1), part["labels"].flatten())
        hard = hard + functional.cross_entropy(student.seq_relationship_logits, part["next_sentence_label"])
        soft = soft_target_loss(
            student.prediction_logits.flatten(0, 1), taught.prediction_logits.flatten(0, 1), temperature=TEMPERATURE
        )
        soft = soft + soft_target_loss(
            student.seq_relationship_logits, taught.seq_relationship_logits, temperature=TEMPERATURE
        )
        share = len(part["attention_mask"]) / len(batch["attention_mask"])
        return combine_losses(hard, soft, ce_weight=0.5, kd_weight=0.5) * share

    return loss


class TrainingStep:
    """A whole optimizer step on one global batch, in micro-batches."""

    def __init__(self, student: nn.Module, loss: Callable[..., Tensor], batch: Inputs, micro_batch_size: int) -> None:
        self.student, self.loss, self.batch = student, loss, batch
        self.parts = micro_batches(batch, micro_batch_size)
        trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=5e-5, weight_decay=0.01, fused=True)
        self.trained = trained

    def __call__(self) -> float:
        total = 0.0
        for part in self.parts:
            loss = self.loss(self.student, part, self.batch)
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total


def seconds_of(work: Callable[[], object], device: torch.device, rounds: int) -> float:
    """The fastest of some calls, after one that is not counted."""
    best = float("inf")
    for number in range(rounds + 1):
        _wait(device)
        began = time.perf_counter()
        work()
        _wait(device)
        if number:
            best = min(best, time.perf_counter() - began)
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _give_back(device: torch.device) -> None:
    """What a step that ended early held."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def large_product_rate(precision: str, device: torch.device, rounds: int) -> float:
    """FLOP/s of a product of square matrices: 8,192 wide on a GPU, 1,024 on a CPU."""
    size = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(size, size, device=device, dtype=DTYPES[precision]) for _ in range(2))
    with matrix_products(precision, device):
        return 2 * size**3 / seconds_of(lambda: left @ right, device, max(3, rounds))


def measure(
    name: str, size: str, precision: str, batch: Inputs, micro_batch_size: int, device: torch.device, rounds: int
) -> Measured:
    """name: "plain" for the library's step with eager attention; else ours."""
    is_plain = name.startswith("plain")
    student, teacher = models_of(size, "eager" if is_plain else "sdpa", device, masked=not is_plain)
    loss = plain_loss(teacher) if is_plain else our_loss(teacher, precision)
    flops = flops_of(student, teacher, batch, micro_batch_size)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with matrix_products(precision, device):
        seconds = seconds_of(TrainingStep(student, loss, batch, micro_batch_size), device, rounds)
    return Measured(
        name=name,
        seconds=seconds,
        tokens=batch["attention_mask"].numel(),
        flops=flops,
        floor_seconds=flops / large_product_rate(precision, device, rounds),
        peak_gb=torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None,
    )


def flops_of(student: Any, teacher: Any, batch: Inputs, micro_batch_size: int) -> int:
    """Of one step as the stage makes it: the floor of the plain step as well, which does more."""
    return sum(
        total_flops(step_products(student, Rows.of_student(part, distilled=True), teacher, Rows.of_teacher(part)))
        for part in micro_batches(batch, micro_batch_size)
    )


def report(found: list[Measured]) -> str:
    """A line for each step; without the plain one no times of it."""
    plain = next((each for each in found if each.name.startswith("plain")), None)
    rows = [
        [
            each.name,
            f"{each.seconds:.3g}",
            f"{each.tokens / each.seconds:,.0f}",
            f"{each.flops / each.seconds / 1e12:.3g}",
            f"{100 * each.share_of_floor:.1f} %",
            "-" if plain is None else f"{plain.seconds / each.seconds:.2f}",
            "-" if each.peak_gb is None else f"{each.peak_gb:.1f}",
        ]
        for each in found
    ]
    headers = ["step", "seconds", "tokens/s", "TFLOP/s", "of the floor", "times plain", "peak GB"]
    return tabulate(rows, headers, disable_numparse=True, colalign=("left", *["right"] * 6))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--examples", type=int, default=256, help="of the global batch (default 256)")
    parser.add_argument("--length", type=int, default=512, help="tokens of an example (default 512)")
    parser.add_argument("--micro-batch", type=int, default=32, help="examples at a time (default 32)")
    parser.add_argument("--precision", default="fp32,tf32,bf16", help="comma-separated (default fp32,tf32,bf16)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the fastest counts (default 3)")
    parser.add_argument("--out", type=Path, help="write the result to this JSON file as well")
    options = parser.parse_args(arguments)
    device = compute_device()
    batch = batch_of(config_of(options.size), options.examples, options.length, device)
    found: list[Measured] = []
    left_out: dict[str, str] = {}
    for name, precision in [("plain, fp32, eager", "fp32"), *((each, each) for each in options.precision.split(","))]:
        try:
            found.append(measure(name, options.size, precision, batch, options.micro_batch, device, options.rounds))
        except ValueError as error:
            left_out[name] = str(error)
        except torch.OutOfMemoryError:
            left_out[name] = f"out of memory at --micro-batch {options.micro_batch}; a smaller one takes less."
        if name in left_out:
            print(f"{name}: {left_out[name]}", file=sys.stderr)
            _give_back(device)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu"
    print(
        f"{options.size}, {options.examples} x {options.length} tokens, {options.micro_batch} at a time, on {machine}"
    )
    print(report(found))
    print(f"goals, on a GPU: {100 * GOAL_OF_FLOOR:.0f} % of the floor, {GOAL_OF_PLAIN:g} times the plain step")
    if options.out is not None:
        told = {
            "device": machine,
            "torch": torch.__version__,
            "steps": [asdict(each) for each in found],
            "left_out": left_out,
        }
        options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
