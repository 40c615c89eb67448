"""Micro-batches: how many examples are on the device at a time, and what happens when they do not fit.

The global batch belongs to the recipe and its numbers; the micro-batch size is a resource. An optimizer step sees the
whole global batch in micro-batches of at most that many examples (`CompressionTrainer.training_step`). When the device
runs out of memory, the work starts again with half as many.

Two switches of the library look like this and stay off. `auto_find_batch_size` shrinks the batch of an optimizer step:
it changes the recipe silently, and restarts from scratch. `gradient_accumulation_steps` groups loader batches of one
fixed size: it cannot cut 8 into 3 + 3 + 2, and it counts epochs, data order and resuming in micro-batches.
"""

from __future__ import annotations

import gc
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class OomBackoff(Generic[T]):
    """The result of some work, the micro-batch size that did it, and the sizes that ran out of memory, largest first.

    All sizes in examples.
    """

    result: T
    micro_batch_size: int
    oom_sizes: tuple[int, ...]


def run_with_oom_backoff(work: Callable[[int], T], micro_batch_size: int, *, what: str) -> OomBackoff[T]:
    """work(micro_batch_size); after every out-of-memory error again with half (rounded down, at least 1).

    work: called from the beginning each time. It must build what it puts on the device itself, so that nothing of a
    failed try survives, and may resume from a checkpoint of an earlier try. what: names the work in the log.
    Raises torch.OutOfMemoryError with the sizes tried when a single example does not fit. Passes on every other error,
    a MemoryError of the host among them: no batch size is to blame for that.
    """
    oom_sizes: list[int] = []
    while True:
        try:
            result = work(micro_batch_size)
            return OomBackoff(result=result, micro_batch_size=micro_batch_size, oom_sizes=tuple(oom_sizes))
        except torch.OutOfMemoryError as error:
            oom_sizes.append(micro_batch_size)
            found = (str(error).strip() or "out of memory").splitlines()[0]
            if micro_batch_size == 1:
                raise torch.OutOfMemoryError(
                    f"{what} does not fit the device with one example at a time "
                    f"(tried {', '.join(map(str, oom_sizes))}): {found} "
                    "Use a device with more free memory, or shorten the examples (max_length)."
                ) from error
        # Only here, with the error gone, do its frames release the model and the optimizer.
        free_device_memory()
        logger.warning("%s ran out of memory with %d examples at a time: %s", what, micro_batch_size, found)
        micro_batch_size = max(1, micro_batch_size // 2)
        logger.warning("%s continues with %d examples at a time", what, micro_batch_size)


def free_device_memory() -> None:
    """Collect what only reference cycles hold (a Trainer and its callbacks), and empty the device's cache."""
    gc.collect()
    torch.cuda.empty_cache()


def first_micro_batch_size(batch_size: int, requested: int) -> int:
    """The micro-batch size to try first: the requested one, at most the global batch; 0 means the global batch."""
    return min(batch_size, requested) if requested else batch_size


def micro_batches(inputs: Mapping[str, Tensor], size: int) -> list[dict[str, Any]]:
    """The batch cut into micro-batches of `size` examples; the last one is smaller where it does not divide.

    They keep the padding of the full batch: padding enters no loss, but quantisation sees it.
    """
    num_examples = len(inputs["attention_mask"])
    return [
        {name: tensor[start : start + size] for name, tensor in inputs.items()}
        for start in range(0, num_examples, size)
    ]


def num_micro_batches(batch_size: int, size: int) -> int:
    """How many micro-batches of `size` examples make a global batch."""
    return math.ceil(batch_size / size)
