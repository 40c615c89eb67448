"""The device batch: how many examples are on the device at a time, and what happens when they do not fit.

The global batch belongs to the recipe and its numbers; the device batch is a resource. An optimizer step sees the
whole global batch in parts of at most `device_batch` examples (`CompressionTrainer.training_step`). When the device
runs out of memory, the work is done again with half as many.

Two switches of the library look like this and are left off. `auto_find_batch_size` shrinks the batch of an optimizer
step, so it changes the recipe behind its back (and restarts from scratch). `gradient_accumulation_steps` groups loader
batches of one fixed size: 8 as 3 + 3 + 2 cannot be said, and epochs, data order and resuming would be counted in parts.
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
class Fitted(Generic[T]):
    """The result of some work, the device batch that did it, and those that were too large, largest first."""

    result: T
    device_batch: int
    too_large: tuple[int, ...]


def fit_to_memory(work: Callable[[int], T], device_batch: int, *, what: str) -> Fitted[T]:
    """work(device_batch); each time the device runs out of memory, once more with half (rounded down, at least 1).

    work: called from the beginning each time; it must build what it puts on the device itself, so that nothing of a
    failed try survives, and may go on from a checkpoint that an earlier try left. what: names the work in the log.
    Raises torch.OutOfMemoryError, naming what was tried, when one example is too many. Other errors pass, a MemoryError
    of the host among them: no batch is to blame for that.
    """
    too_large: list[int] = []
    while True:
        try:
            return Fitted(result=work(device_batch), device_batch=device_batch, too_large=tuple(too_large))
        except torch.OutOfMemoryError as error:
            too_large.append(device_batch)
            found = (str(error).strip() or "out of memory").splitlines()[0]
            if device_batch == 1:
                raise torch.OutOfMemoryError(
                    f"{what} does not fit the device with one example at a time "
                    f"(tried {', '.join(map(str, too_large))}): {found} "
                    "Use a device with more free memory, or shorten the examples (max_length)."
                ) from error
        # Only here, with the error gone, do its frames let go of the model and the optimizer.
        free_device_memory()
        logger.warning("%s ran out of memory with %d examples at a time: %s", what, device_batch, found)
        device_batch = max(1, device_batch // 2)
        logger.warning("%s goes on with %d examples at a time", what, device_batch)


def free_device_memory() -> None:
    """Collect what only cycles hold (a Trainer and its callbacks), and give cached blocks back to the device."""
    gc.collect()
    torch.cuda.empty_cache()


def device_batch_of(batch_size: int, requested: int) -> int:
    """The device batch for a global batch: what was requested, at most the whole; 0 asks for the whole."""
    return min(batch_size, requested) if requested else batch_size


def parts_of(inputs: Mapping[str, Tensor], device_batch: int) -> list[dict[str, Any]]:
    """The batch cut into parts of `device_batch` examples, the last one smaller where it does not divide.

    Parts keep the padding of the whole batch: padding takes no part in any loss, but quantisation sees it.
    """
    num_examples = len(inputs["attention_mask"])
    return [
        {name: tensor[start : start + device_batch] for name, tensor in inputs.items()}
        for start in range(0, num_examples, device_batch)
    ]


def num_parts(batch_size: int, device_batch: int) -> int:
    """How many parts a full global batch is cut into."""
    return math.ceil(batch_size / device_batch)
