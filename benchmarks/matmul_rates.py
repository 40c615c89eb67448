"""The time that each matrix product takes here, measured alone: what a step could be if it were nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.matrix_product import MatrixProduct

Clock = Callable[[], float]  # seconds


@dataclass
class MatmulRates:
    """Seconds of a product of fp32 matrices, the best of several tries; each shape is measured once, when first asked.

    tries: how many. try_seconds: a try repeats a product for about that long. clock: seconds; by default the
    processor time of this process, which other processes do not lengthen by running.
    """

    tries: int = 5
    try_seconds: float = 0.01
    clock: Clock = time.process_time
    _measured: dict[MatrixProduct, float] = field(default_factory=dict)

    def seconds(self, products: Mapping[MatrixProduct, int]) -> float:
        """Of all these products one after the other."""
        return sum(self._seconds_of(product) * count for product, count in products.items())

    def _seconds_of(self, product: MatrixProduct) -> float:
        if product not in self._measured:
            self._measured[product] = self._measure(product)
        return self._measured[product]

    @torch.no_grad()
    def _measure(self, product: MatrixProduct) -> float:
        left, right = operands(product)
        out = torch.empty(product.batch, product.rows, product.columns)
        multiply = torch.bmm
        if product.batch == 1:
            left, right, out, multiply = left[0], right[0], out[0], torch.mm

        def run(times: int) -> float:
            began = self.clock()
            for _ in range(times):
                multiply(left, right, out=out)
            return (self.clock() - began) / times

        run(1)  # the first call prepares kernels
        repeats = max(1, round(self.try_seconds / max(run(1), 1e-7)))
        return min(run(repeats) for _ in range(self.tries))


def operands(product: MatrixProduct) -> tuple[Tensor, Tensor]:
    """[batch, rows, inner] and [batch, inner, columns], drawn at random, each in the memory order of the layout."""
    draw = torch.Generator().manual_seed(0)

    def drawn(rows: int, columns: int, *, transposed: bool) -> Tensor:
        shape = (columns, rows) if transposed else (rows, columns)
        matrices = torch.randn(product.batch, *shape, generator=draw)
        return matrices.transpose(1, 2) if transposed else matrices

    return (
        drawn(product.rows, product.inner, transposed=product.layout == "TN"),
        drawn(product.inner, product.columns, transposed=product.layout == "NT"),
    )
