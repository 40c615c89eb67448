"""PrunedStart: weights are set to zero once, before the first step, and the zeros stay through the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.compression.ranked_masks import Ranking, Rounding, count_zeros, ranked_masks
from harness.compression.sparsify import total_zeros, zero_counts
from harness.training.modifiers import PatternLock, TrainingReport


@dataclass(kw_only=True)
class PrunedStart(PatternLock):
    """Zeros are set where `ranked_by` is smallest in magnitude, then locked.

    The encoder's matrices are ranked by matrix or together; the pooler, which the sparsity of a cell does not count, by
    itself. ranked_by: matrices by parameter name ("bert.pooler.dense.weight"); None: the model's own at the start.
    """

    sparsity: float
    ranking: Ranking
    rounding: Rounding = "down"
    ranked_by: Mapping[str, Tensor] | None = None

    def attach(self, model: nn.Module) -> None:
        """Raises ValueError where no matrix would be pruned, or `ranked_by` lacks one or has it in another shape."""
        self._prune(model, self.matrices.encoder)
        if self.with_pooler and self.matrices.pooler:
            self._prune(model, self.matrices.pooler)
        self._check_count(model)
        super().attach(model)

    def detach(self, model: nn.Module) -> TrainingReport:
        report = super().detach(model)
        sparsity = report.details["sparsity"]
        report.summary.insert(
            0,
            f"set {sparsity['encoder_zeros']} of {sparsity['encoder_numel']} encoder weights to zero before the first "
            f"step, ranked {'by matrix' if self.ranking == 'local' else 'together'}",
        )
        return report

    @torch.no_grad()
    def _prune(self, model: nn.Module, names: Sequence[str]) -> None:
        weights = {name: model.get_parameter(f"{name}.weight") for name in names}
        ranked = [self._ranked(f"{name}.weight", weight) for name, weight in weights.items()]
        masks = ranked_masks(ranked, self.sparsity, ranking=self.ranking, rounding=self.rounding)
        for weight, mask in zip(weights.values(), masks, strict=True):
            weight.masked_fill_(~mask.to(weight.device), 0.0)

    def _ranked(self, name: str, weight: Tensor) -> Tensor:
        if self.ranked_by is None:
            return weight.detach()
        found = self.ranked_by.get(name)
        if found is None or found.shape != weight.shape:
            there = "is absent" if found is None else f"is {list(found.shape)}"
            raise ValueError(f"the model that ranks the weights: {name} {there}, expected {list(weight.shape)}.")
        return found

    def _check_count(self, model: nn.Module) -> None:
        """Raises ValueError for zeros beside those that were set: the lock would keep them too."""
        counts = zero_counts(model, self.matrices.encoder)
        zeros, numel = total_zeros(counts)
        wanted = (
            count_zeros(self.sparsity, numel, self.rounding)
            if self.ranking == "global"
            else sum(count_zeros(self.sparsity, each, self.rounding) for _, each in counts.values())
        )
        if zeros != wanted:
            raise ValueError(
                f"{zeros} of {numel} encoder weights are zero, expected {wanted}: the start model had zeros of its own "
                "among the weights that are kept. Start from a dense model."
            )
