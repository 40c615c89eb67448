"""What recurs, beside the form that it is to beat: a locked, a pruned and a quantised step, and a mask update.

Both forms run in this process, one after the other in every round, with one thread. Seconds are processor time, so
that other work on the machine counts for little, and what is left of it meets both forms: the ratio of a round is that
of its own two times, and the median over rounds counts.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, set_seed

from benchmarks.matmul_rates import Clock
from benchmarks.peer_quantization import PEERS, quantize_with_peer
from harness.compression.mask import num_zeros
from harness.compression.quantization import quantize_linears
from harness.compression.sparsify import attach_masks, lock_pattern, masked_names, remove_masks, update_masks
from harness.inputs.families import BERT
from harness.training.modifiers import Matrices
from harness.worker.heap import freed_memory_kept

SPARSITY = 0.9
LAYERS, HIDDEN, BATCH = 6, 384, 32
LENGTH, SHORT_LENGTH = 32, 12  # tokens of an example; the sentences of sst2 have some twelve
BERT_BASE = (*[(768, 768)] * 48, *[(768, 3072)] * 12, *[(3072, 768)] * 12)


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Seconds of one form, round by round, over those of another in the same rounds.

    goal: the ratio is at most that, or for `least` that the other takes at least so many times as long; None: shown to
    compare with.
    """

    what: str
    form: str
    other: str
    form_seconds: tuple[float, ...]
    other_seconds: tuple[float, ...]
    goal: float | None = None
    bound: Literal["most", "least"] = "most"

    @property
    def value(self) -> float:
        """The median over rounds: form / other, and other / form where the goal is a least."""
        pairs = zip(self.form_seconds, self.other_seconds, strict=True)
        return median(form / other if self.bound == "most" else other / form for form, other in pairs)

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return ""
        met = self.value <= self.goal if self.bound == "most" else self.value >= self.goal
        return f"at {self.bound} {self.goal:g}: {'met' if met else 'not met'}"


def measure(rounds: int, clock: Clock = time.process_time) -> list[Ratio]:
    """Every ratio, each form `rounds` times after a round that does not count."""
    with freed_memory_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao says at every module that it will move
        return [
            *_lock(rounds, clock),
            *_quantization(rounds, clock, LENGTH),
            *_quantization(rounds, clock, SHORT_LENGTH),
            *_mask_update(rounds, clock),
        ]


def interleaved(forms: Mapping[str, Callable[[], object]], rounds: int, clock: Clock) -> dict[str, tuple[float, ...]]:
    """Seconds of each form in each round: one after the other, so that a slow moment of the machine meets them all."""
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for number in range(rounds + 1):
        for name, form in forms.items():
            began = clock()
            form()
            if number:
                seconds[name].append(clock() - began)
    return {name: tuple(each) for name, each in seconds.items()}


def _lock(rounds: int, clock: Clock) -> list[Ratio]:
    networks = {name: _network() for name in ("plain", "locked", "shadow")}
    names = _encoder(networks["plain"])
    lock_pattern(networks["locked"], names)
    attach_masks(networks["shadow"], names)
    update_masks(networks["shadow"], SPARSITY)
    seconds = interleaved({name: _Training(each, LENGTH) for name, each in networks.items()}, rounds, clock)
    return [
        Ratio(
            what=f"step, {_shape(LENGTH)}",
            form=form,
            other="plain step",
            form_seconds=seconds[key],
            other_seconds=seconds["plain"],
            goal=goal,
        )
        for form, key, goal in (("locked step", "locked", 1.02), ("pruning step, shadow weights", "shadow", 1.08))
    ]


def _quantization(rounds: int, clock: Clock, length: int) -> list[Ratio]:
    networks = {name: _network() for name in ("plain", "ours", *PEERS)}
    linears = [name for name, module in networks["plain"].named_modules() if isinstance(module, nn.Linear)]
    outputs = [name for name in linears if BERT.keeps_fp32_output(name)]
    quantize_linears(networks["ours"], linears, fp32_output_names=outputs)
    for peer in PEERS:
        quantize_with_peer(networks[peer], linears, fp32_output_names=outputs, peer=peer)
    seconds = interleaved({name: _Training(each, length) for name, each in networks.items()}, rounds, clock)
    return [
        Ratio(
            what=f"step, {_shape(length)}",
            form=form,
            other=f"torch.ao {peer}",
            form_seconds=seconds[key],
            other_seconds=seconds[peer],
            goal=goal,
        )
        for peer in PEERS
        for form, key, goal in (("QAT step", "ours", 0.8), ("plain step, no rounding at all", "plain", None))
    ]


def _mask_update(rounds: int, clock: Clock) -> list[Ratio]:
    set_seed(0)
    layers = [nn.Linear(columns, rows, bias=False) for rows, columns in BERT_BASE]
    model, weights = nn.Sequential(*layers), [layer.weight.detach() for layer in layers]
    attach_masks(model, [name for name, _ in model.named_children()])

    def by_kthvalue() -> list[Tensor]:
        return [_kthvalue_mask(weight) for weight in weights]

    def globally_by_kthvalue() -> Tensor:
        return _kthvalue_mask(torch.cat([weight.flatten() for weight in weights]))

    seconds = interleaved(
        {
            "local": lambda: update_masks(model, SPARSITY),
            "kthvalue": by_kthvalue,
            "global": lambda: update_masks(model, SPARSITY, scope="global"),
            "global kthvalue": globally_by_kthvalue,
        },
        rounds,
        clock,
    )
    return [
        Ratio(
            what=f"masks of BERT-Base, {len(masked_names(model))} matrices, {SPARSITY:.0%}",
            form=f"mask update, {scope} ranking",
            other="torch.kthvalue and a comparison",
            form_seconds=seconds[scope],
            other_seconds=seconds[key],
            goal=8.0,
            bound="least",
        )
        for scope, key in (("local", "kthvalue"), ("global", "global kthvalue"))
    ]


def _kthvalue_mask(weight: Tensor) -> Tensor:
    """The least that does it, without the tie rule, the check of finite weights and the count of the real update."""
    magnitude = weight.abs().flatten()
    return magnitude > magnitude.kthvalue(num_zeros(SPARSITY, magnitude.numel())).values


class _Training:
    """Calling it makes one step on one batch: forward, backward, clipping, AdamW."""

    def __init__(self, network: nn.Module, length: int) -> None:
        self.network = network
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)
        draw = torch.Generator().manual_seed(0)
        ids = torch.randint(1, network.config.vocab_size, (BATCH, length), generator=draw)  # type: ignore[union-attr, arg-type]
        self.batch = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "labels": torch.randint(0, 2, (BATCH,), generator=draw),
        }

    def __call__(self) -> None:
        self.optimizer.zero_grad()
        self.network(**self.batch).loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()


def _network() -> BertForSequenceClassification:
    """Sparse in its encoder, with dropout."""
    set_seed(0)
    network = BertForSequenceClassification(
        BertConfig(
            vocab_size=1000,
            hidden_size=HIDDEN,
            num_hidden_layers=LAYERS,
            num_attention_heads=HIDDEN // 32,
            intermediate_size=4 * HIDDEN,
            max_position_embeddings=LENGTH,
        )
    )
    attach_masks(network, _encoder(network))
    update_masks(network, SPARSITY)
    remove_masks(network)
    return network.train()


def _encoder(network: nn.Module) -> Sequence[str]:
    return Matrices.of(network, BERT).encoder


def _shape(length: int) -> str:
    return f"{LAYERS} layers of {HIDDEN}, {BATCH} x {length} tokens"
