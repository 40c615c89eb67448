"""Ranks: the processes that train one stage together, each on its part of every batch.

All of them read the same global batches in the same order and hold the same weights. A rank computes the loss of its
part, as a share of the batch's (`objectives`); gradients and losses add up over ranks, and every rank then makes the
same optimizer step. The library's own way (`DistributedDataParallel`) averages means of batches of different sizes,
wraps the model, so that objectives cannot ask it for its parts, and has each rank take a whole batch.

Rank 0 is the worker: it alone writes, reports and decides on stops and checkpoints. The others follow, and do not
outlive it. The teacher is loaded by each, and neither wrapped nor sent.

Ranks are a resource and enter no identity: with dropout off, sums over ranks differ from one process's by rounding.
With dropout on every rank draws for itself, from the stage's seed, the step and its number: another sample of the same
run, as with micro-batches.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed, nn

from harness.errors import RankLost, require
from harness.specs import Team
from harness.training.micro_batch import micro_batches

BUCKET_NUMBERS = 1 << 24  # of gradients that are summed at once: 64 MB in fp32


class Part(NamedTuple):
    """Examples of a batch that go through the model at once. weight: 0 where they only keep ranks in step."""

    inputs: dict[str, Any]
    weight: float


@dataclass(frozen=True)
class Ranks:
    """This process among those that train a stage.

    Every method but `parts` and `own_randomness` is collective: all ranks call it, in the same order.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        return self.size == 1

    def parts(self, inputs: Mapping[str, Tensor], most: int) -> list[Part]:
        """This rank's examples of a global batch, at most `most` at a time.

        As many parts on every rank, for what the ranks agree on within one (activation ranges): a rank without
        examples of its own for a part takes the first example, with weight 0.
        """
        if self.is_alone:
            return [Part(part, 1.0) for part in micro_batches(inputs, most)]
        num_examples = len(inputs["attention_mask"])
        start, end = (num_examples * each // self.size for each in (self.rank, self.rank + 1))
        own = micro_batches({name: tensor[start:end] for name, tensor in inputs.items()}, most) if end > start else []
        largest = -(-num_examples // self.size)
        idle = {name: tensor[:1] for name, tensor in inputs.items()}
        return [Part(part, 1.0) for part in own] + [Part(idle, 0.0)] * (-(-largest // most) - len(own))

    def own_randomness(self, seed: int, step: int, device: torch.device) -> AbstractContextManager[None]:
        """Within it dropout is drawn for this rank and step alone; after it the generators are as they were.

        Nothing for a single process, whose generators go on from step to step and are saved with its checkpoints.
        """
        return nullcontext() if self.is_alone else _drawn_from(seed, step, self.rank, device)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Every parameter's gradient becomes the sum over ranks; where none has one, none gets one."""
        if self.is_alone:
            return
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        if not trained:
            return
        there = torch.tensor([parameter.grad is not None for parameter in trained], dtype=torch.uint8)
        there = self._reduced(there, distributed.ReduceOp.MAX, trained[0].device)
        summed = [parameter for parameter, is_there in zip(trained, there.tolist(), strict=True) if is_there]
        for parameter in summed:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for bucket in _buckets(summed):
            gradients = [parameter.grad for parameter in bucket]
            flat = torch.cat([gradient.flatten() for gradient in gradients])  # type: ignore[union-attr]
            self._all_reduce(flat, distributed.ReduceOp.SUM)
            for gradient, total in zip(gradients, flat.split([each.numel() for each in bucket]), strict=True):
                gradient.copy_(total.view_as(gradient))  # type: ignore[union-attr]

    def sum(self, value: Tensor) -> Tensor:
        """Of a scalar over all ranks."""
        if self.is_alone:
            return value
        total = value.detach().clone()
        self._all_reduce(total, distributed.ReduceOp.SUM)
        return total

    def widest(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The range over all ranks of scalars low and high; NaN where one of them is."""
        if self.is_alone:
            return low, high
        spread = torch.stack([-low, high])
        is_bad = torch.isnan(spread)
        both = torch.cat([torch.where(is_bad, torch.inf, spread), is_bad.to(spread.dtype)])
        self._all_reduce(both, distributed.ReduceOp.MAX)
        spread = torch.where(both[2:] > 0, torch.nan, both[:2])
        return -spread[0], spread[1]

    def any(self, flag: bool) -> bool:
        """Whether it is so on any rank."""
        if self.is_alone:
            return flag
        told = torch.tensor([flag], dtype=torch.uint8)
        return bool(self._reduced(told, distributed.ReduceOp.MAX, _device()).item())

    def from_first(self, value: Any) -> Any:
        """What rank 0 gave."""
        if self.is_alone:
            return value
        told = [value]
        with _told_as_lost():
            distributed.broadcast_object_list(told, src=0, device=_device())
        return told[0]

    def check_equal(self, what: str, tensors: Iterable[Tensor]) -> None:
        """Raises IntegrityError where `tensors` are not the same bytes on every rank; `what`: they are, for the error.

        All ranks raise, each with the ranks that differ from rank 0.
        """
        if self.is_alone:
            return
        digests: list[Any] = [None] * self.size
        with _told_as_lost():
            distributed.all_gather_object(digests, _digest(tensors))
        other = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
        require(not other, f"{what} of ranks {other} are not those of rank 0: this is a fault of the program.")

    def _reduced(self, value: Tensor, op: Any, device: torch.device) -> Tensor:
        there = value.to(device if distributed.get_backend() == "nccl" else "cpu")
        self._all_reduce(there, op)
        return there.cpu()

    def _all_reduce(self, tensor: Tensor, op: Any) -> None:
        with _told_as_lost():
            distributed.all_reduce(tensor, op=op)


ALONE = Ranks()


# -- how they find each other

PATIENCE = timedelta(minutes=30)  # for the slowest rank between two sums: one may read its data, or write a checkpoint
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}


@contextmanager
def together(team: Team | None) -> Iterator[Ranks]:
    """Within it the ranks of a team are connected: gloo on CPUs, nccl on GPUs. None: a process alone.

    The worker opens a rendezvous on a free port and starts the others. Raises RankLost where they do not come together.
    """
    if team is None:
        yield ALONE
        return
    ranks = Ranks(team.rank, team.size)
    if team.is_local and sys.platform == "linux":
        for name, value in LOOPBACK.items():
            os.environ.setdefault(name, value)
    if team.start is None:
        assert team.address is not None
        with _told_as_lost():
            store = _store(*team.address, ranks)
        with _connected(ranks, store):
            yield ranks
    else:
        store = _store("127.0.0.1" if team.is_local else "0.0.0.0", 0, ranks)
        with team.start(store.port), _connected(ranks, store):
            yield ranks


def _store(host: str, port: int, ranks: Ranks) -> distributed.TCPStore:
    return distributed.TCPStore(
        host, port, ranks.size, is_master=ranks.is_first, timeout=PATIENCE, wait_for_workers=False
    )


@contextmanager
def _connected(ranks: Ranks, store: distributed.Store) -> Iterator[None]:
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    with _told_as_lost():
        distributed.init_process_group(backend, store=store, rank=ranks.rank, world_size=ranks.size, timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _device() -> torch.device:
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")


@contextmanager
def _told_as_lost() -> Iterator[None]:
    """A connection that ends is the other side's death."""
    try:
        yield
    except RuntimeError as error:
        text = " ".join(str(error).split())
        if not isinstance(error, distributed.DistError) and "gloo" not in text:
            raise
        raise RankLost(f"another rank of this stage is gone: {text[:200]}") from error


@contextmanager
def _drawn_from(seed: int, step: int, rank: int, device: torch.device) -> Iterator[None]:
    number = int.from_bytes(hashlib.blake2b(f"{seed}/{step}/{rank}".encode(), digest_size=8).digest(), "little")
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(number >> 1)  # of 63 bits
        yield


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Neighbours of one type and device, some numbers at a time."""
    bucket: list[nn.Parameter] = []
    for parameter in parameters:
        fits = bucket and parameter.dtype == bucket[0].dtype and parameter.device == bucket[0].device
        if bucket and not (fits and sum(each.numel() for each in bucket) + parameter.numel() <= BUCKET_NUMBERS):
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket


def _digest(tensors: Iterable[Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
