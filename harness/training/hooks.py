"""TrainingHooks: how a modifier takes part in every optimizer step. By default it does not, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from harness.compression.quantization import Widest
from harness.training.objectives import Inputs, Objective

Batches = Callable[[], Iterator[Inputs]]


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Parameters with a peak learning rate or a weight decay of their own; None: the recipe's.

    The learning-rate schedule multiplies the rate of every group by the same factor.
    """

    parameters: Sequence[nn.Parameter]
    learning_rate: float | None = None
    weight_decay: float | None = None


class TrainingHooks:
    """What the trainer calls. A pruning step counts optimizer steps from 0."""

    observes_batches: ClassVar[bool] = False  # whether `as_one_batch` is of any use

    def start(self, objective: Objective, batches: Batches) -> None:
        """Called once before training, with what a callback needs to compute losses or gradients of its own.

        objective: the loss that is trained. batches(): iterates over the global batches of the current epoch, on the
        model's device; neither the training data loader nor any random state notices.
        """

    def parameter_groups(self, model: nn.Module) -> Sequence[ParameterGroup]:
        """Groups to take out of the library's two, which decay all but biases and norms. No parameter may be in two."""
        return ()

    def penalty(self, step: int) -> Tensor | None:
        """A scalar that is added once to the loss of pruning step `step`, with its gradient; None adds nothing."""
        return None

    def as_one_batch(self, model: nn.Module, over_ranks: Widest | None = None) -> AbstractContextManager[None]:
        """Entered around the micro-batches of one global batch, for modules that keep statistics of a batch.

        over_ranks: where several ranks have parts of the batch, (low, high) of this rank's part -> of all ranks' parts.
        """
        return nullcontext()
