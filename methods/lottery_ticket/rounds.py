"""The rounds of iterative magnitude pruning: to which sparsity each of them prunes. Arithmetic of shares alone."""

from __future__ import annotations

ORIGINAL, REMAINING = "original", "remaining"
SLIVER = 1e-3  # of the weights: too little for a round of its own


def round_sparsities(sparsity: float, *, amount: float, of: str) -> list[float]:
    """Sparsity after every round, ascending; the last is `sparsity` itself.

    A round removes `amount` of the original weights (0.1, 0.2, 0.3, ..) or of those that remain (for a fifth 0.2, 0.36,
    0.488, ..). The last takes what is left of the way, so that any sparsity can be reached: 0.85 by tenths is 0.1 to
    0.8 and then 0.85. A rest below a thousandth of the weights is taken by the round before it. At sparsity 0 there is
    one round, which removes nothing. Shares are told to nine decimals.
    Raises ValueError unless 0 <= sparsity < 1 and 0 < amount < 1, or for another word than "original" and "remaining".
    """
    if not 0 <= sparsity < 1 or not 0 < amount < 1:
        raise ValueError(f"sparsity={sparsity}, amount={amount}: expected a sparsity in [0, 1), an amount in (0, 1).")
    if of not in (ORIGINAL, REMAINING):
        raise ValueError(f"of={of!r}: expected {ORIGINAL} or {REMAINING}.")
    shares: list[float] = []
    while (share := _after(len(shares) + 1, amount, of)) < sparsity - SLIVER:
        shares.append(share)
    return [*shares, sparsity]


def _after(rounds: int, amount: float, of: str) -> float:
    return round(amount * rounds if of == ORIGINAL else 1 - (1 - amount) ** rounds, 9)
