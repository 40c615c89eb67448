"""MatrixProduct: one product of matrices by shape and by how its operands lie in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# Which operands are read transposed. x @ W.T of a Linear is "NT", its gradient for x "NN", that for W "TN".
Layout = Literal["NN", "NT", "TN"]


@dataclass(frozen=True, order=True, kw_only=True)
class MatrixProduct:
    """`batch` products [rows, inner] @ [inner, columns] in one call."""

    batch: int = 1
    rows: int
    inner: int
    columns: int
    layout: Layout

    @property
    def flops(self) -> int:
        """Floating-point operations; a multiplication and its addition are two."""
        return 2 * self.batch * self.rows * self.inner * self.columns

    def backward(self) -> tuple[MatrixProduct, MatrixProduct]:
        """The products that make the gradients of the left and of the right operand. Raises ValueError for "TN".

        With C = A B: dA = dC B^T and dB = A^T dC. Of a Linear B is W^T, so that dA = dC W and dW = dC^T A.
        """
        batch, rows, inner, columns = self.batch, self.rows, self.inner, self.columns
        if self.layout == "NT":
            left = MatrixProduct(batch=batch, rows=rows, inner=columns, columns=inner, layout="NN")
            return left, MatrixProduct(batch=batch, rows=columns, inner=rows, columns=inner, layout="TN")
        if self.layout == "NN":
            left = MatrixProduct(batch=batch, rows=rows, inner=columns, columns=inner, layout="NT")
            return left, MatrixProduct(batch=batch, rows=inner, inner=rows, columns=columns, layout="TN")
        raise ValueError("no forward pass here has a transposed left operand; expected NN or NT.")


Products = Counter[MatrixProduct]


def with_backward(forward: Mapping[MatrixProduct, int]) -> Products:
    """The products of a forward pass, and those of the gradients of all their operands."""
    products: Products = Counter(forward)
    for product, count in forward.items():
        for gradient in product.backward():
            products[gradient] += count
    return products


def total_flops(products: Mapping[MatrixProduct, int]) -> int:
    return sum(product.flops * count for product, count in products.items())
